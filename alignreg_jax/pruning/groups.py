"""Cuts inside small groups of a matrix: the inputs of each output, and four neighbouring inputs."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import Kernels, Masks, named

GROUP = 4
"""Neighbouring inputs of an output that a sparse matrix unit multiplies together (n:4)."""


def check(kernels: Mapping[str, Any]) -> None:
    """Check that every matrix divides into groups of four inputs; their shapes are enough.

    Raises:
        UserError: one does not.
    """
    for name in named(kernels):
        inputs = kernels[name].shape[1]
        if inputs % GROUP:
            raise UserError(
                f"pruning.scope={masks.NEIGHBOURS}: {name} has {inputs} inputs, which do not"
                f" divide into groups of {GROUP}"
            )


def top_k(scores: Kernels, standing: Masks, keep: masks.Keep, scope: masks.Scope) -> Masks:
    """As `masks.top_k`, for all scopes; those of small groups are cut here.

    "output": each output keeps its highest inputs, as many as the others do (Wanda compares so: Sun
    et al. 2024); what is left over of a matrix' count goes to its first outputs, one each.
    "n:4": of four neighbouring inputs of each output as many stay. They are neighbours along what
    a product sums over, as sparse tensor cores want it. `keep` has multiples of a quarter of a
    matrix (`masks.keep_counts`).
    """
    if scope == "output":
        return _by_output(scores, standing, keep)
    if scope == masks.NEIGHBOURS:
        check(scores)
        return {
            name: _of_four(
                masks.ordered(scores[name], standing[name]),
                jnp.asarray(keep[name]) // (standing[name][0].size // GROUP),
            )
            & standing[name]
            for name in named(scores)
        }
    return masks.top_k(scores, standing, keep, scope)


def _by_output(scores: Kernels, standing: Masks, keep: masks.Keep) -> Masks:
    """Every output as a matrix of one row."""
    counts = {}
    for name in named(scores):
        layers, _, outputs = scores[name].shape
        total = jnp.broadcast_to(jnp.asarray(keep[name]), (layers,))[:, None]
        each = total // outputs + (jnp.arange(outputs)[None] < total % outputs)
        counts[name] = each.reshape(-1)

    def apart(kernel: Array) -> Array:
        return jnp.swapaxes(kernel, 1, 2).reshape(-1, 1, kernel.shape[1])

    rows, were = ({name: apart(tree[name]) for name in scores} for tree in (scores, standing))
    kept = masks.top_k(rows, were, counts, "layer")
    found = {}
    for name in named(scores):
        layers, inputs, outputs = scores[name].shape
        found[name] = jnp.swapaxes(kept[name].reshape(layers, outputs, inputs), 1, 2)
    return found


def _of_four(
    keys: UInt32[Array, "layers inputs outputs"],
    keep: Int[Array, " layers"],
) -> Bool[Array, "layers inputs outputs"]:
    """The `keep` largest of four neighbouring inputs; of equal ones the first."""
    layers, inputs, outputs = keys.shape
    groups = keys.reshape(layers, inputs // GROUP, GROUP, outputs)
    place = jnp.arange(GROUP)[None, None, :, None]
    rank = jnp.zeros(groups.shape, jnp.int32)
    for other in range(GROUP):
        theirs = groups[:, :, other : other + 1]
        rank += (theirs > groups) | ((theirs == groups) & (other < place))
    return (rank < keep[:, None, None, None]).reshape(keys.shape)
