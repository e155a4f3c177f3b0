"""A run, to be read like the paper's Algorithm 1: fine-tune, then (prune, retrain, evaluate) again.

Phase 0 is fine-tuning; phase k prunes to the schedule's fraction, trains, and evaluates: that is
prune_step k. A method that learns what to prune has the first half of the phase for it. Checkpoints
are saved at the end of every phase's training and every so many minutes, while the run trains on;
the same command goes on from the newest sound one. Several seeds can be trained side by side: one
program, and each of them leaves the folder that it would have left alone.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import jax

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.errors import NonFiniteLoss
from alignreg_jax.evaluation.diagnostics import measure
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks, unit_cuts, zeros
from alignreg_jax.pruning.method import MEASURED, Marks
from alignreg_jax.run import assembly, counting, marks, plan, restoring
from alignreg_jax.run.batches import Batches
from alignreg_jax.run.inputs import Inputs
from alignreg_jax.run.member import Follower, Member
from alignreg_jax.run.served import networks
from alignreg_jax.run.shared import Shared
from alignreg_jax.support import processes
from alignreg_jax.support.progress import progress
from alignreg_jax.support.termination import Terminated, termination
from alignreg_jax.training import teaching
from alignreg_jax.training.checkpointing import Checkpoints
from alignreg_jax.training.in_flight import InFlight, fetch
from alignreg_jax.training.manifests import LAYOUT, Position
from alignreg_jax.training.pace import Pace
from alignreg_jax.training.saving import SaveClock, Saver
from alignreg_jax.training.trainer import Trainer

log = logging.getLogger(__name__)


class Experiment:
    """One configuration, for one seed or for several."""

    def __init__(
        self,
        config: ExperimentConfig,
        inputs: Inputs,
        folders: Mapping[int, Path],
        command: str,
        started: float,
        shared: Shared | None = None,
    ):
        """Place everything on the devices; nothing is compiled yet. `folders` by seed."""
        self.config, self.inputs, self.shared = config, inputs, shared or Shared()
        self._seeds = tuple(folders)
        # All processes compute the same, and the first one writes it down
        kind = Member if processes.is_first() else Follower
        self.members = [
            kind(replace(config, seed=seed), inputs, folder, command)
            for seed, folder in folders.items()
        ]
        self._pace = Pace(started)
        saved = config.checkpoint
        self._saver, self._clock = Saver(), SaveClock(saved.every_minutes, saved.every_steps)
        self.phases = inputs.time_table(config)
        kernels, _ = prunable.split(inputs.encoder.params)
        self._model, self._asked = assembly.build_model(config, inputs), self.phases.remaining
        self._shapes = jax.eval_shape(lambda: kernels)
        if config.pruning.keep_zeros:
            self._keep_zeros(zeros.standing(kernels))
        self.method = plan.method_of(config)
        self.phases.check_learning(self.method.cut_at)
        self._midway = 0 < self.method.cut_at < 1
        begins = plan.begins_anew(config)
        self.trainer = self._build_trainer(later=not begins)
        self.plan = plan.events(
            self.phases,
            cut_at=self.method.cut_at,
            reference=str(config.regularizer.reference),
            penalty=str(config.regularizer.phases),
            teacher=str(config.distill.teacher),
            begins=begins,
            sizes=config.pruning.sizes or (),
        )
        self.batches = Batches(config, inputs, self.phases, self.method.cut_at)
        self.evaluator = assembly.build_evaluator(config, inputs, self._model)

    def _build_trainer(self, *, later: bool) -> Trainer:
        return assembly.build_trainer(
            self.config, self.inputs, self._model, self.phases, self._seeds, later=later
        )

    def _keep_zeros(self, standing: zeros.Standing) -> None:
        """Tell phases by what is left where weights are zero from the start."""
        scope = cast(masks.Scope, self.config.pruning.scope)
        left = zeros.as_cut(self._asked, prunable.sizes(self._shapes), standing, scope)
        if self.phases.last:
            zeros.check_first_cut(self._asked(1), left(0), left(1))
        self.phases = replace(self.phases, remaining=left)

    # ---- Algorithm 1 --------------------------------------------------------------------------

    def run(self) -> list[dict[str, Any]]:
        """Fine-tune, then prune, retrain and evaluate until the schedule ends; then export."""
        with ExitStack() as held:
            with processes.together():
                for member in self.members:
                    held.enter_context(member.held(self.shared))
            with processes.together():
                for member in self.members:
                    member.check_seen()
            held.enter_context(self._saver)
            position = self._restore()
            self._clock.saved(position.step)
            for event in plan.left(
                self.plan, position.phase, position.step, evaluated=position.evaluated
            ):
                match event:
                    case plan.Train():
                        self._train(event)
                    case plan.Cut():
                        with termination.deferred(stop=not self._midway):
                            self._cut(event)
                    case plan.Anchor():
                        self.trainer.anchor()
                    case plan.Teach() if self.trainer.teacher is None:  # else it is restored
                        self._teach(event)
                    case plan.Begin():
                        self._begin(event)
                    case plan.Order():
                        with termination.deferred(stop=True):
                            self._order(event)
                    case plan.Evaluate():
                        self._evaluate(event)
            return self._finish()

    def _train(self, event: plan.Train) -> None:
        """What is left of an event, dispatch by dispatch; saves at the end of its phase."""
        quiet = {"regularizer_weight": 0.0} if event.weightless else {}
        self.trainer.set_clock(event.target, learn=event.learn, penalized=event.penalized, **quiet)
        ahead = list(self.batches.of(event, self._seeds, self.trainer.step))
        steps = event.end - event.first
        name = f"phase {event.phase}/{self.phases.last} at {event.remaining:.1%}"
        initial = steps - sum(len(dispatches[0].rows) for _, _, dispatches in ahead)
        # A stop before a cut midway through a phase waits for the step after it, to save that
        deferred = termination.deferred(stop=event.closes)
        with progress(steps, name, "steps", initial=initial) as bar, deferred:
            for epoch, index, dispatches in ahead:
                with self._pace.training:
                    ahead_of = self._marks(event, len(dispatches[0].rows))
                    self._look_at(self.trainer.dispatch(*dispatches, marks=ahead_of), event, bar)
                self._saver.look()
                stop = processes.stop_wanted()
                if self._clock.due(self.trainer.step) or stop:
                    self._look_at(self.trainer.drain(), event, bar)
                    self._save(event.phase, epoch, index + 1)
                if stop:
                    self._saver.wait()
                    raise Terminated
            with self._pace.training:
                self._look_at(self.trainer.drain(), event, bar)
            if event.closes and (ahead or not steps):
                self._save(event.phase, self.phases.epochs(event.phase), 0)

    def _marks(self, event: plan.Train, count: int) -> list[Marks]:
        """Of learned masks, what the next steps go by."""
        if not self.trainer.method.step_masks:
            return []
        pruning, step = self.config.pruning, self.trainer.step
        return marks.of_steps(
            event, self.phases, step, count,
            warmup=pruning.warmup or 0.0, cooldown=pruning.cooldown, keep=self._keep,
        )  # fmt: skip

    def _keep(self, remaining: float) -> masks.Keep:
        heads = self._model.config.layers[0].heads
        return counting.keep(self._shapes, heads, remaining, self.config.pruning.scope)

    def _begin(self, event: plan.Begin) -> None:
        """Leave the dense phase for what the method itself trains."""
        before, step = self.trainer, self.trainer.step
        self.trainer = self._build_trainer(later=True)
        assert self.trainer.step == step
        if not event.pretrained:
            self.trainer.continue_with(before.state)
        if before.teacher is not None:
            taught = (before.teacher_of(index) for index in range(len(self._seeds)))
            self.trainer.teach([teacher for teacher in taught if teacher is not None])

    def _teach(self, event: plan.Teach) -> None:
        """Ask the teacher about every row, once; its answers are part of the loss from here on."""
        teachers, distill = [], self.config.distill
        whose = {name: getattr(distill, name) for name in ("teacher", "weight", "temperature")}
        whose |= {"hidden": distill.hidden, "text": dict(self.inputs.text_rows)}
        asked = (self.config, self.inputs, self._model, self.trainer)
        for index, member in enumerate(self.members):
            again = not teachers or self.inputs.teacher is None  # a checkpoint says the same to all
            found = assembly.ask_teacher(*asked, index) if again else teachers[0]
            facts = teaching.facts(found, self.inputs.train)
            self._event(member, "teach", event.phase, self._asked(0), **facts, **whose)
            teachers.append(found)
        self.trainer.teach(teachers)

    def _cut(self, event: plan.Cut) -> None:
        """Prune every seed to the count of the schedule, by the method's criterion."""
        keep = self._keep(self._asked(event.phase))
        learned = self.trainer.method.step_masks is not None
        seeds = range(len(self.members))
        before = [self._statistics(index)["kept"] for index in seeds if learned]
        gradients, measured = self._gradients(event.phase)
        self.trainer.prune(keep, event.phase, gradients)
        for index, member in enumerate(self.members):
            counts = self._statistics(index)
            if learned:
                measured["kept_before_cut"] = before[index]
            log.info("pruned to %s of %s weights", f"{counts['kept']:,}", f"{counts['prunable']:,}")
            remaining = counts["kept"] / counts["prunable"]
            self._event(member, "prune", event.phase, remaining, **counts, **measured)

    def _order(self, event: plan.Order) -> None:
        """Say from which size on each unit is present, for every seed by its own weights."""
        gradients, measured = self._gradients(event.phase)
        self.trainer.order(event.phase, gradients)
        for member in self.members:
            sizes = {"sizes": list(self.config.pruning.sizes or ())}
            self._event(member, "order", event.phase, self._asked(event.phase), **sizes, **measured)

    def _gradients(self, phase: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The gradients that a criterion ranks by, and what an event says of them."""
        if not self.trainer.method.needs & MEASURED:
            return {}, {}
        plans = [self.batches.drawn(phase, seed) for seed in self._seeds]
        by_teacher = self.config.pruning.gradients_on == "text"
        measured = {"gradient_batches": sum(len(part.rows) for part in plans[0])}
        return self.trainer.gradients(*plans, by_teacher=by_teacher), measured

    def _statistics(self, index: int) -> dict[str, Any]:
        state, _ = self.trainer.member(index)
        counts = masks.statistics(prunable.split(state.params)[0], state.masks)
        if self.config.pruning.scope in unit_cuts.SCOPES:
            counts |= unit_cuts.by_layer(state.masks, self._model.config.layers[0].heads)
        return counts

    def _evaluate(self, event: plan.Evaluate) -> None:
        """Score every seed in the languages of this event, and write the tables anew."""
        phase, languages = event.phase, self.config.eval.languages
        if 0 < phase < self.phases.last:
            languages = self.config.eval.every_phase_languages or languages
        keys = [key for key in self.inputs.evaluation if not languages or key[1] in languages]
        description = f"evaluating {len({key[1] for key in keys})} languages"
        for index, member in enumerate(self.members):
            state, reference = self.trainer.member(index)
            params = self.trainer.serve(state)
            for served in networks(state, params, phase, event.sizes):
                said = description + served.name
                try:
                    predictions = self.evaluator.predictions(params, keys, said, served.at)
                except NonFiniteLoss as error:
                    where = f"seed {member.config.seed}, phase {phase}{served.name}"
                    raise NonFiniteLoss(f"{where}: {error}") from None
                # Shares are of the whole model: rows that are not trained are there, too
                absent = self.inputs.absent_parameters
                weights = measure(served.params, served.masks, reference, absent)
                scores = member.evaluated(predictions, served.number)
                remaining = weights.pop("remaining")
                self._saver.wait()  # what the tables tell of, the run can continue from
                facts = {**served.facts, **weights, **scores}
                self._event(member, "eval", served.number, remaining, **facts)
            if self.config.export == "steps" and phase < self.phases.last:
                whole = self._exported(params)
                with processes.together():
                    member.export_step(phase, whole, self._pace.facts())
            member.tabulate(self._pace.facts())
            if phase == 0:
                position = self._position(member, 0, self.phases.epochs(0), 0, evaluated=True)
                member.publish_dense(self.shared, position)

    def _finish(self) -> list[dict[str, Any]]:
        """Write down masks, results and the pruned model of every seed."""
        found = []
        for index, member in enumerate(self.members):
            state, _ = self.trainer.member(index)
            params = self._exported(self.trainer.serve(state)) if self.config.export else None
            kept = processes.fetch(state.masks)
            tau = processes.fetch(state.method["tau"]) if self.method.sizes else None
            with processes.together():
                found.append(member.finish(kept, params, self._pace.facts, tau))
        return found

    def _exported(self, params: Any) -> Any:
        """The served parameters on the host, with every row of the word embedding."""
        dense_steps = self.phases.steps(0)
        return assembly.whole_params(self.config, self.inputs, params, self.trainer, dense_steps)

    # ---- What is said, saved and restored -----------------------------------------------------

    def _look_at(self, dispatch: InFlight | None, event: plan.Train, bar: Any) -> None:
        """Log a dispatch that has come home; stop if its loss is not finite."""
        if dispatch is None:
            return
        try:
            found = fetch(dispatch)
        except NonFiniteLoss as error:
            self._saver.wait()
            newest = [member.checkpoints.newest() for member in self.members]
            saved = ", ".join(str(checkpoint) for checkpoint in newest if checkpoint)
            good = f"the last good checkpoint is {saved}" if saved else "no checkpoint was saved"
            raise NonFiniteLoss(
                f"{error}; {good}; lower train.learning_rate, with another --workdir"
            ) from None
        self._pace.examples += found[0]["examples"]
        losses = [values["task_loss"] for values in found]
        bar.update(dispatch.count, f"loss {sum(losses) / len(losses):.3g}")
        self.shared.stepped(dispatch.count * len(found))
        step = dispatch.first_step + dispatch.count
        epoch = self.phases.epoch_of(step - 1)
        rate = self._pace.examples_per_second
        for member, values in zip(self.members, found, strict=True):
            facts = {"step": step, "epoch": epoch, "examples_per_second": rate}
            self._event(member, "train", event.phase, event.remaining, **facts, **values)

    def _event(
        self, member: Member, kind: str, phase: int, remaining: float, **values: Any
    ) -> None:
        facts = {"step": self.trainer.step, "phase": phase, "remaining": remaining, **values}
        member.tracker.log(kind, **facts)

    def _save(self, phase: int, epoch: int, dispatch: int) -> None:
        """Save all seeds in the background; nothing that follows changes what is saved."""

        def saves() -> Iterator[tuple[Checkpoints, Any, Position]]:
            for index, member in enumerate(self.members):
                member.tracker.sync()
                teacher = self.trainer.teacher_of(index)
                tree = restoring.tree(self.config, *self.trainer.snapshot(index), teacher, phase)
                yield member.checkpoints, tree, self._position(member, phase, epoch, dispatch)

        self._saver.start(saves())
        self._clock.saved(self.trainer.step)

    def _position(
        self, member: Member, phase: int, epoch: int, dispatch: int, *, evaluated: bool = False
    ) -> Position:
        return Position(
            step=self.trainer.step,
            phase=phase,
            epoch=epoch,
            dispatch=dispatch,
            events=member.tracker.position,
            seconds=self._pace.seconds,
            evaluated=evaluated,
            layout=LAYOUT,
        )

    def _restore(self) -> Position:
        """Go on where all seeds have a sound checkpoint; returns what is next."""
        positions = restoring.restore(self.config, self.inputs, self.members, self._trainer_at)
        self._pace.earlier = max(position.seconds for position in positions)
        return positions[0]

    def _trainer_at(self, position: Position) -> Trainer:
        """What trains there, as the run builds it on its way."""
        if position.phase and self.trainer.method.name != self.method.name:
            self.trainer = self._build_trainer(later=True)
        return self.trainer
