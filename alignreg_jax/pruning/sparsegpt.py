"""SparseGPT: prune a matrix input by input, and let the weights that are left make up for it.

Frantar and Alistarh 2023. Of a matrix W and what it is multiplied by, X, the error |XW - XW'|² is
kept small: when a weight goes, those of later inputs of the same output move so that the output
changes least (the optimal brain surgeon's step, restricted to later inputs, so that one
factorisation of H = XᵀX serves all outputs).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import Kernels, Masks, named

BLOCK = 128
"""Inputs whose weights compete with one another, of all outputs together."""

DAMPING = 0.01
"""Share of the mean diagonal that is added to it, so that H can be inverted."""


def solve(
    kernels: Kernels,
    standing: Masks,
    grams: dict[str, Float[Array, "layers n n"]],
    keep: masks.Keep,
) -> tuple[Masks, Kernels]:
    """Choose which weights of every matrix stay, and what they are then.

    Args:
        kernels: as the network uses them, pruned weights at zero.
        standing: which weights stand; a pruned one stays pruned.
        grams: of every kernel XᵀX over the pieces of some batches, `[layers, in, in]`.
        keep: the counts (`masks.keep_counts`, scope "layer"), which are exact.

    Returns:
        The new masks, nested in the old ones, and the new kernels, float32.
    """
    kept, solved = {}, {}
    for name in named(kernels):
        counts = jnp.broadcast_to(jnp.asarray(keep[name]), kernels[name].shape[:1])
        # One matrix after the other: each takes the memory of its H twice
        kept[name], solved[name] = jax.lax.map(
            lambda given: _matrix(*given), (kernels[name], standing[name], grams[name], counts)
        )
    return kept, solved


def _matrix(
    kernel: Float[Array, "inputs outputs"],
    standing: Bool[Array, "inputs outputs"],
    gram: Float[Array, "inputs inputs"],
    keep: Int[Array, ""],
) -> tuple[Bool[Array, "inputs outputs"], Float[Array, "inputs outputs"]]:
    inputs = kernel.shape[0]
    size = min(BLOCK, inputs)
    blocks = -(-inputs // size)
    more = ((0, blocks * size - inputs), (0, 0))  # inputs that fill up the last block
    weights = jnp.pad(kernel.astype(jnp.float32), more)
    standing, gram = jnp.pad(standing, more), jnp.pad(gram, (more[0], more[0]))
    dead = jnp.diagonal(gram) == 0  # an input that is always 0: its weights do nothing
    weights = jnp.where(dead[:, None], 0.0, weights)
    mean = jnp.sum(jnp.where(dead, 1.0, jnp.diagonal(gram))[:inputs]) / inputs
    gram = gram + jnp.diag(jnp.where(dead, 1.0, 0.0) + DAMPING * mean)
    # Row j of U has what an error at input j does to the weights of the inputs behind it
    lower = jnp.linalg.cholesky(gram)
    inverse = jax.scipy.linalg.cho_solve((lower, True), jnp.eye(len(gram)))
    upper = jnp.linalg.cholesky(inverse, upper=True)
    place = jnp.arange(size)

    def block(index: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        weights, kept = carry
        start = index * size
        mine, stood = (
            jax.lax.dynamic_slice_in_dim(each, start, size) for each in (weights, standing)
        )
        rows = jax.lax.dynamic_slice_in_dim(upper, start, size)
        inside = jax.lax.dynamic_slice_in_dim(rows, start, size, axis=1)
        # The matrix' count, divided among blocks by their share of its inputs
        before, after = (
            _share(keep, jnp.minimum(at, inputs), inputs) for at in (start, start + size)
        )
        scores = jnp.square(mine / jnp.diagonal(inside)[:, None])
        chosen = masks.top_k(
            {"": scores[None]}, {"": stood[None]}, {"": (after - before)[None]}, "layer"
        )[""][0]

        def one(row: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            mine, errors = carry
            stays = jnp.where(chosen[row], mine[row], 0.0)
            error = (mine[row] - stays) / inside[row, row]
            behind = jnp.where(place > row, inside[row], 0.0)
            mine = (mine - jnp.outer(behind, error)).at[row].set(stays)
            return mine, errors.at[row].set(error)

        mine, errors = jax.lax.fori_loop(0, size, one, (mine, jnp.zeros_like(mine)))
        # What the whole block does to all that comes behind it, in one product
        later = jnp.where(jnp.arange(len(gram))[None] >= start + size, rows, 0.0)
        weights = jax.lax.dynamic_update_slice_in_dim(weights, mine, start, 0)
        weights = weights - jnp.matmul(later.T, errors, precision=jax.lax.Precision.HIGHEST)
        return weights, jax.lax.dynamic_update_slice_in_dim(kept, chosen, start, 0)

    start = weights, jnp.zeros_like(standing)
    weights, kept = jax.lax.fori_loop(0, blocks, block, start)
    kept = kept[:inputs]
    return kept, jnp.where(kept, weights[:inputs], 0.0)


def _share(keep: Int[Array, ""], at: Int[Array, ""] | int, inputs: int) -> Int[Array, ""]:
    """The part of a count that belongs to the inputs before `at`, without an overflow."""
    return keep // inputs * at + keep % inputs * at // inputs
