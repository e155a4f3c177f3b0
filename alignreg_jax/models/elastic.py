"""Rows of one batch served at sizes of their own: which units are present for which row.

A threshold `tau` says of every unit the smallest size at which it is present, so smaller networks
are nested in larger ones, and a row's network is a comparison of two numbers. The masks of a batch
are made of `tau` and the rows' sizes inside the layer; none is stored.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from alignreg_jax.models.architecture import XlmrConfig

Tau = Mapping[str, Float[Array | np.ndarray, "layers ..."]]
"""Smallest sizes, in [0, 1]: `heads` `[layers, heads]`, `ffn` `[layers, units]`, and `layers`
`[layers]` where whole layers can be left out."""

Elastic = tuple[Tau, Float[Array | np.ndarray, " rows"]]
"""Thresholds, and the size of every row."""

LayerTau = Mapping[str, Float[Array, "..."]]
"""Thresholds of one layer: `Tau` without its first axis."""


def present(tau: LayerTau, sizes: Float[Array, " batch"]) -> dict[str, Bool[Array, "batch 1 ..."]]:
    """Whether each unit of a layer is there: for every row, at all of its positions alike."""
    return {
        kind: leaf[None, None] <= sizes.reshape(-1, *[1] * (leaf.ndim + 1))
        for kind, leaf in tau.items()
    }


def gate(
    values: Float[Array, "batch length units *size"], mask: Bool[Array, "batch 1 units"]
) -> Float[Array, "batch length units *size"]:
    """Multiply what units give by 1 where they are there for a row, and by 0 where not.

    Zero before the output kernel is exactly the layer without the unit, biases included.
    """
    factors = mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim))
    return values * factors.astype(values.dtype)


def as_arrays(elastic: Elastic, config: XlmrConfig, rows: int) -> Elastic:
    """Both parts as float32 arrays of the encoder's shapes.

    A threshold and a size that are equal in float64 stay equal, so a unit is present here exactly
    where it is on the host (pruning/elastic.py).

    Args:
        elastic: thresholds and sizes, of any floating dtype.
        config: the architecture that they should fit.
        rows: in the batch.

    Raises:
        ValueError: layers of uneven sizes, a kind of unit that is missing or unknown, or a shape
            that is not the architecture's or the batch's.
    """
    tau, sizes = elastic
    if not config.stacked:
        raise ValueError("sizes of rows need layers of equal sizes")
    layer, layers = config.layers[0], config.num_layers
    wanted = {"heads": (layers, layer.heads), "ffn": (layers, layer.ffn), "layers": (layers,)}
    if not {"heads", "ffn"} <= set(tau) <= set(wanted):
        raise ValueError(
            f"thresholds are of {', '.join(sorted(tau))}; there are heads, ffn and, if layers can "
            "be left out, layers"
        )
    for kind, leaf in tau.items():
        if leaf.shape != wanted[kind]:
            raise ValueError(
                f"thresholds of {kind} are {list(leaf.shape)}, the encoder has {list(wanted[kind])}"
            )
    if sizes.shape != (rows,):
        raise ValueError(f"sizes are {list(sizes.shape)}, the batch has {rows} rows")
    found = {kind: jnp.asarray(leaf, jnp.float32) for kind, leaf in tau.items()}
    return found, jnp.asarray(sizes, jnp.float32)
