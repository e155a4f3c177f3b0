"""Runs one after the other in this process, with what they share, until all have been tried."""

import gc
import logging
import time
import traceback
from collections.abc import Hashable, Sequence
from typing import Any

from alignreg_jax.errors import NonFiniteLoss, UserError
from alignreg_jax.run import launch
from alignreg_jax.run.dense import DensePhases
from alignreg_jax.run.inputs import check_inputs, identify, prepared
from alignreg_jax.run.plan import Phases
from alignreg_jax.run.shared import Shared
from alignreg_jax.run.workdir import InUse
from alignreg_jax.support import runtime
from alignreg_jax.support.flags import one_line
from alignreg_jax.support.progress import progress
from alignreg_jax.sweeping.folder import Folder
from alignreg_jax.sweeping.plan import Run, groups, side_by_side
from alignreg_jax.sweeping.room import seeds_that_fit
from alignreg_jax.training.checkpointing import Checkpoints
from alignreg_jax.training.room import memory_of_a_device

log = logging.getLogger(__name__)


class Runner:
    """Trains the runs of a shard that are not done."""

    def __init__(
        self,
        planned: Sequence[Run],
        mine: Sequence[Run],
        folder: Folder,
        command: str,
        together: int = 1,
    ):
        """Prepare for the runs `mine` of all that are `planned`; nothing is read yet.

        `together` seeds of a row are trained side by side; 0: as many as the device has room for.
        """
        self._planned, self._mine, self._together = planned, mine, together
        self._folder, self._command = folder, command
        dense = DensePhases(folder.path / "dense", [run.config for run in planned])
        self._dense = dense
        self.shared = Shared(dense=dense, stepped=self._stepped)
        self.failed: list[Run] = []
        self._ahead: dict[str, int] = {}  # steps that each run has yet to train
        self._phases: dict[str, Phases] = {}  # the time table of each run
        self._waiting: list[Run] = []
        self._current: list[Run] = []
        self._bar: Any = None

    def check(self) -> None:
        """Find out what is left to do, and check its input; weights only of what has begun.

        Raises:
            UserError: the input of one of the runs is wrong, its folder holds another run, or it
                was begun with other inputs.
        """
        folder, changed = self._folder, []
        waiting = [run for run in self._mine if not folder.done(run)]
        for run in reversed(self._mine):  # backwards: what is needed first is read last, and kept
            if run in waiting:
                self._phases[run.name] = check_inputs(run.config, self.shared.inputs)
            if folder.begun(run) and (found := self._other_inputs(run, run in waiting)):
                changed.append((run, found))
        folder.refuse(reversed(changed))
        begun = filter(folder.begun, self._mine)
        if unknown := sum(not folder.knows_inputs(run) for run in begun):
            log.warning(
                "%d runs are of an earlier version, which kept no digests: that their inputs are "
                "the same could not be checked", unknown
            )  # fmt: skip
        self._waiting = waiting

    def _other_inputs(self, run: Run, needed: bool) -> str:
        """What differs from the inputs that a run was begun with."""
        try:
            return self._folder.other_inputs(run, identify(run.config, self.shared.inputs))
        except UserError:
            if needed:
                raise
            return ""  # made by another machine, and not to be read here: the table will tell

    def run(self) -> None:
        """Train what is left to do; a run that fails is recorded, and the next one starts."""
        if done := len(self._mine) - len(self._waiting):
            log.info("%d of %d runs are already complete", done, len(self._mine))
        if self._waiting:
            self._train()
        for group in groups(self._mine):
            self._drop_if_done(group[0])

    def _train(self) -> None:
        self._plan_steps()
        with progress(sum(self._ahead.values()), "all runs", "steps", steady=True) as self._bar:
            most = self._together or self._room()
            for runs in side_by_side(self._waiting, most, self._stage):
                for run in runs:
                    self._expect(run, self._steps(run))
                    number = self._mine.index(run) + 1
                    log.info("run %d/%d %s", number, len(self._mine), run.words)
                self._try(runs)
                for run in runs:
                    self._expect(run, 0)
                    self._drop_if_done(run)

    def _stage(self, run: Run) -> Hashable:
        """How far a run is, that is whether it would lose anything by starting with others."""
        return self._checkpoints(run).step(), self._available(run)

    def _room(self) -> int:
        """Seeds of every run that this device has room for."""
        limit = memory_of_a_device()
        if limit is None:
            return 1
        fitting = []
        for run in self._waiting:
            architecture, length = prepared(run.config, self.shared.inputs)
            rows = run.config.train.batch_size // run.config.train.accumulation
            fitting.append(seeds_that_fit(architecture, rows, length, limit))
        return min(fitting)

    def _try(self, runs: list[Run]) -> None:
        """Train one run, or several side by side; should those fail, one after the other."""
        self._current = runs
        folder, (run, *others) = self._folder, runs
        trouble = ""
        try:
            folders = {each.seed: folder.workdir(each) for each in runs}
            launch.run(run.config, folders, self._command, time.monotonic(), self.shared)
            for each in runs:
                folder.forgive(each)
        except Exception as error:
            trouble = one_line(error)
            if not others:
                self._look_at(run, error)
        runtime.make_room_for_programs()
        gc.collect()  # a failure's frames hold the device's memory, and the next run needs it
        if trouble and others:
            log.warning("side by side: %s; trying one after the other", trouble)
            for each in runs:
                self._expect(each, self._steps(each))
                self._try([each])

    def _look_at(self, run: Run, error: Exception) -> None:
        if isinstance(error, InUse):
            log.info("%s: another process runs it; skipped", run.words)
        elif isinstance(error, UserError | NonFiniteLoss):
            self._record(run, one_line(error))
        else:
            details = "".join(traceback.format_exception(error))
            self._record(run, f"{type(error).__name__}: {one_line(error)}", details)

    def _drop_if_done(self, run: Run) -> None:
        sharing = [other for other in self._planned if other.dense == run.dense]
        if all(map(self._folder.done, sharing)):
            self._dense.drop(run.dense)

    def _record(self, run: Run, line: str, details: str = "") -> None:
        log.warning("%s failed: %s", run.words, line)
        self.failed.append(run)
        self._folder.record(run, line, details)

    # ---- Steps, so that the time left is told from what is left -------------------------------

    def _plan_steps(self) -> None:
        """Each dense phase counts for the first run that needs it."""
        trained = set()
        for run in self._waiting:
            steps = self._steps(run)
            if run.dense in trained and not self._begun(run) and not self._available(run):
                steps -= self._phases[run.name].steps(0)
            trained.add(run.dense)
            self._ahead[run.name] = steps

    def _steps(self, run: Run) -> int:
        """Steps that a run would train if it started now."""
        phases = self._phases[run.name]
        if self._begun(run):
            return phases.total_steps - self._checkpoints(run).step()
        return phases.total_steps - (phases.steps(0) if self._available(run) else 0)

    def _begun(self, run: Run) -> bool:
        return self._checkpoints(run).newest() is not None

    def _available(self, run: Run) -> bool:
        return self._dense.available(run.config)

    def _checkpoints(self, run: Run) -> Checkpoints:
        return Checkpoints(self._folder.workdir(run) / "checkpoints", run.config.checkpoint.keep)

    def _expect(self, run: Run, steps: int) -> None:
        """A run turns out to have so many steps ahead."""
        self._bar.total += steps - self._ahead[run.name]
        self._ahead[run.name] = steps

    def _stepped(self, count: int) -> None:
        for run in self._current:
            self._ahead[run.name] -= count // len(self._current)
        self._bar.update(count)
