"""What a method of pruning is: a small record of pure functions that one train step serves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import Kernels, Masks

State = dict[str, Any]
"""What a method learns or remembers beside weights and masks (a pytree); {} for most."""

Signals = Mapping[str, Any]
"""What the training loop measured for a criterion, by the names in `needs`."""

Solve = Callable[[Kernels, Masks, Signals, masks.Keep], tuple[Masks, Kernels]]
"""(kernels, masks, signals, keep) -> (masks, kernels)."""

Penalty = tuple[Float[Array, ""], dict[str, Float[Array, ""]]]

GRADIENTS = frozenset({"grad", "grad_abs", "grad_squared", "units_abs", "units_squared"})
"""Signals that are gradients of the loss over training batches."""

INPUTS = "inputs"
"""The signal of what every kernel is multiplied by: squares of each input, summed over pieces."""

GRAMS = "grams"
"""The signal of their products with one another: XᵀX, summed over pieces."""

MEASURED = GRADIENTS | {INPUTS, GRAMS}
"""Signals that cost a pass over training batches."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters that are numbers: traced scalars, so that a sweep over them compiles once.

    Attributes:
        learning_rate: of the weights, before warm-up and schedule.
        weight_decay: per unit of the rate (AdamW).
        warmup_steps: steps until the full rate.
        max_grad_norm: longest gradient of the weights, where the step clips.
        regularizer_weight: what a penalty is multiplied by.
        score_learning_rate: of what a method learns, on the schedule of `learning_rate`.
        multiplier_learning_rate: of the multipliers that climb, without a schedule.
        train_examples: labelled rows of the training set.
        mask_threshold: what a sigmoid of a score must exceed in the end, for soft masks.
        distill_weight: share of a teacher in the task's loss; labels have the rest.
        distill_temperature: that logits are divided by where a teacher is compared with.
        distill_hidden: weight of the distance to the teacher's hidden states.
        smallest_size: that rows train at, where they have sizes of their own.
    """

    learning_rate: Any = 0.0
    weight_decay: Any = 0.0
    warmup_steps: Any = 0.0
    max_grad_norm: Any = 0.0
    regularizer_weight: Any = 0.0
    score_learning_rate: Any = 0.0
    multiplier_learning_rate: Any = 0.0
    train_examples: Any = 1.0
    mask_threshold: Any = 0.0
    distill_weight: Any = 0.0
    distill_temperature: Any = 1.0
    distill_hidden: Any = 0.0
    smallest_size: Any = 1.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Marks:
    """What the host says of a single step of learned masks; of several with a leading axis.

    Attributes:
        keep: how many weights stay (`masks.keep_counts`).
        learned: steps of learning before it, over the whole run.
        progress: share of all learning that is over after it.
        ramp: 0 to 1 as what is pruned has grown, cubic; 1 before learning ends.
    """

    keep: Any = None
    learned: Any = 0
    progress: Any = 0.0
    ramp: Any = 0.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Clock:
    """Where the run stands, as traced scalars.

    Attributes:
        step: training steps done.
        total_steps: of the whole run.
        target: share of the weights that the next cut will leave; after a phase's last cut, what
            is left.
        learn: whether what a method learns is trained; it stands still where no cut is ahead.
        begun: training steps of the run before those of the rate's schedule.
        marks: of this step.
    """

    step: Any = 0
    total_steps: Any = 1.0
    target: Any = 1.0
    learn: Any = False
    begun: Any = 0
    marks: "Marks" = Marks()


class Weights(NamedTuple):
    """What a penalty compares: kernels, and the other pretrained parameters by their paths.

    `rest` is empty unless the method anchors it (`Method.anchors_rest`).
    """

    kernels: Kernels
    rest: dict[str, Float[Array, "..."]]


def _no_state(kernels: Kernels, key: Key[Array, ""]) -> State:
    return {}


def _stored(
    kernels: Kernels,
    masks_: Masks,
    state: State,
    hyper: Hyper,
    clock: Clock,
    key: Key[Array, ""] | None,
    train: bool,
) -> Kernels:
    # Under zero_pruned the pruned weights are zero as stored: masking them again would only copy
    # every kernel once a step. The train step masks their gradient.
    return kernels


def no_penalty(
    weights: Weights,
    masks_: Masks,
    reference: Weights,
    state: State,
    hyper: Hyper,
    clock: Clock,
) -> Penalty:
    """Add nothing to the task's loss."""
    return jnp.float32(0), {}


def _no_cut(
    kernels: Kernels,
    masks_: Masks,
    state: State,
    signals: Signals,
    keep: masks.Keep,
    key: Key[Array, ""],
) -> tuple[Masks, State]:
    return masks_, state


def _folded(kernels: Kernels, masks_: Masks, state: State) -> Kernels:
    return masks.apply(kernels, masks_)


@dataclass(frozen=True)
class Method:
    """A way of pruning. Every function is pure and runs inside jit; the defaults prune nothing.

    Attributes:
        name: for logs.
        init: (kernels, key) -> state.
        effective: (kernels, masks, state, hyper, clock, key, train) -> what the network uses;
            the default suits `zero_pruned` only. `key` is None when `train` is False.
        penalty: (weights, masks, reference, state, hyper, clock) -> (weighted scalar, logs); both
            `weights` and `reference` are `Weights`, the first as the network uses them.
        step_masks: (kernels, masks, state, hyper, clock) -> the masks of one training step, for
            methods whose masks change while they train; `clock.marks` has what they depend on.
        labels: (name, label) for the entries of the state that are trained: "scores" descend at a
            rate of their own, "ascent" (multipliers) climb. Entries not named stay as they are.
        anchors_rest: the penalty also sees the other pretrained parameters that are trained.
        zero_pruned: pruned weights are exactly zero after every update; otherwise only the
            effective ones are.
        cut: (kernels, masks, state, signals, keep, key) -> (masks, state); `keep` from
            `keep_counts`.
        solve: (kernels, masks, signals, keep) -> (masks, kernels): in place of `cut`, one that also
            gives the weights that are left new values; it needs `zero_pruned`.
        renews: what is trained of the state starts anew with a cut, and so does its optimiser.
        cut_at: the share of a phase's training that comes before its cut. Above 0 the state learns
            for that cut, and stands still where none is ahead in its phase.
        needs: signals that `cut` and `order` read: those of `MEASURED`, "layernorm".
        sizes: (state, hyper, key, rows) -> thresholds of the state, and the size that each row of a
            step trains at, for a method that serves all sizes; None: rows train the whole model.
        order: (kernels, signals, key) -> the state with those thresholds, computed on the host.
        finalize: (kernels, masks, state) -> the kernels to export.
    """

    name: str = ""
    init: Callable[[Kernels, Key[Array, ""]], State] = _no_state
    effective: Callable[..., Kernels] = _stored
    penalty: Callable[[Weights, Masks, Weights, State, Hyper, Clock], Penalty] = no_penalty
    step_masks: Callable[[Kernels, Masks, State, Hyper, Clock], Masks] | None = None
    labels: tuple[tuple[str, str], ...] = ()
    anchors_rest: bool = False
    zero_pruned: bool = True
    cut: Callable[
        [Kernels, Masks, State, Signals, masks.Keep, Key[Array, ""]], tuple[Masks, State]
    ] = _no_cut
    solve: Solve | None = None
    cut_at: float = 0.0
    renews: bool = True
    needs: frozenset[str] = frozenset()
    sizes: Callable[[State, Hyper, Key[Array, ""], int], Any] | None = None
    order: Callable[[Kernels, Signals, Key[Array, ""]], State] | None = None
    finalize: Callable[[Kernels, Masks, State], Kernels] = _folded

    @property
    def training(self) -> "Method":
        """What a training step depends on: equal for two methods that only cut differently."""
        return replace(
            self, name="", cut=_no_cut, solve=None, cut_at=0.0, renews=True, needs=frozenset(),
            order=None, finalize=_folded,
        )  # fmt: skip

    @property
    def unpenalized(self) -> "Method":
        """The same without the penalty: equal for all methods that differ in that only."""
        return replace(self.training, penalty=no_penalty, anchors_rest=False)

    @property
    def cutting(self) -> "Method":
        """What a cut depends on: equal for two methods that only train differently."""
        return replace(
            self, name="", cut_at=0.0, effective=_stored, penalty=no_penalty, step_masks=None,
            anchors_rest=False, sizes=None, order=None, finalize=_folded,
        )  # fmt: skip
