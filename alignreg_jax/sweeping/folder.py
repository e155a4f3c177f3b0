"""A sweep's folder: which sweep it holds, how far each run is, and which have failed why.

Runs lie in `<task>/<row>/s<seed>/`, each a run's folder like any other; `failed/<run>.txt` holds
the error of a run's last attempt. Several processes may work in one folder: each run has its lock.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alignreg_jax import config as configuration
from alignreg_jax.errors import UserError
from alignreg_jax.models.storage import few
from alignreg_jax.run import workdir as workdirs
from alignreg_jax.run.digests import Digests
from alignreg_jax.run.member import finished
from alignreg_jax.support.files import atomic_write
from alignreg_jax.sweeping.config import SweepConfig, default_config, to_dict
from alignreg_jax.sweeping.plan import Run

SWEEP_FILE = "sweep.json"


class Folder:
    """The folder of a sweep."""

    def __init__(self, path: Path):
        """`path` need not exist yet."""
        self.path = path

    def check(self, sweep: SweepConfig) -> None:
        """Check that the folder holds this sweep, or nothing.

        Rows, tasks, seeds, baseline and readings may be others than before, and so may be where the
        inputs lie: each run knows its own by their content. Fields that sweep.json lacks, because
        an earlier version wrote it, count as their defaults.

        Raises:
            UserError: it holds a sweep with other fields (which are named), or something else.
        """
        path = self.path / SWEEP_FILE
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"--workdir={self.path} is a file; give a folder")
        if not path.exists():
            partial = f".{SWEEP_FILE}.{'?' * 8}"  # what a kill at the very start leaves
            if self.path.exists() and not all(
                entry.match(partial) for entry in self.path.iterdir()
            ):
                raise UserError(f"--workdir={self.path} is not empty and holds no sweep")
            return
        try:
            old = _compared(dict(json.loads(path.read_text(encoding="utf-8"))["config"]["base"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"{path}: not the config of a sweep; give another --workdir") from None
        if found := configuration.differences(old, _compared(to_dict(sweep)["base"]), "base."):
            raise UserError(
                f"--workdir={self.path} holds a sweep of another configuration: "
                f"{', '.join(found)}; {workdirs.how_to_start_over(self.path)}"
            )

    def write(self, sweep: SweepConfig, command: str) -> None:
        """Say which sweep the folder holds.

        Raises:
            UserError: it cannot be written.
        """
        content = json.dumps({"command": command, "config": to_dict(sweep)}, indent=1) + "\n"
        try:
            atomic_write(self.path / SWEEP_FILE, content)
        except OSError as error:
            raise UserError(f"--workdir={self.path} cannot be written: {error.strerror}") from error

    def workdir(self, run: Run) -> Path:
        """Where a run is kept."""
        return self.path / run.name

    def done(self, run: Run) -> bool:
        """Whether a run is complete.

        Raises:
            UserError: the run's folder holds a run of another configuration.
        """
        workdir = self.workdir(run)
        return workdirs.check_same(workdir, run.config) and finished(workdir) is not None

    def begun(self, run: Run) -> bool:
        """Whether a run has been started."""
        return (self.workdir(run) / "config.json").exists()

    def knows_inputs(self, run: Run) -> bool:
        """Whether a run that was started has kept digests of its inputs."""
        return workdirs.knows_inputs(self.workdir(run))

    def other_inputs(self, run: Run, inputs: Digests) -> str:
        """What differs between the inputs that a run was begun with and those of now; or ""."""
        return ", ".join(workdirs.other_inputs(self.workdir(run), inputs))

    def refuse(self, changed: Iterable[tuple[Run, str]]) -> None:
        """Stop if runs were begun with other inputs, of which `other_inputs` tells.

        Raises:
            UserError: there are some; names them, and what differs.
        """
        runs_of: dict[str, list[str]] = {}
        for run, found in changed:
            runs_of.setdefault(found, []).append(run.name)
        if runs_of:
            told = (f"{few(names)} ({found})" for found, names in runs_of.items())
            raise UserError(
                f"--workdir={self.path}: begun with other inputs: {'; '.join(told)}; bring those "
                "back, delete the folders of these runs, or give another --workdir"
            )

    def state(self, run: Run) -> str:
        """How far a run is: done, running (in another process), failed, part, or to do."""
        workdir = self.workdir(run)
        if self.done(run):
            return "done"
        if workdirs.in_use(workdir):
            return "running"
        if self.failure(run):
            return "failed"
        return "part" if self.begun(run) else "to do"

    def failure(self, run: Run) -> str | None:
        """One line on why the last attempt failed; None if it did not."""
        try:
            return self._failed(run).read_text(encoding="utf-8").partition("\n")[0]
        except FileNotFoundError:
            return None

    def record(self, run: Run, line: str, details: str = "") -> None:
        """Keep why a run failed: one line, then for a bug where it came up."""
        atomic_write(self._failed(run), f"{line}\n{details}")

    def forgive(self, run: Run) -> None:
        """Forget a failure: a later attempt has succeeded."""
        path = self._failed(run)
        path.unlink(missing_ok=True)
        for parent in (path.parent, path.parent.parent, self.path / "failed"):
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()

    def _failed(self, run: Run) -> Path:
        return self.path / "failed" / f"{run.name}.txt"


def _compared(base: dict[str, Any]) -> dict[str, Any]:
    """What must stay the same in a folder: fields of `base`, at their defaults if they lack."""
    fields = configuration.merged(default_config().base.to_dict(), base)
    workdirs.drop_free(fields)
    for section, name in workdirs.PATHS:
        fields[section].pop(name)
    return configuration.plain(fields)
