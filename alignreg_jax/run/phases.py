"""The run's time table: phases, their epochs, what remains in each. Host arithmetic only.

Phase 0 is fine-tuning at remaining 1; phase k has the k-th cut, at its start or halfway.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from alignreg_jax.config import PruningConfig
from alignreg_jax.errors import UserError
from alignreg_jax.pruning import schedules


@dataclass(frozen=True)
class Phases:
    """When a run prunes to what, and for how long it trains in between.

    Attributes:
        last: number of the last phase, which is the number of cuts.
        first_epochs: epochs of phase 0.
        epochs_per_step: epochs of every later phase.
        steps_per_epoch: training steps in an epoch.
        remaining: phase -> fraction of the prunable weights that remain in it.
    """

    last: int
    first_epochs: int
    epochs_per_step: int
    steps_per_epoch: int
    remaining: Callable[[int], float]

    @classmethod
    def from_config(cls, pruning: PruningConfig, steps_per_epoch: int) -> "Phases":
        """The time table of a resolved configuration."""
        if pruning.steps is None or pruning.first_epochs is None:
            raise ValueError("the configuration has not been resolved")
        remaining = partial(
            schedules.remaining,
            pruning.schedule,
            steps=pruning.steps,
            fraction=pruning.fraction,
            final=pruning.final,
            explicit=pruning.explicit,
        )
        return cls(
            pruning.steps,
            pruning.first_epochs,
            pruning.epochs_per_step,
            steps_per_epoch,
            remaining,
        )

    def epochs(self, phase: int) -> int:
        """Epochs in a phase."""
        return self.epochs_per_step if phase else self.first_epochs

    def first_epoch(self, phase: int) -> int:
        """Epochs before a phase: the number, over the whole run, of its first epoch."""
        return sum(self.epochs(earlier) for earlier in range(phase))

    def steps(self, phase: int) -> int:
        """Training steps in a phase."""
        return self.epochs(phase) * self.steps_per_epoch

    def cut_step(self, phase: int, *, halfway: bool) -> int:
        """Training steps of the run before a phase's cut: before it or halfway; 0 in phase 0."""
        before = self.first_epoch(phase) * self.steps_per_epoch
        return before + (self.steps(phase) // 2 if halfway and phase else 0)

    def check_halves(self) -> None:
        """Whether something can be learned before a cut that comes halfway.

        Raises:
            UserError: phases of less than two steps.
        """
        if self.last and self.steps(1) < 2:
            raise UserError(
                f"pruning.epochs_per_step={self.epochs_per_step}: gates are learned in the first"
                f" half of a phase, and one of {self.steps(1)} training steps has none"
            )

    def clock(self, phase: int, *, halfway: bool, cut_ahead: bool) -> tuple[float, float, int]:
        """What `Trainer.enter_phase` is told of a phase: remaining, target and since.

        Args:
            phase: its number.
            halfway: the method learns for the cut of a phase in the phase itself.
            cut_ahead: that cut has not been made yet.
        """
        last_cut = phase - 1 if halfway and cut_ahead else phase
        since = self.cut_step(phase, halfway=False) if halfway else 0
        return self.remaining(last_cut), self.remaining(phase), since

    @property
    def total_steps(self) -> int:
        """Training steps of the whole run."""
        return self.first_epoch(self.last + 1) * self.steps_per_epoch
