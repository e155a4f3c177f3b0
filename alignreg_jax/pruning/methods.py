"""The tables of criteria and regularizers, and what a method of both is.

To add a criterion, write a function in `criteria.py` and a row in `CRITERIA`; a regularizer, a row
in `REGULARIZERS` and one in `penalties.py`; a name, a row in `PRESETS` (presets.py).
"""

from collections import ChainMap
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, cast, get_args

import jax
from jaxtyping import Array, Key

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import (
    criteria,
    elastic,
    gated_kernels,
    groups,
    lamp,
    learned,
    lookahead,
    masks,
    penalties,
    sparsegpt,
    unit_criteria,
    unit_cuts,
)
from alignreg_jax.pruning.kernels import Kernels, Masks
from alignreg_jax.pruning.method import GRAMS, INPUTS, Method, Signals, Solve, State, Weights
from alignreg_jax.pruning.presets import PRESETS

__all__ = ["CRITERIA", "PRESETS", "REGULARIZERS", "Criterion", "Method", "Weights", "build"]


class Criterion(NamedTuple):
    """A row of the table: (kernels, signals, key) -> scores, and the signals it needs.

    The kernels are those the network uses: with gates folded in, pruned weights at zero. A row with
    `solve` (`Method.solve`) has no scores: its cut chooses as it goes, within each matrix.
    """

    score: Callable[[Kernels, Signals, Key[Array, ""]], Kernels] | None
    needs: frozenset[str] = frozenset()
    solve: Solve | None = None


CRITERIA: dict[str, Criterion] = {
    "magnitude": Criterion(lambda kernels, signals, key: criteria.magnitude(kernels)),
    "random": Criterion(lambda kernels, signals, key: criteria.random(kernels, key)),
    "gradient": Criterion(
        lambda kernels, signals, key: criteria.gradient(signals["grad"]), frozenset({"grad"})
    ),
    "gradient-sum-abs": Criterion(
        lambda kernels, signals, key: signals["grad_abs"], frozenset({"grad_abs"})
    ),
    "gradient-squares": Criterion(
        lambda kernels, signals, key: signals["grad_squared"], frozenset({"grad_squared"})
    ),
    "taylor": Criterion(
        lambda kernels, signals, key: criteria.saliency(kernels, signals["grad"]),
        frozenset({"grad"}),
    ),
    "wanda": Criterion(
        lambda kernels, signals, key: criteria.wanda(kernels, signals[INPUTS]), frozenset({INPUTS})
    ),
    "sparsegpt": Criterion(
        None,
        frozenset({GRAMS}),
        lambda kernels, masks_, signals, keep: sparsegpt.solve(
            kernels, masks_, signals[GRAMS], keep
        ),
    ),
    "lookahead": Criterion(lambda kernels, signals, key: lookahead.lookahead(kernels)),
    "lookahead-residual": Criterion(
        lambda kernels, signals, key: lookahead.lookahead(
            kernels, boundary="residual", layernorm=signals["layernorm"]
        ),
        frozenset({"layernorm"}),
    ),
    "lookahead-chain": Criterion(
        lambda kernels, signals, key: lookahead.lookahead(kernels, boundary="chain")
    ),
    "lamp": Criterion(lambda kernels, signals, key: lamp.lamp(kernels)),
    "gate": Criterion(lambda kernels, signals, key: signals["gates"]),
    # Of learned masks; what chooses them in every step is in learned.py
    "movement": Criterion(lambda kernels, signals, key: signals["scores"]),
    "soft-movement": Criterion(lambda kernels, signals, key: signals["scores"]),
}

EVERY_CRITERION: Mapping[str, Criterion | unit_criteria.Criterion] = ChainMap(
    cast(dict[str, Any], unit_criteria.CRITERIA), CRITERIA
)
"""Those of weights, then those of units; rows that are added to either are seen."""

SCOPES = (*get_args(masks.Scope), *unit_cuts.SCOPES)

LEARNED = ("movement", "soft-movement")
"""Criteria whose scores, and with them the masks, are learned; the second by a threshold."""

REGULARIZERS: dict[str, float] = {
    "none": 0.0,
    "cosine": 100.0,
    "cosine-layer": 100.0,
    "frobenius": 5e-4,
    "l2": 5e-4,
    "l2sp": 5e-4,
    "l0": 1.0,
    "l0-target": 1.0,
    "scores": 400.0,
}
"""Names and default weights. Frobenius' is the paper's; the cosine's is not given there, and 100 in
the paper's lambda/L form has the gradient scale of the Frobenius term (docs/errata.md). The weight
of L0 is that of its authors' code, per weight and training example; that of scores the one of soft
movement and Static Model Pruning, on a mean over weights."""


def build(
    *,
    criterion: str,
    scope: str,
    regularizer: str = "none",
    norm: str = "squared",
    reduce: str = "sum",
    signed: bool = False,
    mask_every: int = 1,
    heads: int = 0,
    any_size: elastic.Rule | None = None,
    depth: bool = False,
) -> Method:
    """Make a method from the names in a config.

    The same names give the same functions, so that what is compiled for one method serves every
    other that shares them.

    Args:
        criterion: a name in `EVERY_CRITERION`.
        scope: of `masks.Scope`, "kind" for learned masks; or for units those of `unit_cuts`.
        regularizer: a name in `REGULARIZERS`; its weight is `Hyper.regularizer_weight`.
        norm: of the Frobenius distance, "squared" or "norm".
        reduce: of the Frobenius distance over matrices, "sum" or "mean".
        signed: the cosine without the paper's absolute value.
        mask_every: steps from one choice of learned masks to the next.
        heads: in a layer, for the scopes of units.
        any_size: for a model that serves every size, who has a size of its own while it trains.
        depth: whether its small sizes leave out whole layers, too.

    Raises:
        UserError: a name that is not in its table, or names that do not go together.
    """
    _check("pruning.criterion", criterion, tuple(EVERY_CRITERION))
    _check("pruning.scope", scope, SCOPES)
    _check("regularizer.name", regularizer, tuple(REGULARIZERS))
    _check("regularizer.norm", norm, ("squared", "norm"))
    _check("regularizer.reduce", reduce, ("sum", "mean"))
    _check_units(criterion, scope, regularizer, bool(any_size))
    row, gated = EVERY_CRITERION[criterion], regularizer in penalties.GATED
    if criterion == "gate" and not gated:
        raise UserError(
            f"pruning.criterion=gate needs gates: set regularizer.name to one of "
            f"{', '.join(penalties.GATED)}, not {regularizer}"
        )
    _check_learned(criterion, scope, regularizer)
    solve = solver(criterion)
    if solve and (gated or scope != "layer"):
        what = f"regularizer.name={regularizer}" if gated else f"pruning.scope={scope}"
        raise UserError(
            f"{what} with pruning.criterion={criterion}: it gives the weights of a matrix new"
            " values as it prunes it, without gates and with pruning.scope=layer"
        )
    if regularizer == "scores":
        penalty = learned.score_penalty(ramped=criterion == "soft-movement")
    else:
        penalty = penalties.make(regularizer, norm=norm, reduce=reduce, signed=signed)
    common: dict[str, Any] = {
        "name": f"{criterion}-{scope}-{regularizer}",
        "penalty": penalty,
        "solve": solve,
        "needs": row.needs,
        "anchors_rest": regularizer in penalties.ANCHORED,
    }
    if not isinstance(row, Criterion):
        common["cut"] = unit_criteria.make_cut(row.score, cast(unit_cuts.UnitScope, scope), heads)
    elif row.score:
        common["cut"] = _cut(row.score, cast(masks.Scope, scope), gated)
    if any_size:
        if isinstance(row, Criterion):
            raise UserError(
                f"pruning.criterion={criterion} with pruning.sizes: sizes are of whole units; give"
                f" one of {', '.join(unit_criteria.CRITERIA)}"
            )
        order = elastic.parts(row.score, cast(unit_cuts.UnitScope, scope), heads, any_size, depth)
        return Method(**{**common, **order, "name": f"{common['name']}-elastic"})
    if criterion in LEARNED:
        choose = learned.by_threshold
        if criterion == "movement":
            choose = learned.by_count(cast(masks.Scope, scope))
        return Method(
            **{**common, "cut": learned.cut(cast(masks.Scope, scope))},
            init=learned.init,
            effective=learned.effective,
            step_masks=learned.every(mask_every, choose),
            labels=learned.LABELS,
            zero_pruned=False,
            cut_at=1.0,
            renews=False,
        )
    if not gated:
        return Method(**common)
    constrained = regularizer != "l0"
    return Method(
        **common,
        init=gated_kernels.init_constrained if constrained else gated_kernels.init,
        effective=gated_kernels.effective,
        finalize=gated_kernels.finalize,
        labels=gated_kernels.LABELS,
        cut_at=0.5,
    )


def solver(criterion: str) -> Solve | None:
    """What chooses the weights of a criterion and gives those that are left new values, if any."""
    row = EVERY_CRITERION[criterion]
    return row.solve if isinstance(row, Criterion) else None


@cache
def _cut(
    score: Callable[[Kernels, Signals, Key[Array, ""]], Kernels], scope: masks.Scope, gated: bool
) -> Callable[..., tuple[Masks, State]]:
    def cut(
        kernels: Kernels,
        masks_: Masks,
        state: State,
        signals: Signals,
        keep: masks.Keep,
        key: Key[Array, ""],
    ) -> tuple[Masks, State]:
        if scope == "global":  # with the key of the other scope, both would draw the same weights
            key = jax.random.fold_in(key, 1)
        used = gated_kernels.ranked(kernels, state) if gated else kernels
        kept = groups.top_k(score(used, {**signals, **state}, key), masks_, keep, scope)
        return kept, gated_kernels.renew(state) if gated else state

    return cut


def _check_units(criterion: str, scope: str, regularizer: str, any_size: bool) -> None:
    """Raise UserError where units and single weights are mixed, or scores that do not compare."""
    if (criterion in unit_criteria.CRITERIA) != (scope in unit_cuts.SCOPES):
        raise UserError(
            f"pruning.criterion={criterion} with pruning.scope={scope}: the criteria of units "
            f"({', '.join(unit_criteria.CRITERIA)}) go with the scopes of units "
            f"({', '.join(unit_cuts.SCOPES)}), and only with them"
        )
    if criterion in unit_criteria.CRITERIA and regularizer in (*penalties.GATED, "scores"):
        raise UserError(
            f"regularizer.name={regularizer} is of single weights; pruning.criterion={criterion} "
            "takes out whole units"
        )
    if scope == "layers" and not any_size:
        raise UserError(
            "pruning.scope=layers without pruning.sizes: whole layers are not cut, they are left"
            " out at small sizes; --config.method=elastic has sizes"
        )
    if criterion == "taylor-units" and scope == "units":
        raise UserError(
            "pruning.criterion=taylor-units with pruning.scope=units: sums of absolute values do "
            "not compare heads with feed-forward units, and would delete nearly all heads; use "
            "pruning.criterion=fisher-units, or pruning.scope=units-even or ffn"
        )


def _check_learned(criterion: str, scope: str, regularizer: str) -> None:
    """Raise UserError for names that go with learned masks only, or not with them."""
    if criterion in LEARNED:
        if regularizer in penalties.GATED:
            raise UserError(
                f"regularizer.name={regularizer}: its gates and pruning.criterion={criterion} would"
                " both learn what to prune; use one of them"
            )
        if scope in ("output", masks.NEIGHBOURS):
            raise UserError(
                f"pruning.scope={scope}: masks that are learned compete within layer, global or"
                " kind"
            )
        if scope != "layer" and criterion == "soft-movement":
            raise UserError(
                f"pruning.scope={scope}: soft-movement has one threshold for all; its final cut is"
                " per layer"
            )
        return
    wanted = f"needs a pruning.criterion of learned masks: {', '.join(LEARNED)}"
    if scope == "kind":
        raise UserError(f"pruning.scope=kind {wanted}")
    if regularizer == "scores":
        raise UserError(f"regularizer.name=scores {wanted}")


def _check(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{field}={value}: choose one of {', '.join(choices)}")
