"""Units, the rows and columns that go together: attention heads and feed-forward units.

A head of a layer is its columns of query, key and value and its rows of the attention's output; a
feed-forward unit is its column of `intermediate` and its row of `output`. Zero in the rows alone is
exactly the network without the unit, biases included, so a gate of a unit acts on the rows.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from alignreg_jax.pruning.kernels import Kernels, Masks

UNITS = ("heads", "ffn")
"""In the order that decides ties."""

Units = Mapping[str, Float[Array, "layers _"]]
"""Gates or scores: `heads` `[layers, heads]` and `ffn` `[layers, units]`."""

UnitMasks = Mapping[str, Bool[Array, "layers _"]]
"""True where a unit is kept; the structure of `Units`."""

_ROWS = {"attention/output": "heads", "output": "ffn"}
_COLUMNS = {
    "attention/query": "heads",
    "attention/key": "heads",
    "attention/value": "heads",
    "intermediate": "ffn",
}


def shapes(kernels: Mapping[str, Any], heads: int) -> dict[str, tuple[int, int]]:
    """Shape of what belongs to each kind of unit: `[layers, units]`.

    Raises:
        ValueError: the heads do not divide the columns of the query kernel.
    """
    layers, _, columns = kernels["attention/query"].shape
    if columns % heads:
        raise ValueError(f"{heads} heads do not divide {columns} columns")
    return {"heads": (layers, heads), "ffn": (layers, kernels["output"].shape[1])}


def costs(kernels: Mapping[str, Any], heads: int) -> dict[str, int]:
    """Weights that one unit of each kind has in all six kernels.

    In XLM-R base 4 * 64 * 768 and 2 * 768: a head is as large as 128 feed-forward units.
    """
    _, hidden, columns = kernels["attention/query"].shape
    return {"heads": 4 * hidden * (columns // heads), "ffn": 2 * hidden}


def gate(kernels: Kernels, units: Units) -> Kernels:
    """Multiply every unit by its gate, which is exact: 0 removes it, 1 changes no bit.

    Args:
        kernels: all six.
        units: a gate for every unit.

    Returns:
        The kernels with gates on the rows of both output kernels; the other four as they were.
    """
    return {
        name: kernel * _along(units[_ROWS[name]], kernel.shape[1])[:, :, None]
        if name in _ROWS
        else kernel
        for name, kernel in kernels.items()
    }


def expand(units: UnitMasks, kernels: Mapping[str, Any]) -> Masks:
    """Masks of weights for masks of units, so that all that knows masks knows units.

    Args:
        units: which are kept.
        kernels: only their shapes matter.

    Returns:
        Masks of all six kernels: a pruned unit has neither its rows nor its columns.
    """
    rows = {
        name: jnp.broadcast_to(
            _along(units[kind], kernels[name].shape[1])[:, :, None], kernels[name].shape
        )
        for name, kind in _ROWS.items()
    }
    columns = {
        name: jnp.broadcast_to(
            _along(units[kind], kernels[name].shape[2])[:, None, :], kernels[name].shape
        )
        for name, kind in _COLUMNS.items()
    }
    return {name: (rows | columns)[name] for name in kernels}


def importance(kernels: Kernels, gradients: Kernels, heads: int) -> dict[str, Array]:
    """Derivatives of the loss in every unit's gate at 1: the block sums of weight * gradient.

    First order and Fisher scores are sums over batches of their absolute values and squares
    (Michel et al. 2019; Kwon et al. 2022).

    Args:
        kernels: all six, as the network uses them.
        gradients: of the loss in them.
        heads: in a layer.

    Returns:
        As `Units`, float32.
    """
    layers = kernels["output"].shape[0]
    found = {}
    for name, kind in _ROWS.items():
        products = jnp.sum(kernels[name] * gradients[name], axis=2, dtype=jnp.float32)
        count = heads if kind == "heads" else products.shape[1]
        found[kind] = jnp.sum(products.reshape(layers, count, -1), axis=2)
    return found


def _along(units: Shaped[Array, "layers units"], size: int) -> Shaped[Array, "layers size"]:
    """A value for every row or column, from one for every unit."""
    return jnp.repeat(units, size // units.shape[1], axis=1)
