"""A run's folder: one process at a time, one configuration for life, and what was run where."""

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TextIO

import jax

from alignreg_jax import config as configuration
from alignreg_jax.config import ExperimentConfig
from alignreg_jax.errors import UserError
from alignreg_jax.reporting.tracking import atomic_write

LOCK = ".lock"
TEMPORARY_FILES = ".*." + "?" * 8  # of atomic_write: .<name>.<eight random characters>

# May differ between the runs that continue each other: they change how, not what
FREE_SECTIONS = ("mesh", "checkpoint", "tracking")
_PACKAGES = ("alignreg_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy",
             "tokenizers", "transformers", "datasets", "scikit-learn")  # fmt: skip


class InUse(UserError):
    """Another process runs in the workdir."""


def check_same(workdir: Path, config: ExperimentConfig) -> bool:
    """Whether the workdir already holds a run of this configuration.

    Raises:
        UserError: it holds a run of another one (the fields are named), or something else.
    """
    path = workdir / "config.json"
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir={workdir} is a file; give a folder")
    if not path.exists():
        if workdir.exists() and not all(map(_is_leftover, workdir.iterdir())):
            raise UserError(f"--workdir={workdir} is not empty and holds no run; give another")
        return False
    try:
        old = dict(json.loads(path.read_text(encoding="utf-8"))["config"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not the config of a run; give another --workdir") from None
    new = configuration.to_dict(config)
    for section in FREE_SECTIONS:
        old.pop(section, None)
        new.pop(section)
    if found := configuration.differences(old, new):
        raise UserError(
            f"--workdir={workdir} holds a run of another configuration: {', '.join(found)}; "
            "give another --workdir"
        )
    return True


def write_config(workdir: Path, config: ExperimentConfig, command: str) -> None:
    """Write config.json: every field, versions, commit, devices and cores."""
    content = {
        "command": command,
        "config": configuration.to_dict(config),
        "versions": {name: _version(name) for name in _PACKAGES}
        | {"python": platform.python_version()},
        "commit": _commit(),
        "devices": [f"{device.platform} {device.device_kind}" for device in jax.devices()],
        "cores": os.cpu_count(),
    }
    atomic_write(workdir / "config.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def check_free(workdir: Path) -> None:
    """Whether `locked` would succeed, without leaving a trace.

    The processes of one run may ask at the same time.

    Raises:
        InUse: another process runs in the workdir.
        UserError: it cannot be written.
    """
    there = next(path for path in (workdir.absolute(), *workdir.absolute().parents)
                 if path.exists())  # fmt: skip
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"--workdir={workdir} cannot be written")
    if (workdir / LOCK).exists():
        with _opened(workdir) as file:
            _lock(file, workdir, fcntl.LOCK_SH)


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Hold the workdir for this process; the system lets go of it when the process dies.

    Raises:
        InUse: another process runs in it.
        UserError: it cannot be written.
    """
    with _opened(workdir) as file:
        _lock(file, workdir, fcntl.LOCK_EX)
        for folder in (".", "checkpoints", "predictions/**"):  # a kill leaves half-written files
            for leftover in workdir.glob(f"{folder}/{TEMPORARY_FILES}"):
                leftover.unlink()
        yield


def _opened(workdir: Path) -> TextIO:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        return (workdir / LOCK).open("w+")  # NFS takes a shared lock for reading only
    except OSError as error:
        raise UserError(f"--workdir={workdir} cannot be written: {error.strerror}") from error


def _lock(file: TextIO, workdir: Path, kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InUse(f"--workdir={workdir}: another process is running in it") from None


def _is_leftover(path: Path) -> bool:
    """Whether a run that was killed before it could write config.json has left this."""
    return path.name == LOCK or path.match(f".config.json.{'?' * 8}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The source tree's commit, with a mark for local changes; None outside a checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
