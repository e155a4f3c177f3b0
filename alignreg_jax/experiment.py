"""A run, to be read like the paper's Algorithm 1: fine-tune, then (prune, retrain, evaluate) again.

Phase 0 is fine-tuning; phase k prunes to the schedule's fraction, trains, and evaluates: that is
prune_step k. A checkpoint is saved at the end of every phase's training and every so many steps;
the same command goes on from the newest sound one.
"""

import io
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alignreg_jax import workdir as workdirs
from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data.batching import Dispatch, bucket_edges, epoch_plan
from alignreg_jax.errors import NonFiniteLoss
from alignreg_jax.evaluation.diagnostics import measure
from alignreg_jax.evaluation.evaluator import Evaluator
from alignreg_jax.evaluation.metrics import chance
from alignreg_jax.export import write_export
from alignreg_jax.inputs import Inputs, load_inputs
from alignreg_jax.models import xlmr
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks, methods, schedules
from alignreg_jax.reporting import results as reporting
from alignreg_jax.reporting.card import model_card
from alignreg_jax.reporting.progress import progress
from alignreg_jax.reporting.report import write_report
from alignreg_jax.reporting.tracking import Tracker, atomic_write, read_events
from alignreg_jax.training import sharding, steps
from alignreg_jax.training.checkpointing import Checkpoints, Position
from alignreg_jax.training.trainer import InFlight, Stopwatch, Trainer, fetch

log = logging.getLogger(__name__)


def run(config: ExperimentConfig, workdir: Path, command: str, started: float) -> dict[str, Any]:
    """Run or continue an experiment; returns what results.json holds.

    Args:
        config: resolved.
        workdir: what a run leaves behind goes here; untouched until all input has been checked.
        command: for config.json, the report and the card.
        started: time.monotonic() at process start, for wall_seconds.

    Raises:
        UserError: bad input, before the workdir is touched.
        NonFiniteLoss: training diverged.
    """
    if workdirs.check_same(workdir, config) and (done := finished(workdir)):
        return done
    inputs = load_inputs(config)
    experiment = Experiment(config, inputs, workdir, command, started)
    with workdirs.locked(workdir):
        if not (workdir / "config.json").exists():
            workdirs.write_config(workdir, config, command)
        return experiment.run()


def finished(workdir: Path) -> dict[str, Any] | None:
    """The results of a complete run, or None."""
    path = workdir / "results.json"
    if not path.exists():
        return None
    results = json.loads(path.read_text(encoding="utf-8"))
    return results if results["finished"] else None


class Experiment:
    """One run of one configuration."""

    def __init__(
        self, config: ExperimentConfig, inputs: Inputs, workdir: Path, command: str, started: float
    ):
        """Check what can be checked, place everything on the devices."""
        self.config, self.inputs = config, inputs
        self.workdir, self.command = workdir, command
        self._started, self._earlier_seconds = started, 0.0
        train, mesh_config = config.train, config.mesh
        mesh = sharding.make_mesh(mesh_config.data, mesh_config.fsdp, mesh_config.tensor)
        microbatch = train.batch_size // train.accumulation
        sharding.check(
            mesh,
            inputs.encoder.config,
            {
                "train.batch_size / train.accumulation": microbatch,
                "eval.batch_size": config.eval.batch_size,
            },
        )
        model = xlmr.XlmrModel(
            config=inputs.encoder.config,
            head=config.model.head,  # pyright: ignore[reportArgumentType]
            num_labels=len(inputs.dataset.labels),
            dtype=jnp.dtype(config.model.dtype),
            remat=config.model.remat,
        )
        method = methods.build(
            criterion=_given(config.pruning.criterion),
            scope=_given(config.pruning.scope),
            regularizer=_given(config.regularizer.name),
            norm=config.regularizer.norm,
            reduce=config.regularizer.reduce,
        )
        self.trainer = Trainer(
            model,
            method,
            steps.StepSettings(
                accumulation=train.accumulation,
                schedule=train.schedule,
                clip=train.max_grad_norm > 0,
                freeze=train.freeze,
            ),
            mesh,
            params=inputs.encoder.params,
            train=inputs.train,
            seed=config.seed,
            hyper={
                "learning_rate": train.learning_rate,
                "weight_decay": train.weight_decay,
                "warmup_steps": train.warmup_steps,
                "max_grad_norm": train.max_grad_norm,
                "regularizer_weight": _given(config.regularizer.weight),
            },
            total_steps=self._steps_per_epoch() * self._first_epoch(self._phases() + 1),
            batch_size=train.batch_size,
            steps_per_dispatch=train.steps_per_dispatch,
        )
        self.evaluator = Evaluator(
            inputs.evaluation,
            predict=steps.make_predict(model, mesh),
            place=self.trainer.place,
            batch_size=config.eval.batch_size,
            steps_per_dispatch=train.steps_per_dispatch,
            max_length=inputs.max_length,
            metric=inputs.dataset.task.metric,
        )
        self.checkpoints = Checkpoints(workdir / "checkpoints", config.checkpoint.keep)
        self._sizes = prunable.sizes(self.trainer.reference)
        self._training = Stopwatch()
        self._trained_examples = 0.0

    # ---- Algorithm 1 --------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Fine-tune, then prune, retrain and evaluate until the schedule ends; then export."""
        position = self._restore()
        with Tracker(self.workdir, self.config.tracking.tensorboard) as self.tracker:
            self.tracker.cut_back(position.events)
            phase = position.phase
            self._enter(phase)
            while True:
                self._train(phase, position)
                self._evaluate(phase)
                if phase == self._phases():
                    break
                phase += 1
                position = Position(0, phase, 0, 0, 0, 0)
                self._prune(phase)
        return self._finish()

    def _prune(self, phase: int) -> None:
        if self.config.regularizer.reference == "finetuned" and phase == 1:
            self.trainer.reference = self.trainer.copy_kernels(self.trainer.state.params)
        self._enter(phase)
        remaining = self._remaining(phase)
        keep = masks.keep_counts(self._sizes, remaining, _given(self.config.pruning.scope))
        self.trainer.prune(keep)
        kernels, _ = prunable.split(self.trainer.state.params)
        counts = masks.statistics(kernels, self.trainer.state.masks)
        log.info("pruned to %s of %s weights", f"{counts['kept']:,}", f"{counts['prunable']:,}")
        self.tracker.log(
            "prune",
            step=self.trainer.step,
            phase=phase,
            remaining=counts["kept"] / counts["prunable"],
            **counts,
        )

    def _train(self, phase: int, position: Position) -> None:
        """The epochs of a phase, from `position` on; saves at the end of it."""
        epochs = self._first_epoch(phase + 1) - self._first_epoch(phase)
        total = epochs * self._steps_per_epoch()
        ahead = list(self._dispatches(phase, position))
        name = f"phase {phase}/{self._phases()} at {self._remaining(phase):.1%}"
        initial = total - sum(len(dispatch.rows) for _, _, dispatch in ahead)
        saved_at = self.trainer.step
        with progress(total, name, "steps", initial=initial) as bar:
            for epoch, index, dispatch in ahead:
                with self._training:
                    self._look_at(self.trainer.dispatch(dispatch), epoch, bar)
                if self.trainer.step - saved_at >= self.config.checkpoint.every_steps:
                    self._look_at(self.trainer.drain(), epoch, bar)
                    self._save(phase, epoch, index + 1)
                    saved_at = self.trainer.step
            with self._training:
                self._look_at(self.trainer.drain(), epochs, bar)
        if ahead or (phase > 0 and not epochs):
            self._save(phase, epochs, 0)

    def _dispatches(self, phase: int, start: Position) -> Iterator[tuple[int, int, Dispatch]]:
        epochs = self._first_epoch(phase + 1) - self._first_epoch(phase)
        for epoch in range(start.epoch, epochs):
            plan = epoch_plan(
                self.inputs.train.lengths,
                batch_size=self.config.train.batch_size,
                steps_per_dispatch=self.config.train.steps_per_dispatch,
                edges=bucket_edges(self.inputs.max_length),
                data_seed=self.config.data_seed,
                epoch=self._first_epoch(phase) + epoch,
                bucketing=self.config.train.bucketing,
            )
            first = start.dispatch if epoch == start.epoch else 0
            yield from ((epoch, index, plan[index]) for index in range(first, len(plan)))

    def _evaluate(self, phase: int) -> None:
        last = phase == self._phases()
        every = self.config.eval.languages
        languages = every if phase == 0 or last else self.config.eval.every_phase_languages or every
        keys = [key for key in self.inputs.evaluation if not languages or key[1] in languages]
        state = self.trainer.state
        served = self.trainer.serve(state)
        predictions = self.evaluator.predictions(served, keys, f"evaluating prune step {phase}")
        scores, examples = self.evaluator.score(predictions)
        if self.config.eval.save_predictions:
            for (split, language), classes in predictions.items():
                text = "".join(f"{self.inputs.dataset.labels[index]}\n" for index in classes)
                folder = self.workdir / "predictions" / str(phase)
                atomic_write(folder / f"{language}.{split}.txt", text)
        self.tracker.log(
            "eval",
            step=self.trainer.step,
            phase=phase,
            **measure(served, state.masks, self.trainer.reference),
            scores=scores,
            examples=examples,
        )
        self.tracker.sync()
        self._write_results(finished=False)

    def _finish(self) -> dict[str, Any]:
        """Masks, export, report; results.json says last that the run is complete."""
        state = self.trainer.state
        packed = masks.pack(jax.device_get(state.masks))
        _save_npz(self.workdir / "masks.npz", packed)
        results = self._write_results(finished=False)
        name = self.config.model.name_or_path
        task = self.inputs.dataset.task
        write_export(
            self.workdir / "export",
            params=jax.device_get(self.trainer.serve(state)),
            config=self.inputs.encoder.config,
            head=self.config.model.head,  # pyright: ignore[reportArgumentType]
            labels=self.inputs.dataset.labels,
            source=self.inputs.encoder_folder,
            card=model_card(
                results,
                labels=self.inputs.dataset.labels,
                base_model={"demo": "intfloat/multilingual-e5-small"}.get(
                    name, None if Path(name).exists() else name
                ),
                head=self.config.model.head,
                max_length=self.inputs.max_length,
                command=self.command,
                pair=len(task.text_fields) == 2,
            ),
        )
        write_report(self.workdir)
        results = self._write_results(finished=True)
        write_report(self.workdir)  # once more, now that the time is known
        return results

    # ---- What is said, saved and restored -----------------------------------------------------

    def _look_at(self, dispatch: InFlight | None, epoch: int, bar: Any) -> None:
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
        self.tracker.log(
            "train",
            step=dispatch.first_step + dispatch.count,
            phase=self._phase,
            remaining=self._remaining(self._phase),
            epoch=epoch,
            examples_per_second=self._examples_per_second(),
            **values,
        )

    def _save(self, phase: int, epoch: int, dispatch: int) -> None:
        self.tracker.sync()
        position = Position(
            step=self.trainer.step,
            phase=phase,
            epoch=epoch,
            dispatch=dispatch,
            events=self.tracker.position,
            seconds=self._wall_seconds(),
        )
        self.checkpoints.save(self._checkpoint(self.trainer.state), position)

    def _checkpoint(self, state: Any) -> dict[str, Any]:
        """What a checkpoint holds; a pretrained reference is read again from the encoder."""
        if self.config.regularizer.reference == "pretrained":
            return {"state": state}
        return {"state": state, "reference": self.trainer.reference}

    def _restore(self) -> Position:
        tree = self._checkpoint(self.trainer.abstract)
        found = self.checkpoints.restore(tree)
        if found is None:
            return Position(0, 0, 0, 0, 0, 0.0)
        restored, position = found
        self.trainer.restore(restored["state"], position.step)
        self.trainer.reference = restored.get("reference", self.trainer.reference)
        self._earlier_seconds = position.seconds
        log.info("continuing from step %d of phase %d", position.step, position.phase)
        return position

    def _write_results(self, *, finished: bool) -> dict[str, Any]:
        events = read_events(self.workdir / "metrics.jsonl")
        dataset = self.inputs.dataset
        facts = reporting.Facts(
            task=dataset.task.name,
            method=self.config.method,
            seed=self.config.seed,
            metric=dataset.task.metric,
            chance=chance(dataset.task.metric, len(dataset.labels)),
            languages=dataset.languages,
            split="test" if "test" in self.config.eval.splits else "dev",
        )
        results = reporting.summary(
            events,
            facts,
            finished=finished,
            wall_seconds=self._wall_seconds(),
            examples_per_second=self._examples_per_second(),
        )
        atomic_write(self.workdir / "results.csv", reporting.csv_text(events))
        text = json.dumps(results, indent=1, ensure_ascii=False)
        atomic_write(self.workdir / "results.json", text + "\n")
        return results

    # ---- Arithmetic of the schedule -----------------------------------------------------------

    def _enter(self, phase: int) -> None:
        self._phase = phase
        hyper = {}
        if self.config.regularizer.reference == "finetuned" and phase == 0:
            hyper["regularizer_weight"] = 0.0  # there is no fine-tuned network yet
        self.trainer.enter_phase(phase, self._remaining(phase), **hyper)

    def _phases(self) -> int:
        return _given(self.config.pruning.steps)

    def _remaining(self, phase: int) -> float:
        pruning = self.config.pruning
        return schedules.remaining(
            pruning.schedule,
            phase,
            steps=self._phases(),
            fraction=pruning.fraction,
            final=pruning.final,
            explicit=pruning.explicit,
        )

    def _first_epoch(self, phase: int) -> int:
        """Epochs before a phase."""
        pruning = self.config.pruning
        if phase == 0:
            return 0
        return _given(pruning.first_epochs) + (phase - 1) * pruning.epochs_per_step

    def _steps_per_epoch(self) -> int:
        return -(-self.inputs.train.rows // self.config.train.batch_size)

    def _wall_seconds(self) -> float:
        """Since process start, plus what killed runs spent up to the checkpoint they left."""
        return self._earlier_seconds + time.monotonic() - self._started

    def _examples_per_second(self) -> float | None:
        seconds = self._training.seconds
        return self._trained_examples / seconds if self._trained_examples else None


def _given(value: Any) -> Any:
    """A field that `resolve` has filled."""
    if value is None:
        raise ValueError("the configuration has not been resolved")
    return value


def _save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    atomic_write(path, buffer.getvalue())
