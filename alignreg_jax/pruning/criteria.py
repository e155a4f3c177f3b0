"""Criteria: what a weight is worth. Pure functions, kernels to scores; the lowest are pruned."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from alignreg_jax.pruning.kernels import KERNELS, Kernels


def magnitude(kernels: Kernels) -> Kernels:
    """Score a weight by its absolute value (magnitude-based pruning; paper §4).

    Keeping the largest minimises the Frobenius distance between a matrix and its pruned copy.

    Returns:
        Scores of the kernels' shapes, float32.
    """
    return {name: jnp.abs(kernels[name].astype(jnp.float32)) for name in KERNELS}


def random(kernels: Kernels, key: Key[Array, ""]) -> Kernels:
    """Score every weight with an independent uniform number (random pruning; paper §4).

    Args:
        kernels: only their shapes matter.
        key: folded with the pruning step by the caller, so that every step draws anew.

    Returns:
        Scores of the kernels' shapes, float32.
    """
    return {
        name: jax.random.uniform(jax.random.fold_in(key, index), kernels[name].shape)
        for index, name in enumerate(KERNELS)
    }
