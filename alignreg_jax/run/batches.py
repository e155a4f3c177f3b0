"""Which rows a run trains on, step by step: the epoch plans of its seeds, cut at its events."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int32

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data import unlabelled
from alignreg_jax.data.batching import (
    Dispatch,
    bucket_edges,
    epoch_plan,
    renumbered,
    sample,
    split,
)
from alignreg_jax.run.inputs import Inputs
from alignreg_jax.run.plan import Phases, Train


@dataclass(frozen=True)
class Batches:
    """The batches of a run.

    Attributes:
        config: of the run; of which seed does not matter.
        inputs: with the rows and their lengths.
        phases: the time table.
        cut_at: share of a phase's training that comes before its cut.
    """

    config: ExperimentConfig
    inputs: Inputs
    phases: Phases
    cut_at: float

    def of(
        self, event: Train, seeds: Sequence[int], step: int
    ) -> Iterator[tuple[int, int, tuple[Dispatch, ...]]]:
        """What is left of an event after `step` training steps of the run.

        Yields:
            Epoch of the phase, index of the dispatch in it, and the dispatch of every seed.
        """
        begin, steps = max(event.first, step), self.phases.epoch_steps(event.phase)
        for epoch in range(self.phases.epochs(event.phase)):
            done = self.phases.first_step(event.phase) + epoch * steps
            if done + steps <= begin or done >= event.end:  # its plan is not needed
                continue
            plans = (self._epoch(event.phase, epoch, seed) for seed in seeds)
            for index, together in enumerate(zip(*plans, strict=True)):
                if begin <= done < event.end:
                    yield epoch, index, together
                done += len(together[0].rows)

    def drawn(self, phase: int, seed: int) -> list[Dispatch]:
        """Batches for criteria that are gradients: a draw from labelled rows, or from text."""
        rows = np.arange(self.inputs.labelled)
        if self.config.pruning.gradients_on == "text":
            rows = np.arange(self.inputs.labelled, self.inputs.train.rows)
        return sample(
            self._plan(self.phases.first_epoch(phase), seed, rows),
            self.config.pruning.gradient_batches,
            data_seed=self.config.data_seed,
            epoch=self.phases.first_epoch(phase),
        )

    def _epoch(self, phase: int, epoch: int, seed: int) -> list[Dispatch]:
        """An epoch of a phase; no dispatch crosses the cut."""
        number, rows = self.phases.first_epoch(phase) + epoch, np.arange(self.inputs.labelled)
        if self.phases.has_text(phase):
            drawn = self._text(number - self.phases.first_epoch(self.phases.text_from))
            rows = np.concatenate([rows, self.inputs.labelled + drawn])
        plan = self._plan(number, seed, rows)
        cut = self.phases.cut_step(phase, self.cut_at)
        begin = self.phases.first_step(phase) + epoch * self.phases.epoch_steps(phase)
        return split(plan, cut - begin)

    def _text(self, epoch: int) -> Int32[np.ndarray, " rows"]:
        """Which unlabelled rows an epoch has, of those that have any; the same for all seeds."""
        return unlabelled.draw(
            self.inputs.text_rows,
            self.inputs.text_in_epoch,
            exponent=self.config.distill.text_exponent,
            data_seed=self.config.data_seed,
            epoch=epoch,
        )

    def _plan(self, epoch: int, seed: int, rows: Int[np.ndarray, " rows"]) -> list[Dispatch]:
        """The plan of an epoch of the run on some of the rows."""
        plan = epoch_plan(
            self.inputs.train.lengths[rows],
            batch_size=self.config.train.batch_size,
            steps_per_dispatch=self.config.train.steps_per_dispatch,
            edges=bucket_edges(self.inputs.max_length, self.config.train.lengths_per_doubling),
            data_seed=self.config.data_seed,
            epoch=epoch,
            seed=seed,
            bucketing=self.config.train.bucketing,
            parts=self.config.train.epoch_parts,
        )
        return renumbered(plan, rows)
