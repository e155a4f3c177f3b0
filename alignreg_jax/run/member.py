"""One seed of an experiment: its folder, and everything that is written there."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation.scoring import score
from alignreg_jax.reporting.tracking import METRICS_FILE, Silent, Tracker
from alignreg_jax.run import workdir as workdirs
from alignreg_jax.run.artifacts import Artifacts
from alignreg_jax.run.export import STEPS
from alignreg_jax.run.inputs import Inputs
from alignreg_jax.run.shared import Shared
from alignreg_jax.training.checkpointing import Checkpoints
from alignreg_jax.training.manifests import Position

log = logging.getLogger(__name__)
CHECKPOINTS = "checkpoints"  # a folder in the workdir


def finished(workdir: Path) -> dict[str, Any] | None:
    """The results of a complete run, or None."""
    try:
        results = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
        return results if results["finished"] else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # absent, or not as a run leaves it: the run writes it again


class Member:
    """The files of one seed; what they say of it is handed in."""

    tracker: Tracker | Silent

    def __init__(self, config: ExperimentConfig, inputs: Inputs, workdir: Path, command: str):
        """`config` is of this seed; nothing is written yet."""
        self.config, self.workdir, self._inputs = config, workdir, inputs
        self._command = command
        self._artifacts = Artifacts(workdir, config, inputs, command)
        self.checkpoints = Checkpoints(workdir / CHECKPOINTS, config.checkpoint.keep)

    @contextmanager
    def held(self, shared: Shared) -> Iterator[None]:
        """Hold the folder for this process, with its config.json and a dense phase if one is kept.

        Raises:
            UserError: another process has it, or it holds another run or one with other inputs.
        """
        inputs = self._inputs.digests
        with workdirs.locked(self.workdir):  # now nobody else can change it
            workdirs.begin(self.workdir, self.config, self._command, inputs)
            if shared.dense:
                shared.dense.adopt(self.config, inputs, self.workdir)
            tracking = self.config.tracking
            with Tracker(self.workdir, tracking.tensorboard, tracking.hook) as self.tracker:
                yield

    def go_back(self, position: Position) -> None:
        """Cut the history back to where the run goes on; checkpoints further on keep theirs."""
        own = self.checkpoints.history(position)
        self.checkpoints.keep_history(position.place, self.workdir / METRICS_FILE)
        self.tracker.cut_back(position.events, own)

    def evaluated(self, predictions: dict[tuple[str, str], Any], phase: int) -> dict[str, Any]:
        """Score predictions, and write them if they are asked for; returns the scores."""
        dataset = self._inputs.dataset
        scores = score(dataset.task, dataset.labels, self._inputs.gold, predictions)
        if self.config.eval.save_predictions:
            self._artifacts.predictions(phase, predictions)
        return scores

    def tabulate(self, facts: dict[str, Any]) -> None:
        """Write the tables of the run so far."""
        self.tracker.sync()
        self._artifacts.results(finished=False, **facts)

    def export_step(self, number: int, params: Any, facts: dict[str, Any]) -> None:
        """Write the model of a step that is not the last; `params` are on the host."""
        results = self._artifacts.results(finished=False, **facts)
        self._artifacts.export(params, results, name=f"{STEPS}/{number}")

    def check_seen(self) -> None:
        """Whether this process sees the folder that the first one writes to."""

    def publish_dense(self, shared: Shared, position: Position) -> None:
        """Leave the dense phase to the runs that share it."""
        checkpoint = self.checkpoints.newest_until(position.place)
        if shared.dense and checkpoint:
            inputs = self._inputs.digests
            shared.dense.publish(self.config, inputs, self.workdir, checkpoint, position)

    def finish(
        self, kept: Any, params: Any, facts: Callable[[], dict[str, Any]], tau: Any = None
    ) -> dict[str, Any]:
        """Masks, export, report; results.json says last that the run is complete.

        Args:
            kept: the masks, on the host.
            params: to export, on the host.
            facts: gives what results.json says of the time so far.
            tau: thresholds of sizes, on the host, of a model that serves all.
        """
        self._artifacts.masks(kept)
        if self.config.export:
            results = self._artifacts.results(finished=False, **facts())
            self._artifacts.export(params, results, tau)
        self._artifacts.results(finished=False, **facts())  # the report shows the time
        self._artifacts.report()
        results = self._artifacts.results(finished=True, **facts())
        if not self.config.checkpoint.keep_finished:
            self.checkpoints.delete()
        return results


class Follower(Member):
    """A seed in a process that is not the first: it computes the same and writes nothing."""

    @contextmanager
    def held(self, shared: Shared) -> Iterator[None]:
        """Hold nothing: the first process does."""
        self.tracker = Silent()
        yield

    def check_seen(self) -> None:
        """Raise UserError unless this process sees the folder that the first one writes to.

        Raises:
            UserError: it does not.
        """
        if not workdirs.check_same(self.workdir, self.config):
            raise UserError(
                f"--workdir={self.workdir} is not there for every process; several of them need a"
                " folder that all see"
            )

    def go_back(self, position: Position) -> None:
        """Nothing."""

    def evaluated(self, predictions: dict[tuple[str, str], Any], phase: int) -> dict[str, Any]:
        """Nothing: scores are the first one's."""
        return {}

    def tabulate(self, facts: dict[str, Any]) -> None:
        """Nothing."""

    def export_step(self, number: int, params: Any, facts: dict[str, Any]) -> None:
        """Nothing."""

    def publish_dense(self, shared: Shared, position: Position) -> None:
        """Nothing."""

    def finish(
        self, kept: Any, params: Any, facts: Callable[[], dict[str, Any]], tau: Any = None
    ) -> dict[str, Any]:
        """Nothing."""
        return {}
