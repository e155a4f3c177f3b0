"""LAMP: magnitudes on a scale that one global cut can compare across matrices."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignreg_jax.pruning.kernels import Kernels, named


def lamp(kernels: Kernels) -> Kernels:
    """Score a weight by w^2 over the sum of all squares of its matrix that are no smaller.

    Layer-adaptive magnitude-based pruning (Lee et al. 2021). Inside a matrix the order is that of
    the magnitudes; the largest weight of every matrix scores exactly 1, the highest score there is,
    so a global cut that keeps at least as many weights as there are matrices empties none.
    Equal weights have different scores: the sum of the first, in (in, out) order, holds the others.

    The authors' code subtracts a running sum from the total, which in float32 leaves the largest of
    2.4 million normal weights less than half its score; the sums here are taken from the large end.

    Args:
        kernels: pruned weights at zero, `[layers, in, out]`.

    Returns:
        Scores of the kernels' shapes in [0, 1], float32; 0 throughout a matrix of zeros.
    """
    return {name: _of_stack(kernels[name]) for name in named(kernels)}


def _of_stack(kernel: Float[Array, "layers rows columns"]) -> Float[Array, "layers rows columns"]:
    # One matrix after the other: sorting needs several copies of what it sorts.
    magnitudes = jnp.abs(kernel.astype(jnp.float32)).reshape(kernel.shape[0], -1)
    return jax.lax.map(_of_matrix, magnitudes).reshape(kernel.shape)


def _of_matrix(magnitudes: Float[Array, " weights"]) -> Float[Array, " weights"]:
    # The bits of positive floats have the order of the floats, and integers sort faster.
    bits = jax.lax.bitcast_convert_type(magnitudes, jnp.uint32)
    position = jnp.arange(magnitudes.size, dtype=jnp.int32)
    bits, order = jax.lax.sort((bits, position), num_keys=1, is_stable=True)
    ascending = jax.lax.bitcast_convert_type(bits, jnp.float32)
    # In units of the power of two below the largest, squares neither overflow nor vanish; the
    # division is exact, so the scale of a matrix drops out.
    unit = jax.lax.bitcast_convert_type(bits[-1] & 0x7F800000, jnp.float32)
    squares = jnp.square(ascending / jnp.where(unit > 0, unit, 1))
    no_smaller = jax.lax.cumsum(squares, reverse=True)
    # The largest is alone in its sum and scores 1, also where a division is right to a few units
    # of rounding only (GPUs); in a matrix of zeros it scores 0.
    scores = jnp.where(squares < no_smaller, squares / no_smaller, squares > 0)
    # Rounding may put neighbours out of order by one unit; the order of magnitudes is a promise.
    scores = jax.lax.cummax(scores)
    unsorted = jnp.zeros_like(scores)
    return unsorted.at[order].set(scores, unique_indices=True, mode="promise_in_bounds")
