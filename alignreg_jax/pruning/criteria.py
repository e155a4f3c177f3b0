"""Criteria: what a weight is worth. Pure functions, kernels to scores; the lowest are pruned."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from alignreg_jax.pruning.kernels import Kernels, named


def magnitude(kernels: Kernels) -> Kernels:
    """Score a weight by its absolute value (magnitude-based pruning; paper §4).

    Keeping the largest minimises the Frobenius distance between a matrix and its pruned copy.

    Returns:
        Scores of the kernels' shapes, float32.
    """
    return {name: jnp.abs(kernels[name].astype(jnp.float32)) for name in named(kernels)}


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
        for index, name in enumerate(named(kernels))
    }


def gradient(accumulated: Kernels) -> Kernels:
    """Score a weight by |sum_b dL_b/dW|, "the absolute value of the accumulated gradients" (§4).

    Batches that pull a weight in opposite directions cancel, so near convergence this is mostly
    noise. The variants without that are accumulated as such, and are scores already: the sum of
    absolutes, and of squares (the diagonal of the empirical Fisher matrix over batches).

    Args:
        accumulated: gradients of the task loss with respect to the effective kernels, summed over
            batches; sum and mean rank alike.

    Returns:
        Scores of the kernels' shapes, float32.
    """
    return magnitude(accumulated)


def saliency(kernels: Kernels, accumulated: Kernels) -> Kernels:
    """Score a weight by |W * sum_b dL_b/dW|: to first order, what the loss changes without it.

    The form that most libraries call gradient pruning (with one batch: SNIP, Lee et al.
    2019). Unlike `gradient` it stays as it is when a weight is doubled and its input halved.

    Args:
        kernels: as the network uses them, pruned weights at zero.
        accumulated: as in `gradient`.

    Returns:
        Scores of the kernels' shapes, float32.
    """
    return {
        name: jnp.abs(kernels[name].astype(jnp.float32) * accumulated[name].astype(jnp.float32))
        for name in named(kernels)
    }


def wanda(kernels: Kernels, squares: dict[str, Float[Array, "layers inputs"]]) -> Kernels:
    """Score a weight by |W_ij| * ||X_i||: its size times that of what it multiplies.

    Pruning by weights and activations (Sun et al. 2024, Eq. 1), which needs no gradient. Theirs
    goes block after block, each on what the pruned ones before it give; here all are measured at
    once, on the model as it stands before the cut.

    Args:
        kernels: as the network uses them, pruned weights at zero.
        squares: of every input, summed over the pieces of some batches; padding is left out.

    Returns:
        Scores of the kernels' shapes, float32.
    """
    return {
        name: jnp.abs(kernels[name].astype(jnp.float32)) * jnp.sqrt(squares[name])[:, :, None]
        for name in named(kernels)
    }
