"""What a method adds to the task loss: a regularizer times its weight."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignreg_jax.pruning import gates, regularizers
from alignreg_jax.pruning.kernels import KERNELS, Masks
from alignreg_jax.pruning.method import Clock, Hyper, Penalty, State, Weights, no_penalty

GATED = ("l0", "l0-target")
"""Regularizers that act on learned gates; the second has multipliers."""

ANCHORED = ("l2sp",)
"""Regularizers that pull whatever is pretrained and trained, not the kernels alone."""

Distance = Callable[[Weights, Weights], Float[Array, ""]]


@cache
def make(name: str, *, norm: str, reduce: str, signed: bool) -> Callable[..., Penalty]:
    """Make the penalty of a regularizer; the same arguments give the same function."""
    if name in GATED:
        return _of_gates(constrained=name == "l0-target")
    if name == "none":
        return no_penalty
    distance = _distances(norm=norm, reduce=reduce, signed=signed)[name]

    def penalty(
        weights: Weights,
        masks: Masks,
        reference: Weights,
        state: State,
        hyper: Hyper,
        clock: Clock,
    ) -> Penalty:
        value = distance(weights, jax.lax.stop_gradient(reference))
        return hyper.regularizer_weight * value, {"regularizer": value}

    return penalty


def _distances(*, norm: str, reduce: str, signed: bool) -> dict[str, Distance]:
    cosine = partial(regularizers.cosine, signed=signed)
    frobenius = partial(regularizers.frobenius, squared=norm == "squared", reduce=cast(Any, reduce))
    return {
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


def _of_gates(constrained: bool) -> Callable[..., Penalty]:
    """Expected number of open gates per training example (Louizos et al. 2018, their code's N).

    Constrained, the Lagrangian (CoFi) that drives their share to what the cut will leave, so that
    gates shut before the weights go; on that scale. CoFi's target moves there step by step from
    the dense network to the last sparsity; here it does so from cut to cut.
    """

    def penalty(
        weights: Weights,
        masks: Masks,
        reference: Weights,
        state: State,
        hyper: Hyper,
        clock: Clock,
    ) -> Penalty:
        remaining = gates.expected_remaining(state["gates"], masks)
        value, logs = remaining, {"open_gates": remaining}
        if constrained:
            target = clock.target
            value = gates.lagrangian(1 - remaining, 1 - target, state["multipliers"])
            logs |= {"open_gates_target": target}
            logs |= {f"multiplier_{name}": leaf for name, leaf in state["multipliers"].items()}
        value = value * (sum(masks[name].size for name in KERNELS) / hyper.train_examples)
        weight = jnp.where(clock.learn, hyper.regularizer_weight, 0.0)
        return weight * value, {"regularizer": value, **logs}

    return penalty
