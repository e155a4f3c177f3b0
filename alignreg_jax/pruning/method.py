"""What a method of pruning is: a small record of pure functions that one train step serves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import Kernels, Masks

State = dict[str, Any]
"""What a method learns or remembers beside weights and masks (a pytree); {} for most."""

Scalars = Mapping[str, Any]
"""Traced scalars. `hyper` holds numbers that a sweep varies; `clock` step, total_steps, phase,
remaining; target, what the cut that is learned for will leave; since, the step at which what is
learned was new."""

Signals = Mapping[str, Any]
"""What the training loop measured for a criterion, by the names in `needs`."""

Penalty = tuple[Float[Array, ""], dict[str, Float[Array, ""]]]

GRADIENTS = frozenset({"grad", "grad_abs", "grad_squared"})
"""Signals that cost a pass over training batches."""


class Weights(NamedTuple):
    """What a penalty compares: kernels, and the other pretrained parameters by their paths.

    `rest` is empty unless the method anchors it (`Method.anchors_rest`).
    """

    kernels: Kernels
    rest: dict[str, Float[Array, "..."]]


def _no_state(kernels: Kernels, reference: Kernels, key: Key[Array, ""]) -> State:
    return {}


def _stored(
    kernels: Kernels,
    masks_: Masks,
    state: State,
    hyper: Scalars,
    clock: Scalars,
    key: Key[Array, ""] | None,
    train: bool,
) -> Kernels:
    # Under zero_pruned the pruned weights are zero as stored: masking them again would only copy
    # every kernel once a step. The train step masks their gradient.
    return kernels


def _folded(kernels: Kernels, masks_: Masks, state: State) -> Kernels:
    return masks.apply(kernels, masks_)


def no_penalty(
    weights: Weights,
    masks_: Masks,
    reference: Weights,
    state: State,
    hyper: Scalars,
    clock: Scalars,
) -> Penalty:
    """Add nothing to the task's loss."""
    return jnp.float32(0), {}


def _not_here(*arguments: Any) -> Any:
    raise AssertionError("this view of the method leaves the function out")


@dataclass(frozen=True)
class Method:
    """A way of pruning. Every function is pure and runs inside jit.

    Attributes:
        name: for logs.
        prune: (kernels, masks, state, signals, keep, key) -> masks; `keep` from `keep_counts`.
        penalty: (weights, masks, reference, state, hyper, clock) -> (weighted scalar, logs); both
            `weights` and `reference` are `Weights`, the first as the network uses them.
        init: (kernels, reference, key) -> state.
        effective: (kernels, masks, state, hyper, clock, key, train) -> what the network uses;
            the default suits `zero_pruned` only. `key` is None when `train` is False.
        finalize: (kernels, masks, state) -> the kernels to export.
        renew: state -> the state that is learned anew after a cut; None: it goes on as it is.
        needs: signals the loop must supply: those of `GRADIENTS`, "layernorm".
        labels: (name, label) for the entries of the state that are trained: "scores" descend at a
            rate of their own, "ascent" (multipliers) climb. Entries not named stay as they are.
        anchors_rest: the penalty also sees the other pretrained parameters that are trained.
        cuts_halfway: the cut of a phase comes halfway through its training instead of before it:
            what is learned aims at that cut, and stands still when none is ahead in its phase.
        zero_pruned: pruned weights are exactly zero after every update; otherwise only the
            effective ones are.
    """

    name: str
    prune: Callable[[Kernels, Masks, State, Signals, masks.Keep, Key[Array, ""]], Masks]
    penalty: Callable[[Weights, Masks, Weights, State, Scalars, Scalars], Penalty]
    init: Callable[[Kernels, Kernels, Key[Array, ""]], State] = _no_state
    effective: Callable[..., Kernels] = _stored
    finalize: Callable[[Kernels, Masks, State], Kernels] = _folded
    renew: Callable[[State], State] | None = None
    needs: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    anchors_rest: bool = False
    cuts_halfway: bool = False
    zero_pruned: bool = True

    @property
    def training(self) -> "Method":
        """The method as a training step sees it: equal for two that only score differently."""
        return replace(
            self,
            name="",
            prune=_not_here,
            finalize=_not_here,
            renew=None,
            needs=frozenset(),
            cuts_halfway=False,
        )

    @property
    def unpenalized(self) -> "Method":
        """The training view without the penalty: equal for all methods that differ in that only."""
        return replace(self.training, penalty=no_penalty, anchors_rest=False)

    @property
    def cutting(self) -> "Method":
        """The method as a pruning step sees it: equal for two that only train differently."""
        return replace(self, name="", penalty=_not_here, effective=_not_here, finalize=_not_here)
