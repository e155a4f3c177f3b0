"""What a run does, as a list of events that is made before it starts. Host arithmetic only.

Phase 0 is fine-tuning at remaining 1; phase k has the k-th cut. The paper's run is Train, Evaluate,
then (Cut, Train, Evaluate) for every cut; a method that learns what to cut trains before it, too.
"""

from collections.abc import Callable, Sequence
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

    def cut_step(self, phase: int, cut_at: float) -> int:
        """Training steps of the run before a phase's cut, which comes after a share of the phase's.

        Phase 0 has no cut; its number is 0.
        """
        before = self.first_epoch(phase) * self.steps_per_epoch
        return before + (int(self.steps(phase) * cut_at) if phase else 0)

    def check_learning(self, cut_at: float) -> None:
        """Check that something can be learned before the cuts.

        Raises:
            UserError: a method learns, and no training step comes before its cuts.
        """
        if self.last and cut_at and not int(self.steps(1) * cut_at):
            raise UserError(
                f"pruning.epochs_per_step={self.epochs_per_step}: gates are learned in the first"
                f" half of a phase, and one of {self.steps(1)} training steps has none"
            )

    @property
    def total_steps(self) -> int:
        """Training steps of the whole run."""
        return self.first_epoch(self.last + 1) * self.steps_per_epoch


@dataclass(frozen=True)
class Train:
    """Train from step `first` of the run to step `end`.

    Attributes:
        phase: its number.
        first: training steps of the run before it.
        end: training steps of the run after it.
        remaining: share of the prunable weights that there is meanwhile.
        target: share that the next cut of the phase leaves; without one, `remaining`.
        learn: whether what the method learns is trained.
        penalized: whether there is a penalty at all.
        weightless: whether its weight is 0, so that it is measured only.
        closes: whether it is the last of its phase, after which a checkpoint is saved.
    """

    phase: int
    first: int
    end: int
    remaining: float
    target: float
    learn: bool = False
    penalized: bool = True
    weightless: bool = False
    closes: bool = True


@dataclass(frozen=True)
class Cut:
    """Prune to `remaining` of the prunable weights, at step `step` of the run.

    `trained` says whether its phase has training before it.
    """

    phase: int
    step: int
    remaining: float
    trained: bool = False


@dataclass(frozen=True)
class Anchor:
    """From here on a regularizer compares with the weights as they are now."""

    phase: int


@dataclass(frozen=True)
class Evaluate:
    """Score all languages: that is prune_step `phase`."""

    phase: int


Event = Train | Cut | Anchor | Evaluate


def events(
    phases: Phases, *, cut_at: float, reference: str = "pretrained", penalty: str = "all"
) -> list[Event]:
    """Everything that a run does, in order.

    Args:
        phases: the time table.
        cut_at: share of a phase's training that comes before its cut (`Method.cut_at`).
        reference: "pretrained" or "finetuned", what a regularizer compares with.
        penalty: "all" phases have it with its weight, or only the "dense" one.
    """
    finetuned = reference == "finetuned"
    first = phases.remaining(0)
    end = phases.steps(0)
    plan: list[Event] = [
        Train(0, 0, end, first, first, penalized=not finetuned),
        Evaluate(0),
    ]
    for phase in range(1, phases.last + 1):
        before, after = phases.remaining(phase - 1), phases.remaining(phase)
        begin, cut, end = end, phases.cut_step(phase, cut_at), end + phases.steps(phase)
        weightless = penalty == "dense"
        if finetuned and phase == 1:
            plan.append(Anchor(phase))
        if cut_at:
            plan.append(
                Train(
                    phase, begin, cut, before, after,
                    learn=True, weightless=weightless, closes=cut_at == 1,
                )
            )  # fmt: skip
        plan.append(Cut(phase, cut, after, trained=cut_at > 0))
        if cut_at < 1:
            plan.append(Train(phase, cut, end, after, after, weightless=weightless))
        plan.append(Evaluate(phase))
    return plan


def left(plan: Sequence[Event], phase: int, step: int, *, evaluated: bool) -> list[Event]:
    """What is left of a run whose checkpoint was saved in `phase` after `step` training steps.

    A checkpoint is never saved between a cut and the next training step, nor between a phase's
    beginning and a cut that stands there.

    Args:
        plan: of `events`.
        phase: of the checkpoint.
        step: of the checkpoint.
        evaluated: whether the phase's evaluation was done, too.
    """

    def done(event: Event) -> bool:
        if event.phase != phase or evaluated:
            return event.phase <= phase
        match event:
            case Train():
                return event.end <= step and not event.closes
            case Cut():
                return event.step < step or not event.trained
            case Anchor():
                return True
        return False

    return [event for event in plan if not done(event)]
