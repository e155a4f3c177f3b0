"""What the weights look like after a phase: norms, what remains, how aligned they still are."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util
from jaxtyping import Array, Float

from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks, regularizers
from alignreg_jax.pruning.kernels import KERNELS, Kernels, Masks
from alignreg_jax.support import processes


def measure(
    params: Mapping[str, Any], mask: Masks, reference: Kernels, absent: int = 0
) -> dict[str, Any]:
    """Weight statistics of the served parameters, on the host.

    Args:
        params: nested parameters with pruned weights at zero.
        mask: what is kept.
        reference: the kernels the regularizers compare with.
        absent: parameters of the whole model that are not in `params`.

    Returns:
        `remaining` (kept / prunable), `nonzero` (kept and not zero / prunable), `remaining_total`
        (all parameters but the pruned ones / all), and per kernel a list over layers of
        `weight_norms` (Frobenius; the paper's Fig. 7), `remaining_by_layer`,
        `cosine_to_reference` (Eq. 2); `zero_columns`, units without a weight. Neither of the last
        two for layers of uneven sizes, of which nothing is pruned.
    """
    kernels, _ = prunable.split(params)
    if not kernels:
        return _uneven(params["encoder"])
    counts = masks.statistics(kernels, mask)
    norms, similarity, empty = processes.fetch(_statistics(kernels, reference))
    prunable_count = counts["prunable"]
    total = absent + sum(leaf.size for leaf in jax.tree.leaves(params))
    sizes = prunable.sizes(kernels)
    return {
        "remaining": counts["kept"] / prunable_count,
        "nonzero": counts["nonzero"] / prunable_count,
        "remaining_total": (total - prunable_count + counts["kept"]) / total,
        "weight_norms": {name: norms[name].tolist() for name in KERNELS},
        "remaining_by_layer": {
            name: [kept / sizes[name][1] for kept in counts["kept_by_layer"][name]]
            for name in KERNELS
        },
        "cosine_to_reference": {name: similarity[name].tolist() for name in KERNELS},
        "zero_columns": int(empty),
    }


def _uneven(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """The same of layers with leaves of their own."""
    numbers = sorted(encoder, key=int)
    layers: list[Any] = [traverse_util.flatten_dict(encoder[each], sep="/") for each in numbers]
    matrices = {name: [layer[f"{name}/kernel"] for layer in layers] for name in KERNELS}
    norms, nonzero = processes.fetch(_by_matrix(matrices))
    total = sum(matrix.size for listed in matrices.values() for matrix in listed)
    return {
        "remaining": 1.0,
        "nonzero": sum(int(count) for count in jax.tree.leaves(nonzero)) / max(total, 1),
        "remaining_total": 1.0,
        "weight_norms": {name: [float(norm) for norm in norms[name]] for name in KERNELS},
        "remaining_by_layer": {name: [1.0] * len(layers) for name in KERNELS},
    }


@jax.jit
def _by_matrix(matrices: Any) -> tuple[Any, Any]:
    """Frobenius norm and entries that are not zero, of every matrix."""
    norms = jax.tree.map(lambda matrix: jnp.sqrt(jnp.sum(jnp.square(matrix))), matrices)
    return norms, jax.tree.map(jnp.count_nonzero, matrices)


@jax.jit
def _statistics(
    kernels: Kernels, reference: Kernels
) -> tuple[dict[str, Float[Array, " layers"]], dict[str, Float[Array, " layers"]], Array]:
    norms = {
        name: jnp.sqrt(jnp.sum(jnp.square(kernels[name].astype(jnp.float32)), axis=(1, 2)))
        for name in KERNELS
    }
    similarity = regularizers.cosine_similarity(kernels, reference)
    return norms, similarity, regularizers.zero_columns(kernels)
