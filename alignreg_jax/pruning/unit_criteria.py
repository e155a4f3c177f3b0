"""What a head or a feed-forward unit is worth: scores of units, and the cut that goes by them."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from alignreg_jax.pruning import masks, unit_cuts, units
from alignreg_jax.pruning.kernels import Kernels, Masks
from alignreg_jax.pruning.method import Signals, State
from alignreg_jax.pruning.units import UNITS, Units


class Criterion(NamedTuple):
    """(kernels, signals, heads, key) -> a score for every unit, and the signals it needs."""

    score: Callable[[Kernels, Signals, int, Key[Array, ""]], Units]
    needs: frozenset[str] = frozenset()


def magnitude(kernels: Kernels, heads: int) -> Units:
    """Score a unit by the L2 norm of the rows that it owns: a control, worse than chance at times.

    Args:
        kernels: all six.
        heads: in a layer.
    """
    shapes = units.shapes(kernels, heads)
    rows = {"heads": kernels["attention/output"], "ffn": kernels["output"]}
    return {
        kind: jnp.sqrt(
            jnp.sum(jnp.square(rows[kind].astype(jnp.float32)).reshape(*shapes[kind], -1), axis=-1)
        )
        for kind in UNITS
    }


def random(kernels: Kernels, heads: int, key: Key[Array, ""]) -> Units:
    """Score every unit with an independent uniform number."""
    shapes = units.shapes(kernels, heads)
    return {
        kind: jax.random.uniform(jax.random.fold_in(key, place), shapes[kind])
        for place, kind in enumerate(UNITS)
    }


CRITERIA: dict[str, Criterion] = {
    # Michel et al. 2019: what the loss changes without the unit, to first order
    "taylor-units": Criterion(
        lambda kernels, signals, heads, key: signals["units_abs"], frozenset({"units_abs"})
    ),
    # Kwon et al. 2022: the diagonal of the empirical Fisher matrix of the gates
    "fisher-units": Criterion(
        lambda kernels, signals, heads, key: signals["units_squared"], frozenset({"units_squared"})
    ),
    "magnitude-units": Criterion(lambda kernels, signals, heads, key: magnitude(kernels, heads)),
    "random-units": Criterion(lambda kernels, signals, heads, key: random(kernels, heads, key)),
}
"""Criteria for heads and feed-forward units, which the scopes of units cut."""


@cache
def make_cut(
    score: Callable[[Kernels, Signals, int, Key[Array, ""]], Units],
    scope: unit_cuts.UnitScope,
    heads: int,
) -> Callable[..., tuple[Masks, State]]:
    """Make the cut of a method by a criterion of this table."""

    def cut(
        kernels: Kernels,
        masks_: Masks,
        state: State,
        signals: Signals,
        keep: masks.Keep,
        key: Key[Array, ""],
    ) -> tuple[Masks, State]:
        scores = score(kernels, signals, heads, key)
        return unit_cuts.cut(scores, masks_, keep, scope, units.costs(kernels, heads)), state

    return cut
