"""Units of activations that go far beyond all others, found in texts.

A feed-forward unit or two of such encoders is up to ten times beyond the next, mostly on <s> and
</s>, to which attention goes that has nowhere to go. One scale for the whole activation then leaves
a few steps for all others. Such units are divided down to the size of the others and their weights
multiplied, or what goes beyond the limit is computed apart, in float32 (`products.Form`).
"""

import numpy as np

from alignreg_jax.compress.onnx.activations import Largest
from alignreg_jax.compress.onnx.products import Outlying

FEW, MANY = (8, 3.0), (16, 1.5)
"""Units of an activation, and how many times the limit without them the largest value must be."""


def beyond(found: Largest, units: int, factor: float) -> dict[str, Outlying]:
    """Find the units that go far beyond all others of their activation.

    Args:
        found: what `largest` measured.
        units: so many of an activation at most.
        factor: the largest value is at least so many times the limit, that of the next unit.

    Returns:
        By name of the activation; without those that have no such units.
    """
    chosen = {name: _beyond(values, units, factor) for name, values in found.items()}
    return {name: each for name, each in chosen.items() if each is not None}


def _beyond(largest: np.ndarray, units: int, factor: float) -> Outlying | None:
    if len(largest) <= units:
        return None
    order = np.argsort(-largest, kind="stable")
    limit = float(largest[order[units]])
    if not 0 < factor * limit < largest[order[0]]:
        return None
    chosen = np.sort(order[:units])
    return Outlying(chosen, largest[chosen], limit)
