"""One training, served at every size: when each unit is there, and the sizes that rows train at.

A threshold `tau` says of every unit the smallest size at which it is present: present at size s
where tau <= s. Smaller networks are so nested in larger ones, and what is kept grows with the size.
Thresholds are made once, from scores of the fine-tuned model in the order of `unit_cuts`, and
compared in float32, on the host and on the device alike. Dynamic Sparsification (Li et al. 2022)
trains one model for all sizes; how is not published, so what follows is DynaBERT's idea (Hou et al.
2020: units sorted by importance) with every row of a batch at its own size.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Key

from alignreg_jax.models.elastic import Tau
from alignreg_jax.pruning import unit_cuts, units
from alignreg_jax.pruning.kernels import Kernels, Masks
from alignreg_jax.pruning.method import Hyper, Signals, State
from alignreg_jax.pruning.unit_cuts import UnitScope
from alignreg_jax.pruning.units import UNITS
from alignreg_jax.support import processes

Family = Literal["free", "even", "ffn"]
_FAMILIES: Mapping[UnitScope, Family] = {"units": "free", "units-even": "even", "ffn": "ffn"}

Rule = Literal["rows", "step"]
"""Who has a size of its own while a model trains: every row of a batch, or every step."""

Scores = Mapping[str, Float[np.ndarray, "layers _"]]
"""Importance of every unit: `heads` `[layers, heads]` and `ffn` `[layers, units]`."""

Score = Callable[[Kernels, Signals, int, Key[Array, ""]], Any]


LEAST_DEPTH = 0.5
"""Share of the layers that are there at every size."""


# ---- Thresholds ----------------------------------------------------------------------------------


def thresholds(
    scores: Scores, costs: Mapping[str, int], family: Family
) -> dict[str, Float32[np.ndarray, "layers _"]]:
    """Order units and say from which size on each is present.

    Ties go to heads, then to the lower layer, then to the lower index.

    Args:
        scores: the larger, the longer a unit stays. Over layers and kinds only squared gradients
            (Fisher scores, Kwon et al. 2022) compare: sums of absolute values favour many small
            units, and nearly all heads go.
        costs: weights that one unit of each kind has (`units.costs`).
        family: "free" is one order by score / cost, in which the best head and the best
            feed-forward unit of every layer stand first; a size is the share of the weights that
            it keeps at most. "even" ranks within each layer and kind: size s keeps the best
            floor(s * n) of n, the same number in every layer. "ffn" keeps all heads, and in every
            layer the same number of feed-forward units, so that size s is that share of the
            weights; below the share of the heads there are none.

    Returns:
        Thresholds up to 1, of the shapes of the scores; 0 for a head that always stays.

    Raises:
        ValueError: a kind of unit is missing, a score is NaN, or the family is unknown.
    """
    if set(scores) != set(UNITS):
        raise ValueError(f"scores are of {', '.join(sorted(scores))}; there are heads and ffn")
    for kind, leaf in scores.items():
        if np.isnan(leaf).any():
            raise ValueError(f"scores of {kind} are NaN")
    wholes: dict[str, Any]
    placed = {kind: jnp.asarray(leaf, jnp.float32) for kind, leaf in scores.items()}
    if family == "free":
        reached = unit_cuts.spent(placed, costs)
        whole = sum(leaf.size * costs[kind] for kind, leaf in scores.items())
        wholes = dict.fromkeys(UNITS, whole)
    elif family == "even":
        reached = {kind: unit_cuts.ranks(leaf) + 1 for kind, leaf in placed.items()}
        wholes = {kind: leaf.shape[1] for kind, leaf in scores.items()}
    elif family == "ffn":
        ranks = {kind: unit_cuts.ranks(leaf) + 1 for kind, leaf in placed.items()}
        heads = scores["heads"].shape[1] * costs["heads"]
        wholes = dict.fromkeys(UNITS, heads + scores["ffn"].shape[1] * costs["ffn"])
        reached = {"heads": 0 * ranks["heads"], "ffn": heads + ranks["ffn"] * costs["ffn"]}
    else:
        raise ValueError(f"family {family!r} is none of {', '.join(_FAMILIES.values())}")
    shares = {kind: np.asarray(reached[kind], np.float64) / wholes[kind] for kind in UNITS}
    return {kind: shares[kind].astype(np.float32) for kind in UNITS}


def layer_thresholds(layers: int) -> Float32[np.ndarray, " layers"]:
    """Say from which size on each layer is present, where layers can be left out, up to half.

    Evenly spaced and nested: first the last of every four goes, then the second of every four; all
    others have threshold 0. Of twelve layers 3, 7, 11, 1, 5, 9 go, so that sizes .75 and .5 keep
    what DynaBERT keeps (layers floor(i / size); Hou et al. 2020). Size s keeps floor(s * layers)
    from 1/2 on. With thresholds of units, too, a size takes its share of both.

    Args:
        layers: of the encoder.
    """
    order = [*range(3, layers, 4), *range(1, layers, 4)]
    tau = np.zeros(layers)
    tau[order] = (layers - np.arange(len(order))) / layers
    return tau.astype(np.float32)


# ---- What a size keeps ---------------------------------------------------------------------------


def units_at(tau: Tau, size: float) -> dict[str, Bool[np.ndarray, "layers ..."]]:
    """Say which units, and layers, are present at a size, as `models.slicing.sliced` takes them.

    Raises:
        ValueError: the size is not between 0 and 1.
    """
    if not 0 <= size <= 1:
        raise ValueError(f"size {size} is not between 0 and 1")
    return {kind: np.asarray(leaf, np.float32) <= np.float32(size) for kind, leaf in tau.items()}


def masks_at(tau: Tau, size: float, kernels: Mapping[str, Any]) -> Masks:
    """Masks of the weights that a size keeps; of `kernels` only the shapes matter."""
    kept = units_at(tau, size)
    layers = kept.pop("layers", np.ones(len(kept["heads"]), bool))
    present = {kind: jnp.asarray(found & layers[:, None]) for kind, found in kept.items()}
    return units.expand(present, kernels)


def cost_at(tau: Tau, costs: Mapping[str, int], size: float) -> int:
    """Count the weights that a size keeps; units of a layer that is left out are not kept."""
    kept = units_at(tau, size)
    layers = kept.pop("layers", np.ones(len(kept["heads"]), bool))
    return sum(costs[kind] * int(np.count_nonzero(kept[kind][layers])) for kind in UNITS)


# ---- Sizes of rows -------------------------------------------------------------------------------


def row_sizes(
    key: Key[Array, ""], rows: int, smallest: Float[Array, ""] | float
) -> Float32[Array, " rows"]:
    """Draw sizes by position: a quarter at 1, a quarter at the smallest, the rest uniform between.

    The sandwich rule (Yu and Huang 2019: full, smallest and random widths in every step) at the
    price of one step: rows are shuffled, so their positions choose them at random.

    Args:
        key: of the step.
        rows: in the batch; quarters are rounded down.
        smallest: size that is trained, in [0, 1].
    """
    quarter = rows // 4
    drawn = jax.random.uniform(key, (rows,), jnp.float32, smallest, 1.0)
    place = jnp.arange(rows)
    return jnp.where(place < quarter, 1.0, jnp.where(place < 2 * quarter, smallest, drawn))


def step_sizes(
    key: Key[Array, ""], rows: int, smallest: Float[Array, ""] | float
) -> Float32[Array, " rows"]:
    """Draw one size for all rows of a step, uniform between the smallest and 1.

    Arguments as of `row_sizes`.
    """
    drawn = jax.random.uniform(key, (), jnp.float32, smallest, 1.0)
    return jnp.full((rows,), drawn)


def _by_rows(state: State, hyper: Hyper, key: Key[Array, ""], rows: int) -> tuple[Tau, Any]:
    return state["tau"], row_sizes(key, rows, hyper.smallest_size)


def _by_step(state: State, hyper: Hyper, key: Key[Array, ""], rows: int) -> tuple[Tau, Any]:
    return state["tau"], step_sizes(key, rows, hyper.smallest_size)


# ---- As a method ---------------------------------------------------------------------------------


@cache
def parts(score: Score, scope: UnitScope, heads: int, rule: Rule, depth: bool) -> dict[str, Any]:
    """What makes a `Method` one of all sizes: its `init`, `sizes` and `order`.

    Layers alone go in a fixed order: nothing has to be measured for it (`needs`).

    Args:
        score: (kernels, signals, heads, key) -> scores of units.
        scope: "units" orders over layers and kinds, "units-even" within each layer and kind, "ffn"
            feed-forward units within each layer, "layers" whole layers alone.
        heads: in a layer.
        rule: who has a size of its own.
        depth: whether whole layers are left out at small sizes, too.
    """
    whole = scope == "layers"
    depth = depth or whole

    def init(kernels: Kernels, key: Key[Array, ""]) -> State:
        shapes: dict[str, Any] = dict(units.shapes(kernels, heads))
        shapes |= {"layers": shapes["heads"][:1]} if depth else {}
        return {"tau": {kind: jnp.zeros(shape, jnp.float32) for kind, shape in shapes.items()}}

    def order(kernels: Kernels, signals: Signals, key: Key[Array, ""]) -> State:
        tau: dict[str, Any] = dict(init(kernels, key)["tau"])  # every unit is there at every size
        if not whole:
            scores = processes.fetch(score(kernels, signals, heads, key))
            tau = thresholds(scores, units.costs(kernels, heads), _FAMILIES[scope])
        return {"tau": tau | ({"layers": layer_thresholds(len(tau["heads"]))} if depth else {})}

    made = {"init": init, "order": order, "sizes": _by_rows if rule == "rows" else _by_step}
    return made | ({"needs": frozenset()} if whole else {})
