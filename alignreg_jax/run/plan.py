"""What a run does, as a list of events that is made before it starts. Host arithmetic only.

Phase 0 is fine-tuning at remaining 1; phase k has the k-th cut. The paper's run is Train, Evaluate,
then (Cut, Train, Evaluate) for every cut; a method that learns what to cut trains before it, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.config.method_checks import own_way
from alignreg_jax.errors import UserError
from alignreg_jax.pruning import methods, schedules
from alignreg_jax.pruning.elastic import Rule
from alignreg_jax.pruning.method import Method


def method_of(config: ExperimentConfig, heads: int = 0) -> Method:
    """How a run prunes.

    Args:
        config: of the run.
        heads: in a layer of its encoder, for cuts of whole units; 0 where nothing will be cut.
    """
    pruning, regularizer = config.pruning, config.regularizer
    if never_learns(config):
        return Method(name="dense")
    return methods.build(
        criterion=str(pruning.criterion),
        scope=str(pruning.scope),
        regularizer=str(regularizer.name),
        norm=regularizer.norm,
        reduce=regularizer.reduce,
        mask_every=pruning.mask_every,
        heads=heads,
        any_size=cast(Rule, pruning.sizes_of) if pruning.sizes else None,
        depth=pruning.depth,
    )


def begins_anew(config: ExperimentConfig) -> bool:
    """Whether phase 0 is the plain dense phase, and phase 1 trains in another way."""
    return bool(config.pruning.steps and own_way(config))


def never_learns(config: ExperimentConfig) -> bool:
    """Whether a method that learns what to cut has no cut to learn for: its training is plain."""
    return not config.pruning.steps and config.pruning.criterion in methods.LEARNED


@dataclass(frozen=True)
class Phases:
    """When a run prunes to what, and for how long it trains in between.

    Attributes:
        last: number of the last phase, which is the number of cuts.
        first_epochs: epochs of phase 0.
        epochs_per_step: epochs of every later phase.
        steps_per_epoch: training steps in an epoch of labelled rows.
        remaining: phase -> fraction of the prunable weights that remain in it.
        steps_with_text: training steps in an epoch with unlabelled text; None: there is none.
        text_from: the first phase whose epochs have the text: that of the first teacher.
        restarts: whether phase 1 starts from the pretrained weights again. It is then longer by the
            steps of phase 0, to whole epochs of its own, so that what is pruned has trained as long
            as in every other run.
    """

    last: int
    first_epochs: int
    epochs_per_step: int
    steps_per_epoch: int
    remaining: Callable[[int], float]
    steps_with_text: int | None = None
    text_from: int = 1
    restarts: bool = False

    @classmethod
    def from_config(cls, config: ExperimentConfig, rows: int, text_rows: int = 0) -> "Phases":
        """The time table of a resolved configuration.

        Args:
            config: of the run.
            rows: labelled training rows.
            text_rows: unlabelled rows in an epoch.
        """
        pruning, batch = config.pruning, config.train.batch_size
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
            -(-rows // batch),
            remaining,
            -(-(rows + text_rows) // batch) if text_rows else None,
            1 if config.distill.teacher == "dense" else 0,
            bool(pruning.steps) and pruning.start == "pretrained",
        )

    def epochs(self, phase: int) -> int:
        """Epochs in a phase."""
        if not phase:
            return self.first_epochs
        if not self.restarts or phase > 1:
            return self.epochs_per_step
        again = self.first_epochs * self.epoch_steps(0) / max(self.epoch_steps(1), 1)
        return self.epochs_per_step + round(again)

    def has_text(self, phase: int) -> bool:
        """Whether a phase trains on unlabelled text, too."""
        return self.steps_with_text is not None and phase >= self.text_from

    def epoch_steps(self, phase: int) -> int:
        """Training steps in an epoch of a phase."""
        with_text = self.steps_with_text
        return with_text if with_text and self.has_text(phase) else self.steps_per_epoch

    def first_epoch(self, phase: int) -> int:
        """Epochs before a phase: the number, over the whole run, of its first epoch."""
        return sum(self.epochs(earlier) for earlier in range(phase))

    def first_step(self, phase: int) -> int:
        """Training steps of the run before a phase."""
        return sum(self.steps(earlier) for earlier in range(phase))

    def steps(self, phase: int) -> int:
        """Training steps in a phase."""
        return self.epochs(phase) * self.epoch_steps(phase)

    def cut_step(self, phase: int, cut_at: float) -> int:
        """Training steps of the run before a phase's cut, which comes after a share of the phase's.

        Phase 0 has no cut; its number is 0.
        """
        return self.first_step(phase) + (int(self.steps(phase) * cut_at) if phase else 0)

    def epoch_of(self, step: int) -> int:
        """The number, over the whole run, of the epoch in which a step (from 0) is."""
        phase = 0
        while phase < self.last and step >= self.first_step(phase + 1):
            phase += 1
        within = (step - self.first_step(phase)) // max(self.epoch_steps(phase), 1)
        return self.first_epoch(phase) + within

    def check_learning(self, cut_at: float) -> None:
        """Check that something can be learned before the cuts.

        Raises:
            UserError: a method learns, and no training step comes before its cuts.
        """
        if self.last and cut_at and not int(self.steps(1) * cut_at):
            what = "gates are learned in the first half of a phase"
            what = what if cut_at < 1 else "masks are learned in a phase before its cut"
            raise UserError(
                f"pruning.epochs_per_step={self.epochs_per_step}: {what}, and one of"
                f" {self.steps(1)} training steps has none"
            )

    @property
    def total_steps(self) -> int:
        """Training steps of the whole run."""
        return self.first_step(self.last + 1)


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
class Teach:
    """From here on a teacher's outputs are part of the loss; `dense`: of the weights as they are.

    Otherwise of another checkpoint.
    """

    phase: int
    dense: bool


@dataclass(frozen=True)
class Begin:
    """Here begins what the method itself trains: with masks that it learns, or frozen weights.

    `pretrained` says whether it starts from the pretrained weights, not from the fine-tuned ones.
    """

    phase: int
    pretrained: bool


@dataclass(frozen=True)
class Order:
    """Order units by importance: from here on there is a network for every size."""

    phase: int


@dataclass(frozen=True)
class Evaluate:
    """Score all languages: that is prune_step `phase`.

    With `sizes` it is one for each of them, from number `phase` on.
    """

    phase: int
    sizes: tuple[float, ...] = ()


Event = Train | Cut | Anchor | Teach | Begin | Order | Evaluate


def events(
    phases: Phases,
    *,
    cut_at: float,
    reference: str = "pretrained",
    penalty: str = "all",
    teacher: str = "none",
    begins: bool = False,
    sizes: tuple[float, ...] = (),
) -> list[Event]:
    """Everything that a run does, in order.

    Args:
        phases: the time table.
        cut_at: share of a phase's training that comes before its cut (`Method.cut_at`).
        reference: "pretrained" or "finetuned", what a regularizer compares with.
        penalty: "all" phases have it with its weight, or only the "dense" one.
        teacher: "none", "dense" for the weights after phase 0, or another checkpoint.
        begins: whether the method trains in a way of its own from phase 1 on, and phase 0 is the
            plain dense phase of all methods.
        sizes: that a model trained for all of them is evaluated at; nothing is cut then.
    """
    finetuned = reference == "finetuned"
    first = phases.remaining(0)
    end = phases.steps(0)
    plan: list[Event] = [] if teacher in ("none", "dense") else [Teach(0, dense=False)]
    plan += [
        Train(0, 0, end, first, first, penalized=not finetuned and not begins),
        Evaluate(0),
    ]
    for phase in range(1, phases.last + 1):
        before, after = phases.remaining(phase - 1), phases.remaining(phase)
        begin, cut, end = end, phases.cut_step(phase, cut_at), end + phases.steps(phase)
        weightless = penalty == "dense"
        if phase == 1:
            # The dense weights teach before they are left, and are compared with where they begin
            plan += [Teach(phase, dense=True)] if teacher == "dense" else []
            plan += [Begin(phase, phases.restarts)] if begins else []
            plan += [Anchor(phase)] if finetuned else []
        if cut_at:
            plan.append(
                Train(
                    phase, begin, cut, before, after,
                    learn=True, weightless=weightless, closes=cut_at == 1,
                )
            )  # fmt: skip
        plan.append(Order(phase) if sizes else Cut(phase, cut, after, trained=cut_at > 0))
        if cut_at < 1:
            plan.append(Train(phase, cut, end, after, after, weightless=weightless))
        plan.append(Evaluate(phase, sizes))
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
            case Teach(dense=False):
                return step > 0  # without a checkpoint nothing is done yet
            case Anchor() | Teach() | Begin() | Order():
                return True
        return False

    return [event for event in plan if not done(event)]
