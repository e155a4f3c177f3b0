"""Hard-concrete gates: a differentiable count of weights (L0; Louizos, Welling and Kingma 2018).

Every weight has a gate z in [0, 1] that multiplies it, and a learned `log_alpha` that says how
likely the gate is to be open. Formulas and constants are those of the paper; gates per weight are
those of Movement pruning's L0 baseline (Sanh, Wolf and Rush 2020).
"""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from alignreg_jax.models.dropout import random_bits
from alignreg_jax.pruning.kernels import Kernels, Masks, named

TEMPERATURE = 2 / 3  # beta
LOW, HIGH = -0.1, 1.1  # gamma and zeta: a gate is stretched to this interval, then clipped
# As Static Model Pruning starts them, just above log 11: the test network is then the dense one.
# 98.2 % of sampled gates are open
INITIAL_LOG_ALPHA = 2.4


def init(kernels: Kernels) -> Kernels:
    """Start every gate open: fully in the test network, and nearly always in a sample.

    Returns:
        `log_alpha` of the kernels' shapes, float32.
    """
    shapes = {name: kernel.shape for name, kernel in kernels.items()}
    return {name: jnp.full(shape, INITIAL_LOG_ALPHA, jnp.float32) for name, shape in shapes.items()}


def noise(key: Key[Array, ""], kernels: Kernels) -> Kernels:
    """Draw the uniform numbers of one sample of the gates.

    16 random bits each, (k + 1/2) / 2^16: never 0 or 1, where the logistic quantile is infinite,
    and fine enough, for the probability that a gate is open is then right to 2^-17. The numbers
    are the same on any mesh.

    Args:
        key: of the step.
        kernels: only their shapes matter.

    Returns:
        Numbers of the kernels' shapes, float32.
    """
    return {
        name: _uniform(jax.random.fold_in(key, index), kernels[name].shape)
        for index, name in enumerate(named(kernels))
    }


def sample(
    log_alpha: Float[Array, "*shape"], uniform: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Sample gates; the gradient reaches `log_alpha` where a gate is neither shut nor fully open.

    Args:
        log_alpha: `[*shape]`.
        uniform: numbers strictly between 0 and 1 (`noise`).

    Returns:
        Gates in [0, 1], `[*shape]`.
    """
    quantile = jnp.log(uniform) - jnp.log1p(-uniform)
    return _stretch(jax.nn.sigmoid((quantile + log_alpha) / TEMPERATURE))


def deterministic(log_alpha: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Compute the gates of the test network: exactly 0 up to -log 11, exactly 1 from log 11."""
    return _stretch(jax.nn.sigmoid(log_alpha))


def open_probability(log_alpha: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Compute the probability that a sampled gate is not zero.

    Not the same as an open test gate: that one shuts at -log 11, where 31 % of samples are open.
    """
    return jax.nn.sigmoid(log_alpha - TEMPERATURE * math.log(-LOW / HIGH))


def fold(kernels: Kernels, log_alpha: Kernels) -> Kernels:
    """Multiply weights by their test gates, as a network without gates would store them."""
    return {name: kernels[name] * deterministic(log_alpha[name]) for name in named(kernels)}


def expected_remaining(log_alpha: Kernels, masks: Masks) -> Float[Array, ""]:
    """Compute the expected share of weights whose gate is open.

    Args:
        log_alpha: of every weight.
        masks: a pruned weight does not count, whatever its gate.

    Returns:
        The sum of `open_probability` over the weights that stand, divided by the number of all
        prunable weights.
    """
    total = sum(masks[name].size for name in named(masks))

    def share(name: str) -> Float[Array, ""]:
        # Most gates are open: the few that are shut add up with less rounding
        shut = jnp.where(masks[name], 1 - open_probability(log_alpha[name]), 0)
        return (jnp.mean(masks[name], dtype=jnp.float32) - jnp.mean(shut)) * (shut.size / total)

    return jnp.sum(jnp.stack([share(name) for name in named(masks)]))


def lagrangian(
    expected_sparsity: Float[Array, ""],
    target: Float[Array, ""] | float,
    multipliers: Mapping[str, Float[Array, ""]],
) -> Float[Array, ""]:
    """Compute l1 (s - t) + l2 (s - t)^2, which drives sparsity s to its target t (CoFi).

    Xia, Zhong and Chen 2022, after Wang, Wohlwend and Lei 2020: gates descend on it and the
    multipliers, from 0, ascend. Their gradients are s - t and its square, so the quadratic one
    only ever grows.

    Args:
        expected_sparsity: 1 - `expected_remaining`.
        target: in [0, 1].
        multipliers: scalars `linear` and `quadratic`.
    """
    excess = expected_sparsity - target
    return multipliers["linear"] * excess + multipliers["quadratic"] * jnp.square(excess)


def _uniform(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    return (random_bits(key, shape).astype(jnp.float32) + 0.5) / 2**16


def _stretch(gates: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.clip(gates * (HIGH - LOW) + LOW, 0, 1)
