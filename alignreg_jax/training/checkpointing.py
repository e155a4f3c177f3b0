"""Checkpoints that survive a kill and notice damage: orbax trees, each with a manifest.

A checkpoint is the folder `checkpoints/000007` that orbax writes and, written last and by atomic
rename, `checkpoints/000007.json`: where the run stood, and the digest of every file. Without its
manifest a folder is an unfinished save; with a digest that does not match it is damaged. Either way
the one before it is used.
"""

import hashlib
import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from alignreg_jax.errors import UserError
from alignreg_jax.reporting.tracking import atomic_write

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Position:
    """Where a run stands: the next thing to do is dispatch `dispatch` of `epoch` of `phase`.

    Past the last epoch of a phase, its evaluation is next. `events` is the length of the history
    in metrics.jsonl, `seconds` the time spent so far.
    """

    step: int
    phase: int
    epoch: int
    dispatch: int
    events: int
    seconds: float

    @classmethod
    def start_of(cls, phase: int) -> "Position":
        """The first dispatch of a phase; of a fresh run, for phase 0."""
        return cls(step=0, phase=phase, epoch=0, dispatch=0, events=0, seconds=0.0)


class Checkpoints:
    """The checkpoints of one run, newest last."""

    def __init__(self, folder: Path, keep: int):
        """Look into `folder` (made by the first save); `keep` complete checkpoints are kept."""
        self._folder, self._keep = folder.absolute(), keep

    def save(self, tree: Any, position: Position) -> Path:
        """Write a tree of arrays and commit it; then drop checkpoints beyond the newest `keep`."""
        numbers = [int(path.name) for path in self._folders()]
        target = self._folder / f"{max(numbers, default=-1) + 1:06d}"
        self._folder.mkdir(parents=True, exist_ok=True)
        ocp.save_pytree(target, tree)
        manifest = {"position": asdict(position), "files": _digests(target)}
        atomic_write(_manifest(target), json.dumps(manifest, indent=1))
        for old in self._committed()[: -self._keep]:
            _manifest(old).unlink()  # first, so that a kill in between leaves no broken promise
            shutil.rmtree(old)
        return target

    def restore(self, abstract: Any) -> tuple[Any, Position] | None:
        """The newest sound checkpoint, placed as `abstract` (shapes with shardings) says.

        Unsound ones are named in the log and deleted, so that the run continues from the result.

        Returns:
            The tree and its position, or None when there is no checkpoint.

        Raises:
            UserError: every checkpoint is damaged.
        """
        folders = self._folders()
        damaged = []
        for folder in reversed(folders):
            problem = _problem(folder)
            if problem is None:
                position = Position(**json.loads(_manifest(folder).read_text())["position"])
                return ocp.load_pytree(folder, abstract), position
            log.warning("checkpoint %s %s; trying the one before it", folder.name, problem)
            if _manifest(folder).exists():
                damaged.append(folder)
            _discard(folder)
        if damaged:
            raise UserError(
                f"{self._folder}: every checkpoint is damaged; start again in an empty workdir"
            )
        return None

    def newest(self) -> Path | None:
        """The newest committed checkpoint, for messages."""
        return (self._committed() or [None])[-1]

    def _folders(self) -> list[Path]:
        if not self._folder.exists():
            return []
        names = {path.name.split(".")[0] for path in self._folder.iterdir()}
        return [self._folder / name for name in sorted(names) if name.isdigit()]

    def _committed(self) -> list[Path]:
        return [folder for folder in self._folders() if _manifest(folder).exists()]


def _manifest(folder: Path) -> Path:
    return folder.with_suffix(".json")


def _discard(folder: Path) -> None:
    _manifest(folder).unlink(missing_ok=True)
    # orbax writes to <name>.orbax-checkpoint-tmp-... before it renames
    for path in folder.parent.glob(f"{folder.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, hashlib.blake2b).hexdigest()


def _problem(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    if not _manifest(folder).exists():
        return "was not finished"
    try:
        expected = json.loads(_manifest(folder).read_text())["files"]
    except (ValueError, KeyError, TypeError):
        return "has an unreadable manifest"
    found = _digests(folder) if folder.exists() else {}
    for name in expected:
        if name not in found:
            return f"lacks the file {name}"
        if found[name] != expected[name]:
            return f"is damaged: {name} changed since it was written"
    return None


def abstract(tree: Any, shardings: Any) -> Any:
    """Shapes, dtypes and shardings of a tree: what `restore` needs to place it."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings,
    )
