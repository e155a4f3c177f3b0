"""What a run writes while it runs: events as lines of JSON, and TensorBoard if asked for."""

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from io import FileIO
from pathlib import Path
from typing import Any

from alignreg_jax.errors import UserError, writing
from alignreg_jax.support.files import atomic_write

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
Event = dict[str, Any]


def jsonable(value: Any) -> Any:
    """Turn numpy and JAX values into plain ones; NaN and infinities, which JSON lacks, to strings.

    The strings are those that `float` reads back: "NaN", "Infinity", "-Infinity".
    """
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def read_events(path: str | Path) -> list[Event]:
    """Read metrics.jsonl; a last line that a kill left half-written is dropped.

    Raises:
        UserError: a line other than that one is not an event; names file:line.
    """
    return [_parse(line, f"{path}:{number}") for number, line in enumerate(_lines(path), start=1)]


def _lines(path: str | Path) -> list[bytes]:
    """The complete lines of a file; what follows the last line end is a write that a kill cut."""
    path = Path(path)
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _parse(line: bytes, place: str) -> Event:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("n"), int):
        raise UserError(
            f"{place}: not an event of a run; restore the file, or give another --workdir"
        )
    return event


class Tracker:
    """Appends events to `workdir`/metrics.jsonl, each with its position "n" in the history.

    A checkpoint remembers `position`; a resumed run calls `cut_back` with it, so that what happened
    after the checkpoint is not told twice.
    """

    def __init__(self, workdir: str | Path, tensorboard: bool = False, hook: str | None = None):
        """Open the history of a run; nothing is written before the first event.

        Args:
            workdir: of the run.
            tensorboard: whether event files are written, too.
            hook: "module:function" that is called for every event with its numbers, by name, and
                `step`. It cannot be cut back: a run that goes on tells again what came after its
                last checkpoint.

        Raises:
            UserError: TensorBoard is asked for and tensorboardX is not installed; no such hook.
        """
        self.path = Path(workdir) / METRICS_FILE
        self._file: FileIO | None = None
        self.position = len(read_events(self.path))  # of the next event: its "n"
        self._boards = _BoardWriter(self.path.parent / "tensorboard") if tensorboard else None
        self._hook = _hook(hook) if hook else None

    def log(self, kind: str, *, step: int, phase: int, remaining: float, **values: Any) -> None:
        """Append one event; `kind` is train, prune or eval. The line is flushed at once."""
        head = {"n": self.position, "kind": kind, "step": step, "phase": phase}
        event = jsonable({**head, "remaining": remaining, **values})
        if self._file is None:
            self.cut_back(self.position)  # a torn last line would swallow the one that follows
            self._file = self.path.open("ab", buffering=0)  # or closing would try again
        line = (json.dumps(event, allow_nan=False) + "\n").encode()
        with writing(self.path, len(line)):
            while line:
                line = line[self._file.write(line) :]
        self.position += 1
        if self._boards:
            self._boards.write(event)
        if self._hook:
            numbers = {f"{kind}/{name}": value for name, value in _scalars(event)}
            try:
                self._hook(numbers, step=step)
            except Exception as error:  # of others: no reason to lose a training
                log.warning("tracking.hook failed and is called no more: %r", error)
                self._hook = None

    def sync(self) -> None:
        """Force the events onto the disk; call it before a checkpoint that remembers `position`."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def cut_back(self, position: int, history: Path | None = None) -> None:
        """Drop every event from `position` on, and a half-written last line.

        Args:
            position: how many events are left.
            history: a file to take them from instead.

        Raises:
            UserError: the history is shorter than `position`; part of it was deleted.
        """
        self._close_file()
        source = history or self.path
        events, lines = read_events(source), _lines(source)
        if len(events) < position:
            raise UserError(
                f"{source}: holds {len(events)} events, but the checkpoint comes after"
                f" {position}; restore the file, or give another --workdir"
            )
        kept = b"".join(line + b"\n" for line in lines[:position])
        if not self.path.exists() or self.path.read_bytes() != kept:
            atomic_write(self.path, kept)
        self.position = position
        if self._boards:
            self._boards.cut_back(max((event["step"] for event in events[:position]), default=-1))

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; a later event opens them again."""
        self._close_file()
        if self._boards:
            self._boards.close()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Silent:
    """A tracker that writes nothing."""

    position = 0

    def log(self, kind: str, **values: Any) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""

    def cut_back(self, position: int, history: Path | None = None) -> None:
        """Nothing."""


def _hook(name: str) -> Callable[..., Any]:
    """The function behind "module:function"; modules of the current folder are found, too."""
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # and stays: the hook may import more when it is called
    try:
        found = getattr(import_module(module), function)
    except Exception as error:  # of the user's module, whatever it does
        raise UserError(f"tracking.hook={name}: {type(error).__name__}: {error}") from None
    if not callable(found):
        raise UserError(f"tracking.hook={name}: is no function")
    return found


class _BoardWriter:
    """The scalars of every event as TensorBoard files, through tensorboardX."""

    def __init__(self, folder: Path):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UserError(
                "tensorboard: tensorboardX is not installed;"
                ' pip install "alignreg_jax[tensorboard]", or leave it off'
            ) from error
        self._make = lambda **options: SummaryWriter(str(folder), **options)
        self._writer = None

    def write(self, event: Event) -> None:
        if self._writer is None:
            self._writer = self._make()
        for name, value in _scalars(event):
            self._writer.add_scalar(f"{event['kind']}/{name}", value, event["step"])

    def cut_back(self, last_step: int) -> None:
        self.close()
        self._writer = self._make(purge_step=last_step + 1)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _scalars(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """The numbers of an event with their path as name; lists and tags stay in the JSON."""
    found = []
    for name, value in values.items():
        if name == "tags":  # hundreds in every language
            continue
        if isinstance(value, Mapping):
            found += _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and name not in ("n", "step"):
            found.append((prefix + name, float(value)))
    return found
