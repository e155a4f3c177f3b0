"""A run's folder: one process at a time, one configuration and the same inputs for life.

Inputs are known by their content: config.json keeps digests of them, and paths may change.
"""

import fcntl
import json
import logging
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import jax
from ml_collections import ConfigDict

from alignreg_jax import config as configuration
from alignreg_jax.config import ExperimentConfig
from alignreg_jax.errors import UserError
from alignreg_jax.models.architecture import read_json
from alignreg_jax.reporting.results import seed_folders
from alignreg_jax.run import digests
from alignreg_jax.run.digests import Digests
from alignreg_jax.run.places import is_run
from alignreg_jax.support.files import atomic_write

log = logging.getLogger(__name__)

LOCK = ".lock"
TEMPORARY_FILES = ".*." + "?" * 8  # of atomic_write: .<name>.<eight random characters>

# May differ between the runs that continue each other: they change how, not what
_FREE_SECTIONS = ("mesh", "checkpoint", "tracking")
# An out-of-memory run goes on with model.remat
_FREE_FIELDS = (
    *(("model", name) for name in ("remat", "unroll", "attention", "norm")),
    ("train", "static_loop"),
)
# Where inputs lie; what they are is told by their digests
PATHS = (("model", "name_or_path"), ("task", "data_dir"))
# Of which an earlier version took the first rows and this one draws them
_DRAWN = (("task", "train_examples"), ("eval", "examples"))
_PACKAGES = ("alignreg_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy",
             "tokenizers", "transformers", "datasets", "scikit-learn")  # fmt: skip


class InUse(UserError):
    """Another process runs in the workdir."""


def check_same(workdir: Path, config: ExperimentConfig) -> bool:
    """Whether the workdir already holds a run of this configuration; its inputs are not looked at.

    A field that config.json lacks, because an earlier version wrote it, counts as its default.

    Raises:
        UserError: it holds a run of another one (the fields are named), or something else.
    """
    try:
        str(workdir.absolute()).encode()
    except UnicodeEncodeError:  # what writes checkpoints and exports takes no other paths
        raise UserError(f"--workdir={workdir}: the path is not UTF-8; give another") from None
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir={workdir} is a file; give a folder")
    content = _read(workdir)
    if content is None:
        if workdir.exists() and not all(map(_is_leftover, workdir.iterdir())):
            if seeds := seed_folders(workdir):
                raise UserError(
                    f"--workdir={workdir} holds seeds that were trained side by side"
                    f" ({', '.join(seeds)}); go on with several (--config.seeds), or with one of"
                    f" them: --workdir={workdir / seeds[0]}"
                )
            raise UserError(f"--workdir={workdir} is not empty and holds no run; give another")
        return False
    try:
        now = configuration.to_dict(config)
        old, new = map(configuration.with_later_fields, (content["config"], now))
        known = isinstance(content.get("inputs"), dict)
        for fields in (old, new):
            drop_free(fields)
            for section, name in PATHS:  # by content, if that is known
                path = fields[section].pop(name)
                if not known:
                    fields[section][name] = path and os.path.realpath(os.path.expanduser(path))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _not_a_run(workdir) from None
    if found := configuration.differences(old, new):
        raise UserError(
            f"--workdir={workdir} holds a run of another configuration: {', '.join(found)}; "
            f"{how_to_start_over(workdir)}"
        )
    return True


def config_of(workdir: Path) -> ExperimentConfig | None:
    """The configuration of the run in a folder; None if it is another folder.

    A field that config.json lacks, because an earlier version wrote it, is at its default.

    Raises:
        UserError: it is of a run that this version cannot go on with.
    """
    if not is_run(workdir):
        return None
    path = workdir / "config.json"
    try:
        fields = ConfigDict(configuration.with_later_fields(read_json(path)["config"]))
        return configuration.resolve(fields)
    except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a config of this version ({error})") from None


def drop_free(fields: dict[str, Any]) -> None:
    """Remove, in place, the fields of a whole configuration that may differ in one workdir."""
    for section in _FREE_SECTIONS:
        fields.pop(section)
    for section, name in _FREE_FIELDS:
        fields[section].pop(name)


def other_inputs(workdir: Path, inputs: Digests) -> list[str]:
    """What differs, in words, between the inputs that a run was begun with and those of now.

    Nothing does in a folder without a run. Of an earlier version's, which kept no digests, it is
    known only whether that version used the same rows of a file.
    """
    content = _read(workdir)
    if content is None:
        return []
    try:
        if "inputs" in content:
            return digests.differences(content["inputs"], inputs)
        fields = content["config"]
        found = [
            f"{section}.{name}" for section, name in _DRAWN if fields.get(section, {}).get(name)
        ]
    except AttributeError:
        raise _not_a_run(workdir) from None
    return [f"rows ({', '.join(found)}: then the first ones, now a draw)"] if found else []


def check_inputs(workdir: Path, inputs: Digests) -> None:
    """Raise UserError unless the run in the workdir, if any, was begun with the same inputs.

    Raises:
        UserError: it was not; names what differs.
    """
    if found := other_inputs(workdir, inputs):
        raise UserError(
            f"--workdir={workdir} was begun with other inputs: {', '.join(found)}; bring those "
            f"back, or {how_to_start_over(workdir)}"
        )


def knows_inputs(workdir: Path) -> bool:
    """Whether config.json tells of the inputs; that of an earlier version does not."""
    return "inputs" in (_read(workdir) or {})


def how_to_start_over(workdir: Path) -> str:
    """The end of a message to whoever is refused."""
    return f"to start over, give another --workdir or delete {workdir}"


def begin(workdir: Path, config: ExperimentConfig, command: str, inputs: Digests) -> None:
    """Make config.json say what the workdir holds, or check that it does; it has to be locked.

    Raises:
        UserError: it holds a run of another configuration or with other inputs.
    """
    if not check_same(workdir, config):
        write_config(workdir, config, command, inputs)
        return
    check_inputs(workdir, inputs)
    if not knows_inputs(workdir):
        log.warning(
            "%s was begun by a version that kept no digests of its inputs: that they are still the "
            "same could not be checked; from now on it will be", workdir
        )  # fmt: skip
        _write(workdir, {**(_read(workdir) or {}), "inputs": inputs})


def write_config(workdir: Path, config: ExperimentConfig, command: str, inputs: Digests) -> None:
    """Write config.json: every field, digests of the inputs, versions, commit, devices, cores."""
    content = {
        "command": command,
        "config": configuration.to_dict(config),
        "inputs": inputs,
        "versions": {name: _version(name) for name in _PACKAGES}
        | {"python": platform.python_version()},
        "commit": _commit(),
        "devices": [f"{device.platform} {device.device_kind}" for device in jax.devices()],
        "cores": os.cpu_count(),
    }
    _write(workdir, content)


def check_free(workdir: Path) -> None:
    """Raise UserError unless `locked` would succeed; leaves no trace.

    The processes of one run may ask at the same time.

    Raises:
        InUse: another process runs in the workdir.
        UserError: it cannot be written.
    """
    check_writable(workdir)
    if in_use(workdir):
        raise InUse(f"--workdir={workdir}: another process is running in it")


def check_writable(workdir: Path) -> None:
    """Check that a folder, which need not exist yet, can be written, without leaving a trace.

    Raises:
        UserError: it cannot.
    """
    there = next(path for path in (workdir.absolute(), *workdir.absolute().parents)
                 if path.exists())  # fmt: skip
    reason = None if os.access(there, os.W_OK | os.X_OK) else "no permission"
    try:  # the system may refuse what permissions allow; the name is one that a kill may leave
        with tempfile.TemporaryFile(dir=there, prefix=".config.json."):
            pass
    except OSError as error:
        reason = error.strerror
    if reason:
        raise UserError(f"--workdir={workdir} cannot be written ({there}: {reason})")


def in_use(workdir: Path) -> bool:
    """Whether another process runs in the workdir; nothing is written, so anybody may ask."""
    try:
        with (workdir / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # nobody has been there, or may look
        return False
    return False


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
                if not leftover.is_dir():  # half an export: whoever writes it anew removes it
                    leftover.unlink()
        yield


def _read(workdir: Path) -> dict[str, Any] | None:
    """What config.json holds; None if there is none.

    Raises:
        UserError: it is not a run's.
    """
    path = workdir / "config.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise _not_a_run(workdir)
    return content


def _not_a_run(workdir: Path) -> UserError:
    return UserError(f"{workdir / 'config.json'}: not the config of a run; give another --workdir")


def _write(workdir: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    atomic_write(workdir / "config.json", text + "\n")


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
