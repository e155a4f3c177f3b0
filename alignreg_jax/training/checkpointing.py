"""Checkpoints that survive a kill and notice damage: orbax trees, each with a manifest.

A checkpoint is the folder `checkpoints/000007` that orbax writes and, written last and by atomic
rename, `checkpoints/000007.json`: where the run stood, and the digest of every file. Without its
manifest a folder is an unfinished save; with a digest that does not match it is damaged. Either way
the one before it is used.

Newest is what stands furthest on in the run, not what was written last: seeds that are trained side
by side go back to where all of them have a checkpoint, and the sound ones further on stay until the
run has passed them. Each of those keeps the events that led to it in
`checkpoints/000007.metrics.jsonl`, because the run writes its own history anew from there.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from alignreg_jax.errors import UserError, writing
from alignreg_jax.support import processes
from alignreg_jax.support.files import atomic_write
from alignreg_jax.training.manifests import (
    Place,
    Position,
    commit,
    manifest,
    position_of,
    problem,
)

log = logging.getLogger(__name__)


_HISTORY = ".metrics.jsonl"
_LONGEST_SAVE = 24 * 3600  # seconds; orbax gives up after twenty minutes


class Checkpoints:
    """The checkpoints of one run, newest last."""

    def __init__(self, folder: Path, keep: int):
        """Look into `folder` (made by the first save); `keep` complete checkpoints are kept."""
        self.folder, self._keep = folder.absolute(), keep
        self._troubles: dict[Path, str | None] = {}

    def save(self, tree: Any, position: Position) -> Path:
        """Write a tree of arrays, commit it and drop those it supersedes; returns its folder."""
        save = self.begin(tree, position)
        save.finish()
        self.drop_before(position.place)
        return save.folder

    def begin(self, tree: Any, position: Position) -> "Save":
        """Copy a tree of arrays to the host and start to write it; `finish` commits it.

        On a CPU there is no copy: the arrays must not be donated before it is finished.
        """
        # Of one process: in another's eyes the save that this one has begun is there already
        (number,) = processes.decide(self._next)
        target = self.folder / f"{number:06d}"
        with _options():
            return Save(target, position, ocp.save_async(str(target), tree))

    def drop_before(self, place: Place) -> None:
        """Drop checkpoints up to `place` but for the newest `keep` of them.

        Those further on are kept: the run went back behind them, and has not passed them yet.
        """
        if processes.is_first():
            passed = [folder for at, folder in self._placed() if at <= place]
            for old in passed[: -self._keep]:
                _discard(old)

    def _next(self) -> tuple[int]:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        return (max((int(path.name) for path in self._folders()), default=-1) + 1,)

    def restore(
        self, abstract: Callable[[Position], Any], place: Place | None = None
    ) -> tuple[Any, Position] | None:
        """The newest sound checkpoint, or that of `place`, on the devices as `abstract` says.

        Unsound ones that are newer are named in the log, and deleted once a sound one has been
        read: the run goes on from there and will write them again. Sound ones are never deleted.

        Args:
            abstract: position -> shapes with shardings of the tree that was saved there.
            place: of companions.common; None: the newest.

        Returns:
            The tree and its position, or None when no save was ever finished, or none at `place`.

        Raises:
            UserError: every checkpoint is damaged; nothing has been deleted.
        """
        (number,) = processes.decide(lambda: self._choose(place))
        found = None
        if number >= 0:
            folder = self.folder / f"{number:06d}"
            position = position_of(folder)
            found = ocp.load(str(folder), abstract(position)), position
        if processes.is_first():
            unsound = {folder for folder, trouble in self._troubles.items() if trouble}
            for folder in self._folders():
                if not manifest(folder).exists() or (found and folder in unsound):
                    _discard(folder)
        return found

    def _choose(self, place: Place | None) -> tuple[int]:
        """The number of the checkpoint to restore, or -1."""
        for folder in self._newest_first():
            trouble = self._trouble(folder)
            if trouble is None:
                if place in (None, position_of(folder).place):
                    return (int(folder.name),)
            else:
                log.warning("checkpoint %s %s; trying the one before it", folder.name, trouble)
        if self._committed() and place is None:
            raise self._all_damaged()
        return (-1,)

    def _trouble(self, folder: Path) -> str | None:
        """What is wrong with a checkpoint; its files are read once."""
        if folder not in self._troubles:
            self._troubles[folder] = problem(folder)
        return self._troubles[folder]

    def sound(self) -> list[Position]:
        """Where the sound checkpoints are, newest first.

        Raises:
            UserError: there are checkpoints, and every one is damaged.
        """
        folders = [folder for folder in self._newest_first() if self._trouble(folder) is None]
        if self._committed() and not folders:
            raise self._all_damaged()
        return [position_of(folder) for folder in folders]

    def _all_damaged(self) -> UserError:
        return UserError(
            f"{self.folder}: every checkpoint is damaged; bring one back, or start again in "
            "an empty workdir"
        )

    def keep_history(self, place: Place, metrics: Path) -> None:
        """Copy the history that checkpoints beyond `place` need, before the run goes back there."""
        lines = metrics.read_bytes().splitlines(keepends=True) if metrics.exists() else []
        for at, folder in self._placed():
            events = position_of(folder).events
            kept = folder.with_suffix(_HISTORY)
            if at > place and events <= len(lines) and not kept.exists():
                atomic_write(kept, b"".join(lines[:events]))

    def history(self, position: Position) -> Path | None:
        """The history that a checkpoint kept of its own; None: metrics.jsonl has it."""
        for _, folder in reversed(self._placed()):
            kept = folder.with_suffix(_HISTORY)
            if position_of(folder) == position and kept.exists():
                return kept
        return None

    def adopt(self, checkpoint: Path, position: Position) -> None:
        """Begin with another run's checkpoint, as links to its files, committed at `position`."""
        target = self.folder / "000000"
        _discard(target)
        shutil.copytree(checkpoint, target, copy_function=link)
        commit(target, position)

    def delete(self) -> None:
        """Delete them all: the run is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def step(self) -> int:
        """The step that the newest committed checkpoint says it is at; 0 where none does."""
        newest = self.newest()
        try:
            return position_of(newest).step if newest else 0
        except (ValueError, OSError):
            return 0

    def newest(self) -> Path | None:
        """The newest committed checkpoint."""
        placed = [folder for _, folder in self._placed()]
        return (placed or self._committed() or [None])[-1]

    def newest_until(self, place: Place) -> Path | None:
        """The newest committed one that is not beyond a place."""
        return next((folder for at, folder in reversed(self._placed()) if at <= place), None)

    def places(self) -> set[Place]:
        """Where the committed checkpoints are, sound or not."""
        return {place for place, _ in self._placed()}

    def _folders(self) -> list[Path]:
        if not self.folder.exists():
            return []
        names = {path.name.split(".")[0] for path in self.folder.iterdir()}
        return [self.folder / name for name in sorted(names) if name.isdigit()]

    def _committed(self) -> list[Path]:
        return [folder for folder in self._folders() if manifest(folder).exists()]

    def _placed(self) -> list[tuple[Place, Path]]:
        """The committed checkpoints whose manifests can be read, newest last."""
        found = []
        for folder in self._committed():
            try:
                found.append((position_of(folder).place, folder))
            except (ValueError, OSError):  # damaged, as `restore` says; or has gone meanwhile
                continue
        return sorted(found)

    def _newest_first(self) -> list[Path]:
        """Unfinished and unreadable ones come first: they may be the newest."""
        placed = [folder for _, folder in self._placed()]
        unclear = [folder for folder in self._folders() if folder not in placed]
        return [*reversed(unclear), *reversed(placed)]


@dataclass(frozen=True)
class Save:
    """A checkpoint that is being written in the background."""

    folder: Path
    position: Position
    writing: Any  # orbax's response

    def finish(self) -> None:
        """Wait until it is written, digest it, and commit it; also from another thread."""
        self.writing.result()
        if processes.is_first():
            commit(self.folder, self.position)

    def abandon(self) -> None:
        """Remove what was written but not committed, so that a full disk has room again."""
        with suppress(Exception):
            self.writing.result()  # it must not be written on meanwhile
        if processes.is_first() and not manifest(self.folder).exists():
            for _ in range(20):  # after the first failure orbax's other threads write on for a bit
                with suppress(OSError):
                    _discard(self.folder)
                time.sleep(0.1)
                if not any(self.folder.parent.glob(f"{self.folder.name}*")):
                    break


def _options() -> ocp.Context:
    """Weights in float32 hardly shrink, and trying takes six times as long as writing them."""
    context = ocp.Context()
    context.array.saving.use_compression = False
    context.async_options.timeout_secs = _LONGEST_SAVE
    return context


def _discard(folder: Path) -> None:
    manifest(folder).unlink(missing_ok=True)
    # orbax writes to <name>.orbax-checkpoint-tmp-... before it renames
    for path in [folder, *folder.parent.glob(f"{folder.name}.*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def link(source: str, target: str) -> None:
    """A file under another name, with the same content on the disk where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def abstract(tree: Any, shardings: Any) -> Any:
    """Shapes, dtypes and shardings of a tree: what `restore` needs to place it."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings,
    )
