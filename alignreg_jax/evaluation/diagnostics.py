"""What the weights look like after a phase: norms, what remains, how aligned they still are."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
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
        `cosine_to_reference` (Eq. 2); `zero_columns`, units without a weight.
    """
    kernels, _ = prunable.split(params)
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
