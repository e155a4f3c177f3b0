"""A run, to be read like the paper's Algorithm 1: fine-tune, then (prune, retrain, evaluate) again.

Phase 0 is fine-tuning; phase k prunes to the schedule's fraction, trains, and evaluates: that is
prune_step k. A checkpoint is saved at the end of every phase's training and every so many steps;
the same command goes on from the newest sound one.
"""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from alignreg_jax import workdir as workdirs
from alignreg_jax.artifacts import Artifacts
from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data.batching import Dispatch, bucket_edges, epoch_plan, sample
from alignreg_jax.errors import NonFiniteLoss
from alignreg_jax.evaluation.diagnostics import measure
from alignreg_jax.evaluation.evaluator import Evaluator
from alignreg_jax.evaluation.scoring import score
from alignreg_jax.inputs import Inputs, load_inputs
from alignreg_jax.models import xlmr
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks, methods
from alignreg_jax.pruning.method import GRADIENTS
from alignreg_jax.reporting.progress import progress
from alignreg_jax.reporting.tracking import Tracker
from alignreg_jax.sweeping.shared import Shared
from alignreg_jax.training import steps
from alignreg_jax.training.checkpointing import Checkpoints, Position
from alignreg_jax.training.phases import Phases
from alignreg_jax.training.trainer import InFlight, Stopwatch, Trainer, fetch

log = logging.getLogger(__name__)


def run(
    config: ExperimentConfig,
    workdir: Path,
    command: str,
    started: float,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Run or continue an experiment; returns what results.json holds.

    Args:
        config: resolved.
        workdir: what a run leaves behind goes here; untouched until all input has been checked.
        command: for config.json, the report and the card.
        started: time.monotonic() at process start, for wall_seconds.
        shared: what earlier runs of this process have left for it.

    Raises:
        UserError: bad input, before the workdir is touched.
        NonFiniteLoss: training diverged.
    """
    if workdirs.check_same(workdir, config) and (done := finished(workdir)):
        log.info("%s is already complete", workdir)
        return done
    workdirs.check_free(workdir)
    shared = shared or Shared()
    inputs = load_inputs(config, shared.inputs)
    experiment = Experiment(config, inputs, workdir, command, started, shared)
    with workdirs.locked(workdir):
        if not workdirs.check_same(workdir, config):  # again: now nobody else can change it
            workdirs.write_config(workdir, config, command)
        if shared.dense:
            shared.dense.adopt(config, workdir)
        return experiment.run()


def finished(workdir: Path) -> dict[str, Any] | None:
    """The results of a complete run, or None."""
    try:
        results = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
        return results if results["finished"] else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # absent, or not as a run leaves it: the run writes it again


class Experiment:
    """One run of one configuration."""

    def __init__(
        self,
        config: ExperimentConfig,
        inputs: Inputs,
        workdir: Path,
        command: str,
        started: float,
        shared: Shared | None = None,
    ):
        """Place everything on the devices; nothing is compiled yet."""
        self.config, self.inputs, self.shared = config, inputs, shared or Shared()
        self.workdir, self.artifacts = workdir, Artifacts(workdir, config, inputs, command)
        self.checkpoints = Checkpoints(workdir / "checkpoints", config.checkpoint.keep)
        self._started, self._earlier_seconds = started, 0.0
        self._training, self._trained_examples = Stopwatch(), 0.0
        rows = config.train.batch_size
        self.phases = Phases.from_config(config.pruning, -(-inputs.train.rows // rows))
        model = xlmr.XlmrModel(
            config=inputs.encoder.config,
            head=inputs.head,
            num_labels=len(inputs.dataset.labels),
            dtype=jnp.dtype(config.model.dtype),
            remat=config.model.remat,
            unroll=config.model.unroll,
        )
        self.trainer = self._make_trainer(model)
        self._sizes = prunable.sizes(self.trainer.reference)
        self.evaluator = Evaluator(
            inputs.evaluation,
            predict=self.shared.programs(
                ("predict", model, inputs.mesh),
                lambda: steps.make_predict(model.clone(unroll=1), inputs.mesh),
            ),
            place=self.trainer.place,
            batch_size=config.eval.batch_size,
            steps_per_dispatch=config.train.steps_per_dispatch,
            max_length=inputs.max_length,
        )

    def _make_trainer(self, model: xlmr.XlmrModel) -> Trainer:
        train, pruning, regularizer = (
            self.config.train,
            self.config.pruning,
            self.config.regularizer,
        )
        method = methods.build(
            criterion=str(pruning.criterion),
            scope=str(pruning.scope),
            regularizer=str(regularizer.name),
            norm=regularizer.norm,
            reduce=regularizer.reduce,
        )
        settings = steps.StepSettings(
            accumulation=train.accumulation,
            schedule=train.schedule,
            clip=train.max_grad_norm > 0,
            freeze=train.freeze,
        )
        return Trainer(
            model,
            method,
            settings,
            self.inputs.mesh,
            params=self.inputs.encoder.params,
            train=self.inputs.train,
            seed=self.config.seed,
            hyper={
                "learning_rate": train.learning_rate,
                "weight_decay": train.weight_decay,
                "warmup_steps": train.warmup_steps,
                "max_grad_norm": train.max_grad_norm,
                "score_learning_rate": train.score_learning_rate or 0.0,
                "multiplier_learning_rate": train.multiplier_learning_rate,
                "regularizer_weight": regularizer.weight or 0.0,
            },
            total_steps=self.phases.total_steps,
            batch_size=train.batch_size,
            steps_per_dispatch=train.steps_per_dispatch,
            programs=self.shared.programs,
        )

    # ---- Algorithm 1 --------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Fine-tune, then prune, retrain and evaluate until the schedule ends; then export."""
        position = self._restore()
        with Tracker(self.workdir, self.config.tracking.tensorboard) as self.tracker:
            self.tracker.cut_back(position.events)
            self._enter(position.phase)
            while True:
                if not position.evaluated:
                    self._train(position)
                    self._evaluate()
                    self._share()
                if self.phase == self.phases.last:
                    return self._finish()
                position = Position.start_of(self.phase + 1)
                self._prune(position.phase)

    def _prune(self, phase: int) -> None:
        if self.config.regularizer.reference == "finetuned" and phase == 1:
            self.trainer.reference = self.trainer.copy_kernels(self.trainer.state.params)
        self._enter(phase)
        scope: Any = self.config.pruning.scope
        keep = masks.keep_counts(self._sizes, self.phases.remaining(phase), scope)
        batches = self._gradient_batches(phase) if self.trainer.method.needs & GRADIENTS else []
        self.trainer.prune(keep, self.trainer.gradients(batches))
        kernels, _ = prunable.split(self.trainer.state.params)
        counts = masks.statistics(kernels, self.trainer.state.masks)
        log.info("pruned to %s of %s weights", f"{counts['kept']:,}", f"{counts['prunable']:,}")
        remaining = counts["kept"] / counts["prunable"]
        measured = {"gradient_batches": sum(len(part.rows) for part in batches)} if batches else {}
        self._event("prune", self.trainer.step, remaining=remaining, **counts, **measured)

    def _train(self, position: Position) -> None:
        """The epochs of a phase, from `position` on; saves at the end of it."""
        phase, epochs = self.phase, self.phases.epochs(self.phase)
        ahead = list(self._dispatches(position))
        total = self.phases.steps(phase)
        name = f"phase {phase}/{self.phases.last} at {self.phases.remaining(phase):.1%}"
        initial = total - sum(len(dispatch.rows) for _, _, dispatch in ahead)
        saved_at = self.trainer.step
        with progress(total, name, "steps", initial=initial) as bar:
            for epoch, index, dispatch in ahead:
                with self._training:
                    self._look_at(self.trainer.dispatch(dispatch), bar)
                if self.trainer.step - saved_at >= self.config.checkpoint.every_steps:
                    self._look_at(self.trainer.drain(), bar)
                    self._save(epoch, index + 1)
                    saved_at = self.trainer.step
            with self._training:
                self._look_at(self.trainer.drain(), bar)
        if ahead or not epochs:
            self._save(epochs, 0)

    def _dispatches(self, start: Position) -> Iterator[tuple[int, int, Dispatch]]:
        """What is left of a phase, as (epoch of the phase, index in its plan, dispatch)."""
        for epoch in range(start.epoch, self.phases.epochs(start.phase)):
            plan = self._plan(self.phases.first_epoch(start.phase) + epoch)
            first = start.dispatch if epoch == start.epoch else 0
            yield from ((epoch, index, plan[index]) for index in range(first, len(plan)))

    def _plan(self, epoch: int) -> list[Dispatch]:
        """An epoch of training, counted over the whole run."""
        return epoch_plan(
            self.inputs.train.lengths,
            batch_size=self.config.train.batch_size,
            steps_per_dispatch=self.config.train.steps_per_dispatch,
            edges=bucket_edges(self.inputs.max_length),
            data_seed=self.config.data_seed,
            epoch=epoch,
            seed=self.config.seed,
            bucketing=self.config.train.bucketing,
        )

    def _gradient_batches(self, phase: int) -> list[Dispatch]:
        """Batches for criteria that are gradients: a draw from the phase's first epoch."""
        epoch, seed = self.phases.first_epoch(phase), self.config.data_seed
        batches = self.config.pruning.gradient_batches
        return sample(self._plan(epoch), batches, data_seed=seed, epoch=epoch)

    def _evaluate(self) -> None:
        languages = self.config.eval.languages
        if 0 < self.phase < self.phases.last:
            languages = self.config.eval.every_phase_languages or languages
        keys = [key for key in self.inputs.evaluation if not languages or key[1] in languages]
        state = self.trainer.state
        served = self.trainer.serve(state)
        predictions = self.evaluator.predictions(
            served, keys, f"evaluating {len({key[1] for key in keys})} languages"
        )
        dataset = self.inputs.dataset
        scores = score(dataset.task, dataset.labels, self.inputs.gold, predictions)
        if self.config.eval.save_predictions:
            self.artifacts.predictions(self.phase, predictions)
        weights = measure(served, state.masks, self.trainer.reference)
        self._event("eval", self.trainer.step, **weights, **scores)
        self.tracker.sync()
        self._write_results(finished=False)

    def _share(self) -> None:
        """Leave the dense phase to the runs that share it."""
        checkpoint = self.checkpoints.newest()
        if self.phase == 0 and self.shared.dense and checkpoint:
            position = self._position(self.phases.epochs(0), 0, evaluated=True)
            self.shared.dense.publish(self.config, self.workdir, checkpoint, position)

    def _finish(self) -> dict[str, Any]:
        """Masks, export, report; results.json says last that the run is complete."""
        state = self.trainer.state
        self.artifacts.masks(state.masks)
        if self.config.export:
            self.artifacts.export(self.trainer.serve(state), self._write_results(finished=False))
        self.artifacts.report()
        results = self._write_results(finished=True)
        self.artifacts.report()  # once more, now that the time is known
        if not self.config.checkpoint.keep_finished:
            self.checkpoints.delete()
        return results

    # ---- What is said, saved and restored -----------------------------------------------------

    def _look_at(self, dispatch: InFlight | None, bar: Any) -> None:
        """Log a dispatch that has come home; stop if its loss is not finite."""
        if dispatch is None:
            return
        try:
            values = fetch(dispatch)
        except NonFiniteLoss as error:
            newest = self.checkpoints.newest()
            good = f"the last good checkpoint is {newest}" if newest else "no checkpoint was saved"
            raise NonFiniteLoss(f"{error}; {good}; lower train.learning_rate") from None
        self._trained_examples += values["examples"]
        bar.update(dispatch.count)
        self.shared.stepped(dispatch.count)
        step = dispatch.first_step + dispatch.count
        epoch = (step - 1) // self.phases.steps_per_epoch
        rate = self._examples_per_second()
        self._event("train", step, epoch=epoch, examples_per_second=rate, **values)

    def _event(self, kind: str, step: int, **values: Any) -> None:
        values.setdefault("remaining", self.phases.remaining(self.phase))
        self.tracker.log(kind, step=step, phase=self.phase, **values)

    def _save(self, epoch: int, dispatch: int) -> None:
        self.tracker.sync()
        tree = self._checkpoint(self.trainer.state, self.phase)
        self.checkpoints.save(tree, self._position(epoch, dispatch))

    def _position(self, epoch: int, dispatch: int, *, evaluated: bool = False) -> Position:
        return Position(
            step=self.trainer.step,
            phase=self.phase,
            epoch=epoch,
            dispatch=dispatch,
            events=self.tracker.position,
            seconds=self._wall_seconds(),
            evaluated=evaluated,
        )

    def _checkpoint(self, state: Any, phase: int) -> dict[str, Any]:
        """What a checkpoint holds; a pretrained reference is read again from the encoder.

        There is no fine-tuned one before the first cut: until then all methods are alike.
        """
        if self.config.regularizer.reference == "pretrained" or phase == 0:
            return {"state": state}
        return {"state": state, "reference": self.trainer.reference}

    def _restore(self) -> Position:
        found = self.checkpoints.restore(
            lambda position: self._checkpoint(self.trainer.abstract, position.phase)
        )
        if found is None:
            return Position.start_of(0)
        restored, position = found
        self.trainer.restore(restored["state"], position.step)
        self.trainer.reference = restored.get("reference", self.trainer.reference)
        self._earlier_seconds = position.seconds
        log.info("continuing from step %d in phase %d", position.step, position.phase)
        return position

    def _enter(self, phase: int) -> None:
        """Set the clock."""
        self.phase = phase
        regularizer = self.config.regularizer
        no_reference = regularizer.reference == "finetuned" and phase == 0
        over = regularizer.phases == "dense" and phase > 0
        hyper = {"regularizer_weight": 0.0} if no_reference or over else {}
        # Nothing is to be shut before the first cut: phase 0 is the dense network
        following = min(phase + 1, self.phases.last) if phase else 0
        self.trainer.enter_phase(
            phase,
            self.phases.remaining(phase),
            self.phases.remaining(following),
            first_step=self.phases.first_epoch(phase) * self.phases.steps_per_epoch,
            phase_steps=self.phases.steps(phase),
            **hyper,
        )

    def _write_results(self, *, finished: bool) -> dict[str, Any]:
        return self.artifacts.results(
            finished=finished,
            wall_seconds=self._wall_seconds(),
            examples_per_second=self._examples_per_second(),
        )

    def _wall_seconds(self) -> float:
        """Since process start, plus what killed runs spent up to the checkpoint they left."""
        return self._earlier_seconds + time.monotonic() - self._started

    def _examples_per_second(self) -> float | None:
        if not self._trained_examples:
            return None
        return self._trained_examples / self._training.seconds
