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
    inputs, outputs = kernel.shape
    dead = jnp.diagonal(gram) == 0  # an input that is always 0: its weights do nothing
    gram = gram + jnp.diag(jnp.where(dead, 1.0, 0.0))
    gram = gram + DAMPING * jnp.mean(jnp.diagonal(gram)) * jnp.eye(inputs)
    # Row j of U has what an error at input j does to the weights of the inputs behind it
    lower = jnp.linalg.cholesky(gram)
    inverse = jax.scipy.linalg.cho_solve((lower, True), jnp.eye(inputs))
    upper = jnp.linalg.cholesky(inverse, upper=True)
    weights = jnp.where(dead[:, None], 0.0, kernel.astype(jnp.float32))
    size = min(BLOCK, inputs)
    blocks = -(-inputs // size)
    place = jnp.arange(inputs)

    def block(index: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        weights, kept = carry
        inside = (place >= index * size) & (place < (index + 1) * size)
        # The matrix' count, divided among blocks by their share of its inputs
        end = jnp.minimum((index + 1) * size, inputs)
        before, after = (_share(keep, at, inputs) for at in (index * size, end))
        scores = jnp.square(weights / jnp.diagonal(upper)[:, None])
        mine = standing & inside[:, None]
        chosen = masks.top_k(
            {"": scores[None]}, {"": mine[None]}, {"": (after - before)[None]}, "layer"
        )[""][0]
        kept = kept | chosen

        def one(row: Array, weights: Array) -> Array:
            stays = jnp.where(kept[row], weights[row], 0.0)
            error = (weights[row] - stays) / upper[row, row]
            behind = jnp.where(place > row, upper[row], 0.0)
            return (weights - jnp.outer(behind, error)).at[row].set(stays)

        return jax.lax.fori_loop(index * size, end, one, weights), kept

    weights, kept = jax.lax.fori_loop(
        0, blocks, block, (weights, jnp.zeros((inputs, outputs), bool))
    )
    return kept, jnp.where(kept, weights, 0.0)


def _share(keep: Int[Array, ""], at: Int[Array, ""] | int, inputs: int) -> Int[Array, ""]:
    """The part of a count that belongs to the inputs before `at`, without an overflow."""
    return keep // inputs * at + keep % inputs * at // inputs
