"""What a checkpoint's manifest says: where the run stood, and the digest of every file.

It is written last and by atomic rename, as `checkpoints/000007.json` beside the folder.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from alignreg_jax.support.files import atomic_write

Place = tuple[int, int, int, bool]
LAYOUT = 2
"""Of the trees that are saved now: Adam's states are by label."""


@dataclass(frozen=True)
class Position:
    """Where a run stands: the next thing to do is dispatch `dispatch` of `epoch` of `phase`.

    Past the last epoch of a phase, its evaluation is next. `events` is the length of the history
    in metrics.jsonl, `seconds` the time spent so far. `evaluated`: the phase's evaluation is done,
    too, so that the next phase is next. `layout` is that of the saved tree: 1 where a version
    before this layout wrote it (`state.as_layout_1`).
    """

    step: int
    phase: int
    epoch: int
    dispatch: int
    events: int
    seconds: float
    evaluated: bool = False
    layout: int = 1  # of a manifest that does not say

    @property
    def place(self) -> Place:
        """The moment in the run, whatever it took to get there."""
        return self.phase, self.epoch, self.dispatch, self.evaluated

    @classmethod
    def start_of(cls, phase: int) -> "Position":
        """The first dispatch of a phase; of a fresh run, for phase 0."""
        return cls(step=0, phase=phase, epoch=0, dispatch=0, events=0, seconds=0.0, layout=LAYOUT)


def manifest(folder: Path) -> Path:
    """The file beside a folder."""
    return folder.with_suffix(".json")


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, hashlib.blake2b).hexdigest()


def commit(folder: Path, position: Position) -> None:
    """Write the manifest beside a folder: the position, and the digest of every file."""
    content = {"position": asdict(position), "files": _digests(folder)}
    digest = hashlib.blake2b(json.dumps(content).encode()).hexdigest()
    atomic_write(manifest(folder), json.dumps({**content, "digest": digest}, indent=1))


def position_of(folder: Path) -> Position:
    """The position in a folder's manifest.

    Raises:
        ValueError: the manifest is damaged.
        FileNotFoundError: the folder was not committed.
    """
    return _read(folder)[0]


def _read(folder: Path) -> tuple[Position, dict[str, str]]:
    """Position and the digest of every file; ValueError if the manifest itself is damaged."""
    content = json.loads(manifest(folder).read_bytes())
    digest = content.pop("digest", None) if isinstance(content, dict) else None
    if digest != hashlib.blake2b(json.dumps(content).encode()).hexdigest():
        raise ValueError("the manifest changed since it was written")
    return Position(**content["position"]), content["files"]


def problem(folder: Path) -> str | None:
    """What is wrong with a committed folder, or None; it follows on the folder's name."""
    if not manifest(folder).exists():
        return "was not finished"
    try:
        _, expected = _read(folder)
    except ValueError:
        return f"is damaged: {manifest(folder).name} changed since it was written"
    found = _digests(folder)
    for name in expected:
        if name not in found:
            return f"lacks the file {name}"
        if found[name] != expected[name]:
            return f"is damaged: {name} changed since it was written"
    return None
