"""Cuts of whole units: scores of heads and feed-forward units to masks of weights.

Three scopes. "units-even": every layer keeps the same share of its heads and of its feed-forward
units, so that all layers keep one shape. "ffn": every layer keeps all heads and the same number of
feed-forward units, which is what unmodified transformers can load. "units": one order over layers
and kinds by score for cost, as far as a budget of weights reaches; layers become uneven. A cut
nests in those before it, and no layer loses its last head or its last feed-forward unit.
"""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import masks, units
from alignreg_jax.pruning.kernels import KERNELS, Masks
from alignreg_jax.pruning.units import UNITS, UnitMasks, Units
from alignreg_jax.support import processes

UnitScope = Literal["units-even", "units", "ffn", "layers"]
CUTTING: tuple[UnitScope, ...] = ("units-even", "units", "ffn")
SCOPES: tuple[UnitScope, ...] = (*CUTTING, "layers")
"""The last is of models that serve several sizes (elastic.py): nothing is cut."""


def keep_counts(kernels: Mapping[str, Any], heads: int, remaining: float, scope: UnitScope) -> Any:
    """Say on the host how much a cut leaves.

    Args:
        kernels: of the encoder; only their shapes matter.
        heads: in a layer.
        remaining: share of the original weights to keep, in [0, 1], always cumulative.
        scope: of the cut.

    Returns:
        "units-even" and "ffn": units of each kind that every layer keeps, at least one. "units":
        the budget in weights, int32.

    Raises:
        UserError: the budget is less than a head and a feed-forward unit in each layer, or with
            "ffn" than all heads and such a unit.
    """
    shapes, costs = units.shapes(kernels, heads), units.costs(kernels, heads)
    if scope == "units-even":
        return {kind: np.int32(max(1, round(shapes[kind][1] * remaining))) for kind in UNITS}
    total = sum(int(np.prod(shapes[kind])) * costs[kind] for kind in UNITS)
    budget, (layers, count) = round(total * remaining), shapes["heads"]
    stays = layers * costs["heads"] * (count if scope == "ffn" else 1)
    least = stays + layers * costs["ffn"]
    if budget < least:
        what = "all heads" if scope == "ffn" else "a head"
        raise UserError(
            f"pruning.scope={scope}: {remaining:.2%} of the weights are {budget:,}; {what} and a "
            f"feed-forward unit in every layer have {least:,} ({least / total:.2%})"
        )
    if scope == "ffn":
        left = round((budget - stays) / (layers * costs["ffn"]))
        return {"heads": np.int32(count), "ffn": np.int32(left)}
    return np.int32(budget)


def cut(scores: Units, masks_: Masks, keep: Any, scope: UnitScope, costs: dict[str, int]) -> Masks:
    """Keep the units with the highest scores, of those that still stand.

    Args:
        scores: of all units, for "units" comparable between kinds once divided by their costs.
        masks_: which weights stand.
        keep: of `keep_counts`.
        scope: of the cut.
        costs: weights of one unit of each kind.

    Returns:
        Masks of weights, nested in `masks_`.
    """
    standing = kept(masks_, scores)
    ranked = {kind: jnp.where(standing[kind], scores[kind], -jnp.inf) for kind in UNITS}
    if scope == "units":
        chosen: UnitMasks = within(ranked, keep, costs)
    else:
        chosen = {kind: ranks(ranked[kind]) < keep[kind] for kind in UNITS}
    new = units.expand({kind: chosen[kind] & standing[kind] for kind in UNITS}, masks_)
    return {name: masks_[name] & new[name] for name in KERNELS}


def within(scores: Units, budget: masks.Keep, costs: Mapping[str, int]) -> UnitMasks:
    """Keep units in the order of score / cost, as long as all of them fit into a budget.

    The best head and the best feed-forward unit of each layer stand first in the order. The first
    unit that does not fit ends it, though a smaller one behind it might: otherwise a smaller budget
    could keep what a larger one does not. Ties: heads first, then the lower layer, then the lower
    index.

    Args:
        scores: minus infinity for a unit that is gone.
        budget: in weights, int32.
        costs: weights of one unit of each kind.
    """
    reached = spent(scores, costs)
    return {kind: reached[kind] <= budget for kind in UNITS}


def spent(scores: Units, costs: Mapping[str, int]) -> dict[str, Int[Array, "layers _"]]:
    """Count for every unit the weights of it and of those before it in the order of `within`.

    Arguments as there.
    """
    best = jnp.concatenate([(ranks(scores[kind]) == 0).ravel() for kind in UNITS])
    rates = jnp.concatenate([(scores[kind] / costs[kind]).ravel() for kind in UNITS])
    sizes = np.concatenate([np.full(scores[kind].size, costs[kind], np.int32) for kind in UNITS])
    order = jnp.lexsort((-rates, ~best))  # by the last key, then by the first; stable
    total = jnp.zeros(rates.shape, jnp.int32).at[order].set(jnp.cumsum(jnp.asarray(sizes)[order]))
    parts = jnp.split(total, [scores["heads"].size])
    return {kind: part.reshape(scores[kind].shape) for kind, part in zip(UNITS, parts, strict=True)}


def kept(masks_: Masks, like: Mapping[str, Any]) -> UnitMasks:
    """Tell which units stand: those with a weight left in the rows that they own.

    Args:
        masks_: of weights.
        like: anything of the shape of `Units`.
    """
    rows = {"heads": masks_["attention/output"], "ffn": masks_["output"]}
    return {kind: jnp.any(rows[kind].reshape(*like[kind].shape, -1), axis=-1) for kind in UNITS}


def by_layer(masks_: Masks, heads: int) -> dict[str, list[int]]:
    """Count on the host how many units of each kind stand in every layer.

    Args:
        masks_: of weights.
        heads: that a layer had.
    """
    standing = processes.fetch(kept(masks_, _places(masks_, heads)))
    return {f"{kind}_by_layer": standing[kind].sum(axis=1).tolist() for kind in UNITS}


def _places(masks_: Masks, heads: int) -> dict[str, Any]:
    shapes = units.shapes(masks_, heads)
    return {kind: jax.ShapeDtypeStruct(shapes[kind], bool) for kind in UNITS}


def ranks(scores: Float[Array, "layers units"]) -> Int[Array, "layers units"]:
    """Place of each unit in its layer, the highest score first; ties to the lower index."""
    order = jnp.argsort(-scores, axis=1, stable=True)
    return jnp.argsort(order, axis=1)
