"""The tensors of a checkpoint folder by name, whatever files hold them. Safetensors only."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from alignreg_jax.errors import UserError
from alignreg_jax.models import quantized
from alignreg_jax.models.names import canonical, wrapper

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
HEAD = "head.safetensors"
_FLOATS = ("F32", "F16", "BF16")


class Storage:
    """Lazily read tensors of a checkpoint folder, as float32, under names without `roberta.`.

    Reads `model.safetensors`, or the shards named by `model.safetensors.index.json`, or
    `model.q4.safetensors` (4-bit blocks), in this order of preference; and `head.safetensors`
    beside any of them. `wrapper` is what else every name of the model begins with, which is taken
    off, too.

    Raises:
        UserError: no safetensors, a missing or damaged file, or a tensor that is there twice.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._tensors: dict[str, _Tensor] = {}
        files, promised = _files(folder)
        handles = {file: _open(file) for file in files}
        self.wrapper = wrapper(
            name for file, handle in handles.items() if file.name != HEAD for name in handle.keys()
        )
        for file, handle in handles.items():
            for name in handle.keys():
                if self._canonical(name) in self._tensors:
                    raise UserError(f"{file}: tensor {name} is in the checkpoint twice")
                self._tensors[self._canonical(name)] = _Tensor(file, handle, name)
        missing = sorted(name for name in promised if self._canonical(name) not in self._tensors)
        if missing:
            raise UserError(f"{folder / INDEX} names tensors that no file holds: {few(missing)}")

    def _canonical(self, name: str) -> str:
        return canonical(name.removeprefix(self.wrapper))

    @property
    def names(self) -> list[str]:
        """Every tensor's canonical name."""
        return list(self._tensors)

    @property
    def quantized(self) -> bool:
        """Whether weights were rounded to 4 bits, many of them to zero."""
        return any(tensor.file.name == quantized.FILE_NAME for tensor in self._tensors.values())

    @property
    def head_beside(self) -> bool:
        """Whether the head is in a file of its own."""
        return any(tensor.file.name == HEAD for tensor in self._tensors.values())

    def shape(self, name: str) -> tuple[int, ...]:
        """The tensor's shape, from the file's header alone; of quantised ones the real shape."""
        tensor = self._tensors[name]
        view = tensor.handle.get_slice(tensor.name)
        shape, dtype = tuple(view.get_shape()), view.get_dtype()
        if dtype == "U8" and shape[-1:] == (quantized.BLOCK_BYTES,):
            return (*shape[:-2], shape[-2] * quantized.BLOCK)
        if dtype not in _FLOATS:
            raise UserError(
                f"{self.folder}: tensor {tensor.name} is {dtype}; "
                "float32, float16 and bfloat16 can be read"
            )
        return shape

    def read(self, name: str) -> np.ndarray:
        """The tensor as float32; exact for every dtype that can be read.

        Raises:
            UserError: a value that is not finite.
        """
        tensor = self._tensors[name]
        value = tensor.handle.get_tensor(tensor.name)
        if value.dtype == np.uint8:
            value = quantized.dequantize(value)
        value = value.astype(np.float32, copy=False)
        _check_finite(value, tensor)
        return value


class _Tensor(NamedTuple):
    """Where a tensor is, and its name there."""

    file: Path
    handle: Any
    name: str


def _open(file: Path) -> Any:
    try:
        return safe_open(file, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{file}: not a complete safetensors file ({error}); download or copy it again"
        ) from error


def _check_finite(value: np.ndarray, tensor: _Tensor) -> None:
    # One value that is not finite spoils the sum, which takes one pass and no memory; the sum may
    # also overflow by itself, so it only says where to look
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(value.sum()):
            return
    wrong = ~np.isfinite(value)
    count = int(np.count_nonzero(wrong))
    if count:
        first = np.unravel_index(int(wrong.argmax()), value.shape)
        raise UserError(
            f"{tensor.file}: tensor {tensor.name} has values that are not finite: {count:,} of "
            f"{value.size:,}, the first {value[first]} at {[int(place) for place in first]}; "
            "the file is damaged, or what wrote it had diverged"
        )


def _files(folder: Path) -> tuple[list[Path], Sequence[str]]:
    """The folder's safetensors files, and the tensors that an index promises."""
    head = [folder / HEAD] if (folder / HEAD).exists() else []
    if (folder / SINGLE).exists():
        return [folder / SINGLE, *head], ()
    if (folder / INDEX).exists():
        shards = _weight_map(folder / INDEX)
        files = sorted(folder / shard for shard in set(shards.values()))
        absent = [file.name for file in files if not file.exists()]
        if absent:
            raise UserError(f"{folder / INDEX} names shards that are not there: {few(absent)}")
        return [*files, *head], list(shards)
    if (folder / quantized.FILE_NAME).exists():
        return [folder / quantized.FILE_NAME, *head], ()
    pickles = sorted(
        path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt")
    )
    found = f"only pickle weights ({few(pickles)})" if pickles else "no weights"
    raise UserError(
        f"{folder}: {found}; only safetensors is read, because pickle files can run code: convert "
        "where PyTorch is installed with transformers' from_pretrained(...).save_pretrained(...)"
    )


def _weight_map(path: Path) -> dict[str, str]:
    try:
        shards = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a safetensors index with a weight_map") from error
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise UserError(f"{path}: weight_map does not map tensor names to file names")
    return shards


def few(names: Sequence[str], count: int = 3) -> str:
    """The first few names for an error message, and how many there are besides."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
