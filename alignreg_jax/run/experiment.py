"""A run, to be read like the paper's Algorithm 1: fine-tune, then (prune, retrain, evaluate) again.

Phase 0 is fine-tuning; phase k prunes to the schedule's fraction, trains, and evaluates: that is
prune_step k. A method that learns what to prune has the first half of the phase for it. Checkpoints
are saved at the end of every phase's training and every so many minutes, while the run trains on;
the same command goes on from the newest sound one. Several seeds can be trained side by side: one
program, and each of them leaves the folder that it would have left alone.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data.batching import Dispatch, bucket_edges, epoch_plan, sample, split
from alignreg_jax.errors import NonFiniteLoss
from alignreg_jax.evaluation.diagnostics import measure
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks, zeros
from alignreg_jax.pruning.method import GRADIENTS
from alignreg_jax.run import assembly
from alignreg_jax.run import workdir as workdirs
from alignreg_jax.run.inputs import Inputs, identify, load_inputs
from alignreg_jax.run.member import CHECKPOINTS, Follower, Member, finished
from alignreg_jax.run.phases import Phases
from alignreg_jax.run.shared import Shared
from alignreg_jax.support import processes
from alignreg_jax.support.progress import progress
from alignreg_jax.support.termination import termination
from alignreg_jax.training.checkpointing import Checkpoints, Position
from alignreg_jax.training.companions import common, companions
from alignreg_jax.training.pace import Pace
from alignreg_jax.training.saving import SaveClock, Saver
from alignreg_jax.training.trainer import InFlight, fetch

log = logging.getLogger(__name__)


def run(
    config: ExperimentConfig,
    folders: Mapping[int, Path],
    command: str,
    started: float,
    shared: Shared | None = None,
) -> list[dict[str, Any]]:
    """Run or continue an experiment, for one seed or for several side by side.

    Args:
        config: resolved; of which seed does not matter.
        folders: seed -> where what its run leaves behind goes; untouched until all input has been
            checked. Those that hold a complete run are left alone.
        command: for config.json, the report and the card.
        started: time.monotonic() at process start, for wall_seconds.
        shared: what earlier runs of this process have left for it.

    Returns:
        What results.json holds, for every seed; of a run that several processes make that is for
        the first one to say, and empty in the others.

    Raises:
        UserError: bad input, or others than a folder was begun with, before a folder is touched;
            or another process had a mistake.
        NonFiniteLoss: training diverged.
    """
    shared = shared or Shared()
    found: dict[int, dict[str, Any]] = {}
    with processes.together():
        for seed, folder in folders.items():
            same = workdirs.check_same(folder, replace(config, seed=seed))
            if same and (done := finished(folder)):
                found[seed] = done
            elif processes.is_first():  # whose the folder is; others would find it in their way
                workdirs.check_free(folder)
    # Where only some see the folder, all have to go the same way until that is told
    complete = processes.decide(lambda: [seed in found for seed in folders], size=len(folders))
    found = {
        seed: found.get(seed, {}) for seed, done in zip(folders, complete, strict=True) if done
    }
    left = {seed: folder for seed, folder in folders.items() if seed not in found}
    with processes.together():
        inputs = load_inputs(replace(config, seed=min(left)), shared.inputs) if left else None
        known = inputs.digests if inputs else identify(config, shared.inputs)
        for folder in folders.values():
            workdirs.check_inputs(folder, known)
    processes.check_alike(known)
    for seed in found:
        log.info("%s is already complete", folders[seed])
        if not workdirs.knows_inputs(folders[seed]):
            log.info("an earlier version made it, without digests: its inputs cannot be checked")
    if inputs:
        groups = companions({
            seed: Checkpoints(folder / CHECKPOINTS, config.checkpoint.keep)
            for seed, folder in left.items()
        })  # fmt: skip
        if len(groups) > 1:
            told = ", then ".join(" and ".join(map(str, group)) for group in groups)
            log.info("these seeds have no checkpoint in common, so seed %s", told)
        for number, group in enumerate(groups):
            own = {seed: left[seed] for seed in group}
            begun = time.monotonic() if number else started
            experiment = Experiment(config, inputs, own, command, begun, shared)
            found |= dict(zip(group, experiment.run(), strict=True))
            del experiment  # and what it has on the device
    return [found[seed] for seed in folders]


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
        # All processes compute the same, and the first one writes it down
        kind = Member if processes.is_first() else Follower
        self.members = [
            kind(replace(config, seed=seed), inputs, folder, command)
            for seed, folder in folders.items()
        ]
        self._pace = Pace(started)
        saved = config.checkpoint
        self._saver, self._clock = Saver(), SaveClock(saved.every_minutes, saved.every_steps)
        rows = config.train.batch_size
        self.phases = Phases.from_config(config.pruning, -(-inputs.train.rows // rows))
        kernels, _ = prunable.split(inputs.encoder.params)
        self._sizes, self._asked = prunable.sizes(kernels), self.phases.remaining
        masks.keep_counts(self._sizes, 1.0, cast(masks.Scope, config.pruning.scope))  # it can
        if config.pruning.keep_zeros:
            self._keep_zeros(zeros.standing(kernels))
        programs, total_steps, seeds = self.shared.programs, self.phases.total_steps, list(folders)
        model = assembly.build_model(config, inputs)
        self.trainer = assembly.build_trainer(config, inputs, model, total_steps, seeds, programs)
        if self.trainer.method.cuts_halfway:
            self.phases.check_halves()
        self.evaluator = assembly.build_evaluator(config, inputs, model, self.trainer, programs)

    def _keep_zeros(self, standing: zeros.Standing) -> None:
        """Tell phases by what is left where weights are zero from the start."""
        scope = cast(masks.Scope, self.config.pruning.scope)
        left = zeros.as_cut(self._asked, self._sizes, standing, scope)
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
            self._enter(position.phase, cut=self.trainer.step > self._cut_step(position.phase))
            while True:
                if not position.evaluated:
                    self._train(position)
                    self._evaluate()
                if self.phase == self.phases.last:
                    return self._finish()
                position = Position.start_of(self.phase + 1)
                self._begin(position.phase)

    def _begin(self, phase: int) -> None:
        if self.config.regularizer.reference == "finetuned" and phase == 1:
            self.trainer.reference = self.trainer.copy_kernels(self.trainer.state.params)
        self._enter(phase, cut=False)
        if self._cut_due:
            self._prune()

    def _cut_step(self, phase: int) -> int:
        return self.phases.cut_step(phase, halfway=self.trainer.method.cuts_halfway)

    @property
    def _cut_due(self) -> bool:
        return self._cut_ahead and self.trainer.step == self._cut_step(self.phase)

    def _prune(self) -> None:
        phase, scope = self.phase, cast(masks.Scope, self.config.pruning.scope)
        keep = masks.keep_counts(self._sizes, self._asked(phase), scope)
        measured: dict[str, Any] = {}
        plans: list[list[Dispatch]] = []
        if self.trainer.method.needs & GRADIENTS:
            plans = [self._gradient_batches(member, phase) for member in self.members]
            measured = {"gradient_batches": sum(len(part.rows) for part in plans[0])}
        self.trainer.prune(keep, self.trainer.gradients(*plans))
        for index, member in enumerate(self.members):
            state, _ = self.trainer.member(index)
            counts = masks.statistics(prunable.split(state.params)[0], state.masks)
            log.info("pruned to %s of %s weights", f"{counts['kept']:,}", f"{counts['prunable']:,}")
            remaining = counts["kept"] / counts["prunable"]
            self._event(member, "prune", self.trainer.step, remaining, **counts, **measured)
        self._enter(phase, cut=True)

    def _train(self, position: Position) -> None:
        """The epochs of a phase, from `position` on; saves at the end of it."""
        phase, epochs = self.phase, self.phases.epochs(self.phase)
        ahead = list(self._dispatches(position))
        total = self.phases.steps(phase)
        name = f"phase {phase}/{self.phases.last} at {self.phases.remaining(phase):.1%}"
        initial = total - sum(len(dispatches[0].rows) for _, _, dispatches in ahead)
        self._clock.saved(self.trainer.step)
        with progress(total, name, "steps", initial=initial) as bar, termination.deferred():
            for epoch, index, dispatches in ahead:
                if self._cut_due:
                    self._look_at(self.trainer.drain(), bar)
                    self._prune()
                with self._pace.training:
                    self._look_at(self.trainer.dispatch(*dispatches), bar)
                self._saver.look()
                stop = processes.stop_wanted()
                if self._clock.due(self.trainer.step) or stop:
                    self._look_at(self.trainer.drain(), bar)
                    self._save(epoch, index + 1)
                if stop:
                    self._saver.wait()
                    return  # the end of the deferral stops the run
            with self._pace.training:
                self._look_at(self.trainer.drain(), bar)
            if ahead or not epochs:
                self._save(epochs, 0)

    def _dispatches(self, start: Position) -> Iterator[tuple[int, int, tuple[Dispatch, ...]]]:
        """What is left of a phase: epoch of the phase, index in its plan, every seed's dispatch."""
        for epoch in range(start.epoch, self.phases.epochs(start.phase)):
            plans = (self._plan(member, start.phase, epoch) for member in self.members)
            together = list(zip(*plans, strict=True))
            first = start.dispatch if epoch == start.epoch else 0
            yield from ((epoch, index, together[index]) for index in range(first, len(together)))

    def _plan(self, member: Member, phase: int, epoch: int) -> list[Dispatch]:
        """An epoch of a phase; no dispatch crosses the cut."""
        number = self.phases.first_epoch(phase) + epoch
        plan = epoch_plan(
            self.inputs.train.lengths,
            batch_size=self.config.train.batch_size,
            steps_per_dispatch=self.config.train.steps_per_dispatch,
            edges=bucket_edges(self.inputs.max_length),
            data_seed=self.config.data_seed,
            epoch=number,
            seed=member.config.seed,
            bucketing=self.config.train.bucketing,
        )
        return split(plan, self._cut_step(phase) - number * self.phases.steps_per_epoch)

    def _gradient_batches(self, member: Member, phase: int) -> list[Dispatch]:
        """Batches for criteria that are gradients: a draw from the phase's first epoch."""
        epoch, seed = self.phases.first_epoch(phase), self.config.data_seed
        plan, batches = self._plan(member, phase, 0), self.config.pruning.gradient_batches
        return sample(plan, batches, data_seed=seed, epoch=epoch)

    def _evaluate(self) -> None:
        languages = self.config.eval.languages
        if 0 < self.phase < self.phases.last:
            languages = self.config.eval.every_phase_languages or languages
        keys = [key for key in self.inputs.evaluation if not languages or key[1] in languages]
        description = f"evaluating {len({key[1] for key in keys})} languages"
        for index, member in enumerate(self.members):
            state, reference = self.trainer.member(index)
            served = self.trainer.serve(state)
            try:
                predictions = self.evaluator.predictions(served, keys, description)
            except NonFiniteLoss as error:
                where = f"seed {member.config.seed}, phase {self.phase}"
                raise NonFiniteLoss(f"{where}: {error}") from None
            # Shares are of the whole model: rows that are not trained are there, too
            weights = measure(served, state.masks, reference, self.inputs.absent_parameters)
            scores = member.evaluated(predictions, self.phase)
            remaining = weights.pop("remaining")
            self._saver.wait()  # what the tables tell of, the run can continue from
            self._event(member, "eval", self.trainer.step, remaining, **weights, **scores)
            member.tabulate(self._pace.facts())
            if self.phase == 0:
                position = self._position(member, self.phases.epochs(0), 0, evaluated=True)
                member.publish_dense(self.shared, position)

    def _finish(self) -> list[dict[str, Any]]:
        found = []
        for index, member in enumerate(self.members):
            state, _ = self.trainer.member(index)
            params = None
            if self.config.export:
                served, step = self.trainer.serve(state), self.trainer.step
                total_steps = self.phases.total_steps
                params = assembly.whole_params(self.config, self.inputs, served, step, total_steps)
            kept = processes.fetch(state.masks)
            with processes.together():
                found.append(member.finish(kept, params, self._pace.facts))
        return found

    # ---- What is said, saved and restored -----------------------------------------------------

    def _look_at(self, dispatch: InFlight | None, bar: Any) -> None:
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
        bar.update(dispatch.count)
        self.shared.stepped(dispatch.count * len(found))
        step = dispatch.first_step + dispatch.count
        epoch = (step - 1) // self.phases.steps_per_epoch
        rate = self._pace.examples_per_second
        for member, values in zip(self.members, found, strict=True):
            facts = {"epoch": epoch, "examples_per_second": rate}
            self._event(member, "train", step, self._remaining, **facts, **values)

    def _event(self, member: Member, kind: str, step: int, remaining: float, **values: Any) -> None:
        member.tracker.log(kind, step=step, phase=self.phase, remaining=remaining, **values)

    def _save(self, epoch: int, dispatch: int) -> None:
        """Save all seeds in the background; nothing that follows changes what is saved."""

        def saves() -> Iterator[tuple[Checkpoints, Any, Position]]:
            for index, member in enumerate(self.members):
                member.tracker.sync()
                tree = self._checkpoint(*self.trainer.snapshot(index), self.phase)
                yield member.checkpoints, tree, self._position(member, epoch, dispatch)

        self._saver.start(saves())
        self._clock.saved(self.trainer.step)

    def _position(
        self, member: Member, epoch: int, dispatch: int, *, evaluated: bool = False
    ) -> Position:
        return Position(
            step=self.trainer.step,
            phase=self.phase,
            epoch=epoch,
            dispatch=dispatch,
            events=member.tracker.position,
            seconds=self._pace.seconds,
            evaluated=evaluated,
        )

    def _checkpoint(self, state: Any, reference: Any, phase: int) -> dict[str, Any]:
        """What a checkpoint holds; a pretrained reference is read again from the encoder.

        There is no fine-tuned one before the first cut: until then all methods are alike.
        """
        if self.config.regularizer.reference == "pretrained" or phase == 0:
            return {"state": state}
        return {"state": state, "reference": reference}

    def _restore(self) -> Position:
        """Go on where all seeds have a sound checkpoint; returns what is next."""
        place = common({member.config.seed: member.checkpoints for member in self.members})
        abstract = self.trainer.abstract, self.trainer.abstract_reference
        found = [
            member.checkpoints.restore(
                lambda position: self._checkpoint(*abstract, position.phase), place
            )
            for member in self.members
        ]
        positions = [Position.start_of(0) if one is None else one[1] for one in found]
        for member, position in zip(self.members, positions, strict=True):
            member.go_back(position)
        restored = [one[0] for one in found if one is not None]
        if not restored:
            return positions[0]
        position = positions[0]
        self.trainer.restore([tree["state"] for tree in restored], position.step)
        if "reference" in restored[0]:
            self.trainer.restore_reference([tree["reference"] for tree in restored])
        self._pace.earlier = max(position.seconds for position in positions)
        log.info("continuing from step %d in phase %d", position.step, position.phase)
        return position

    def _enter(self, phase: int, *, cut: bool) -> None:
        """Set the clock of a phase, before or after its cut; phase 0 has none."""
        self.phase, self._cut_ahead = phase, phase > 0 and not cut
        regularizer, method = self.config.regularizer, self.trainer.method
        no_reference = regularizer.reference == "finetuned" and phase == 0
        over = regularizer.phases == "dense" and phase > 0
        quiet = {"regularizer_weight"} if over else set()
        if method.cuts_halfway and not self._cut_ahead:  # nothing to learn for
            quiet |= {"regularizer_weight", "score_learning_rate", "multiplier_learning_rate"}
        clock = self.phases.clock(phase, halfway=method.cuts_halfway, cut_ahead=self._cut_ahead)
        self._remaining = clock[0]
        self.trainer.enter_phase(
            phase, *clock, penalized=not no_reference, **dict.fromkeys(quiet, 0.0)
        )
