"""What a method adds to the task loss: a regularizer times its weight."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignreg_jax.pruning import gates, regularizers
from alignreg_jax.pruning.kernels import KERNELS, Masks
from alignreg_jax.pruning.method import Penalty, Scalars, State, Weights

GATED = ("l0", "l0-hold", "l0-target")
"""Regularizers that act on learned gates; all but the first have multipliers."""

_RAMP = 0.5  # of a phase, in which the target falls from what remains to what the next cut leaves

Distance = Callable[[Weights, Weights], Float[Array, ""]]


@cache
def make(name: str, *, norm: str, reduce: str, signed: bool) -> Callable[..., Penalty]:
    """Make the penalty of a regularizer; the same arguments give the same function."""
    gated = {"l0": _l0, "l0-hold": _l0_hold, "l0-target": _l0_target}
    if name in gated:
        return gated[name]
    distance = _distances(norm=norm, reduce=reduce, signed=signed)[name]

    def penalty(
        weights: Weights,
        masks: Masks,
        reference: Weights,
        state: State,
        hyper: Scalars,
        clock: Scalars,
    ) -> Penalty:
        if distance is None:
            return jnp.float32(0), {}
        value = distance(weights, jax.lax.stop_gradient(reference))
        return hyper["regularizer_weight"] * value, {"regularizer": value}

    return penalty


def _distances(*, norm: str, reduce: str, signed: bool) -> dict[str, Distance | None]:
    cosine = partial(regularizers.cosine, signed=signed)
    frobenius = partial(regularizers.frobenius, squared=norm == "squared", reduce=cast(Any, reduce))
    return {
        "none": None,
        "cosine": lambda weights, reference: cosine(weights.kernels, reference.kernels),
        "cosine-layer": lambda weights, reference: cosine(
            weights.kernels, reference.kernels, per_unit=False
        ),
        "frobenius": lambda weights, reference: frobenius(weights.kernels, reference.kernels),
        "l2": lambda weights, reference: regularizers.l2(weights.kernels),
        # L2-SP (Li et al. 2018): the Frobenius term, and the same for all else that is pretrained
        "l2sp": lambda weights, reference: (
            regularizers.frobenius(weights.kernels, reference.kernels)
            + regularizers.square_distance(weights.rest, reference.rest)
        ),
    }


def _l0(
    weights: Weights,
    masks: Masks,
    reference: Weights,
    state: State,
    hyper: Scalars,
    clock: Scalars,
) -> Penalty:
    """Expected number of open gates per training example (Louizos et al. 2018, their code's N)."""
    remaining = gates.expected_remaining(state["gates"], masks)
    value = remaining * _per_example(masks, hyper)
    return hyper["regularizer_weight"] * value, {"regularizer": value, "open_gates": remaining}


def _l0_hold(
    weights: Weights,
    masks: Masks,
    reference: Weights,
    state: State,
    hyper: Scalars,
    clock: Scalars,
) -> Penalty:
    """A Lagrangian (CoFi) that holds the number of open gates where the masks are."""
    return _constrained(clock["remaining"], masks, state, hyper)


def _l0_target(
    weights: Weights,
    masks: Masks,
    reference: Weights,
    state: State,
    hyper: Scalars,
    clock: Scalars,
) -> Penalty:
    """The same towards what the next cut leaves, so that the gates shut before the weights go.

    The target falls linearly in the first half of a phase and then stands, for gates to settle.
    """
    done = clock["step"] - clock["first_step"] + 1
    progress = jnp.clip(done / jnp.maximum(_RAMP * clock["phase_steps"], 1), 0, 1)
    target = clock["remaining"] + progress * (clock["target"] - clock["remaining"])
    return _constrained(target, masks, state, hyper)


def _constrained(
    target: Float[Array, ""] | float, masks: Masks, state: State, hyper: Scalars
) -> Penalty:
    remaining = gates.expected_remaining(state["gates"], masks)
    value = gates.lagrangian(1 - remaining, 1 - target, state["multipliers"])
    value = value * _per_example(masks, hyper)
    logs = {"regularizer": value, "open_gates": remaining, "open_gates_target": target}
    logs |= {f"multiplier_{name}": leaf for name, leaf in state["multipliers"].items()}
    return hyper["regularizer_weight"] * value, logs


def _per_example(masks: Masks, hyper: Scalars) -> Float[Array, ""]:
    return sum(masks[name].size for name in KERNELS) / hyper["train_examples"]
