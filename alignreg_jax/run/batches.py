"""Which rows a run trains on, step by step: the epoch plans of its seeds, cut at its events."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data.batching import Dispatch, bucket_edges, epoch_plan, sample, split
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
        begin, steps = max(event.first, step), self.phases.steps_per_epoch
        for epoch in range(self.phases.epochs(event.phase)):
            done = (self.phases.first_epoch(event.phase) + epoch) * steps
            if done + steps <= begin or done >= event.end:  # its plan is not needed
                continue
            plans = (self._epoch(event.phase, epoch, seed) for seed in seeds)
            for index, together in enumerate(zip(*plans, strict=True)):
                if begin <= done < event.end:
                    yield epoch, index, together
                done += len(together[0].rows)

    def drawn(self, phase: int, seed: int) -> list[Dispatch]:
        """Batches for criteria that are gradients: a draw from the phase's first epoch."""
        return sample(
            self._epoch(phase, 0, seed),
            self.config.pruning.gradient_batches,
            data_seed=self.config.data_seed,
            epoch=self.phases.first_epoch(phase),
        )

    def _epoch(self, phase: int, epoch: int, seed: int) -> list[Dispatch]:
        """An epoch of a phase; no dispatch crosses the cut."""
        number = self.phases.first_epoch(phase) + epoch
        plan = epoch_plan(
            self.inputs.train.lengths,
            batch_size=self.config.train.batch_size,
            steps_per_dispatch=self.config.train.steps_per_dispatch,
            edges=bucket_edges(self.inputs.max_length),
            data_seed=self.config.data_seed,
            epoch=number,
            seed=seed,
            bucketing=self.config.train.bucketing,
        )
        cut = self.phases.cut_step(phase, self.cut_at)
        return split(plan, cut - number * self.phases.steps_per_epoch)
