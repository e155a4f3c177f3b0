"""Attention heads and feed-forward units that do nothing, or only add a constant. Pure numpy.

Without its rows of an output kernel a unit does nothing. Without its columns of `value` a head
attends to its value bias alone, and softmax weights sum to 1; without its column of `intermediate`
a feed-forward unit gives gelu(bias): either adds the same vector at every position, which the bias
of the output takes over. Attention dropout would rescale a head's constant in training; without
dropout nothing changes. A head without query or key is not empty: it averages values.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import erf

from alignreg_jax.models.architecture import XlmrConfig
from alignreg_jax.models.slicing import Units
from alignreg_jax.pruning.units import UNITS


class Folded(NamedTuple):
    """Parameters whose empty units can be taken out.

    `kept` are the other units; `needed` counts by kind those whose constant was not zero.
    """

    params: dict[str, Any]
    kept: Units
    needed: dict[str, int]


def fold(params: Mapping[str, Any], config: XlmrConfig) -> Folded:
    """Add what empty units add to the biases of the outputs, in float64, and empty their rows.

    Args:
        params: with stacked encoder parameters, of any float type, which stays.
        config: their architecture.
    """
    if not config.stacked:
        raise ValueError("only stacked layers can be folded")
    encoder = params["encoder"]
    attention = encoder["attention"]
    heads = config.layers[0].heads
    found = {
        "heads": _part(attention["value"], attention["output"], heads, np.asarray),
        "ffn": _part(encoder["intermediate"], encoder["output"], config.layers[0].ffn, gelu),
    }
    new = {
        **encoder,
        "attention": {**attention, "output": found["heads"].output},
        "output": found["ffn"].output,
    }
    return Folded(
        {**params, "encoder": new},
        {kind: found[kind].kept for kind in UNITS},
        {kind: found[kind].needed for kind in UNITS},
    )


def gelu(inputs: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """GELU (Hendrycks and Gimpel 2016), exact."""
    return inputs * 0.5 * (1 + erf(inputs / np.sqrt(2)))


class _Part(NamedTuple):
    """Of one kind of units: the new output, which are kept, how many constants were not zero."""

    output: dict[str, Any]
    kept: np.ndarray
    needed: int


def _part(inner: Mapping[str, Any], output: Mapping[str, Any], units: int, act: Any) -> _Part:
    """The units between two dense layers, of which each has as many columns and rows."""
    columns, rows = np.asarray(inner["kernel"]), np.array(output["kernel"])
    biases, out = np.asarray(inner["bias"]), np.array(output["bias"])
    layers, hidden, width = columns.shape
    size = width // units if units else 0
    by_unit = rows.reshape(layers, units, size, hidden)  # a view: emptied below
    columns = columns.reshape(layers, hidden, units, size)
    silent = np.asarray(~by_unit.any(axis=(2, 3)))
    constant = np.asarray(~columns.any(axis=(1, 3)) & ~silent)
    needed = 0
    for layer in range(layers):
        chosen = constant[layer]
        value = act(biases[layer].reshape(units, size)[chosen].astype(np.float64))
        added = np.einsum("us,ush->uh", value, by_unit[layer, chosen].astype(np.float64))
        needed += int(np.count_nonzero(added.any(axis=1)))
        out[layer] = out[layer] + added.sum(axis=0)
        by_unit[layer, chosen] = 0
    return _Part({**output, "kernel": rows, "bias": out}, ~(silent | constant), needed)
