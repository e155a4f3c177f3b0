"""The thresholds of a model that serves every size, as the file sizes.npz beside its weights."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignreg_jax.errors import UserError
from alignreg_jax.pruning.elastic import Tau

SIZES = "sizes.npz"
SUMMARY = "sizes.json"
_VERSION = 1
_PLAIN = ("version", "smallest", "encoder")


@dataclass(frozen=True)
class Sizes:
    """Thresholds, and what they are of.

    Attributes:
        tau: smallest size at which a unit, or layer, is present.
        smallest: size that was trained; what is smaller is worth little.
        encoder: digest of the weights that were ordered.
    """

    tau: Tau
    smallest: float
    encoder: str

    def to_bytes(self) -> bytes:
        """The content of the file."""
        buffer = io.BytesIO()
        plain = {"version": _VERSION, "smallest": self.smallest, "encoder": self.encoder}
        arrays: Mapping[str, np.ndarray] = {
            **{kind: np.asarray(leaf) for kind, leaf in self.tau.items()},
            **{name: np.asarray(value) for name, value in plain.items()},
        }
        np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType]
        return buffer.getvalue()


def read(folder: Path) -> Sizes:
    """Read the thresholds of a model.

    Args:
        folder: of the model.

    Raises:
        UserError: there are none, or the file is damaged.
    """
    path = folder / SIZES
    if not path.exists():
        raise UserError(
            f"{folder}: has no {SIZES}, so it is a model of one size; a run with method=elastic"
            " exports one of all sizes"
        )
    try:
        with np.load(io.BytesIO(path.read_bytes())) as file:
            arrays = {name: file[name] for name in file.files}
        version, smallest, encoder = (arrays.pop(name).item() for name in _PLAIN)
        if not all(((leaf >= 0) & (leaf <= 1)).all() for leaf in arrays.values()):
            raise ValueError("thresholds are not between 0 and 1")
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: is damaged ({error})") from None
    if version != _VERSION:
        raise UserError(f"{path}: has format {version}, and this version reads {_VERSION}")
    return Sizes(arrays, float(smallest), str(encoder))
