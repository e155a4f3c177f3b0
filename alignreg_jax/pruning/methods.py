"""The table of methods: a method is a small record of pure functions that one train step serves.

To add a criterion, write a function in `criteria.py` and a row in `CRITERIA`; a regularizer, a row
in `_regularizer`; a name from the paper's Table 1, a row in `PRESETS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import criteria, masks, regularizers
from alignreg_jax.pruning.kernels import Kernels, Masks

State = dict[str, Any]
"""What a method learns or remembers beside weights and masks (a pytree); {} for most."""

Scalars = Mapping[str, Any]
"""Traced scalars: `hyper` holds numbers a sweep varies, `clock` step, total, phase, remaining."""

Signals = Mapping[str, Any]
"""What the training loop measured for a criterion, by the names in `needs`."""

Penalty = tuple[Float[Array, ""], dict[str, Float[Array, ""]]]


def _no_state(kernels: Kernels, reference: Kernels, key: Key[Array, ""]) -> State:
    return {}


def _stored(
    kernels: Kernels,
    masks_: Masks,
    state: State,
    hyper: Scalars,
    clock: Scalars,
    key: Key[Array, ""],
    train: bool,
) -> Kernels:
    # Under zero_pruned the pruned weights are zero as stored: masking them again would only copy
    # every kernel once a step. The train step masks their gradient.
    return kernels


def _folded(kernels: Kernels, masks_: Masks, state: State) -> Kernels:
    return masks.apply(kernels, masks_)


@dataclass(frozen=True)
class Method:
    """A way of pruning. Every function is pure and runs inside jit.

    Attributes:
        name: for logs.
        prune: (kernels, masks, state, signals, keep, key) -> masks; `keep` from `keep_counts`.
        penalty: (effective kernels, reference, state, hyper, clock) -> (weighted scalar, logs).
        init: (kernels, reference, key) -> state.
        effective: (kernels, masks, state, hyper, clock, key, train) -> what the network uses;
            the default suits `zero_pruned` only.
        finalize: (kernels, masks, state) -> the kernels to export.
        needs: signals the loop must supply: "grad", "layernorm", "teacher", "activations".
        labels: how the leaves of the state are trained: "frozen", "weights", "scores", "ascent".
        nested: masks only ever shrink.
        zero_pruned: pruned weights are exactly zero after every update; otherwise only the
            effective ones are.
    """

    name: str
    prune: Callable[[Kernels, Masks, State, Signals, masks.Keep, Key[Array, ""]], Masks]
    penalty: Callable[[Kernels, Kernels, State, Scalars, Scalars], Penalty]
    init: Callable[[Kernels, Kernels, Key[Array, ""]], State] = _no_state
    effective: Callable[..., Kernels] = _stored
    finalize: Callable[[Kernels, Masks, State], Kernels] = _folded
    needs: frozenset[str] = frozenset()
    labels: State | None = None
    nested: bool = True
    zero_pruned: bool = True


class Criterion(NamedTuple):
    """A row of the table: (kernels, signals, key) -> scores, and the signals it needs."""

    score: Callable[[Kernels, Signals, Key[Array, ""]], Kernels]
    needs: frozenset[str] = frozenset()


CRITERIA: dict[str, Criterion] = {
    "magnitude": Criterion(lambda kernels, signals, key: criteria.magnitude(kernels)),
    "random": Criterion(lambda kernels, signals, key: criteria.random(kernels, key)),
}

REGULARIZERS: dict[str, float] = {
    "none": 0.0,
    "cosine": 100.0,
    "cosine-layer": 100.0,
    "frobenius": 5e-4,
    "l2": 5e-4,
}
"""Names and default weights. Frobenius' is the paper's; the cosine's is not given there, and 100 in
the paper's lambda/L form has the gradient scale of the Frobenius term (docs/errata.md)."""

_PLAIN = {"regularizer.name": "none"}
_COSINE = {
    "regularizer.name": "cosine",
    "regularizer.reference": "pretrained",
}
_FROBENIUS = {
    "regularizer.name": "frobenius",
    "regularizer.reference": "pretrained",
}
_LAYER = {"pruning.scope": "layer"}
_GLOBAL = {"pruning.scope": "global"}
_MAGNITUDE = {"pruning.criterion": "magnitude"}
_RANDOM = {"pruning.criterion": "random"}

PRESETS: dict[str, dict[str, str | int | float]] = {
    "none": {**_MAGNITUDE, **_LAYER, **_PLAIN, "pruning.steps": 0},
    "random": {**_RANDOM, **_LAYER, **_PLAIN},
    "random-global": {**_RANDOM, **_GLOBAL, **_PLAIN},
    "l2-mbp": {**_MAGNITUDE, **_LAYER, **_PLAIN},
    "l2-global-mbp": {**_MAGNITUDE, **_GLOBAL, **_PLAIN},
    "cosine-mbp": {**_MAGNITUDE, **_LAYER, **_COSINE},
    "frobenius-mbp": {**_MAGNITUDE, **_LAYER, **_FROBENIUS},
}
"""Table 1's rows as the config fields they fill. The L2 in the names is AdamW's decay."""


def build(
    *,
    criterion: str,
    scope: str,
    regularizer: str = "none",
    norm: str = "squared",
    reduce: str = "sum",
    signed: bool = False,
) -> Method:
    """Make a method from the names in a config.

    Args:
        criterion: a name in `CRITERIA`.
        scope: "layer" or "global".
        regularizer: a name in `REGULARIZERS`; its weight is `hyper["regularizer_weight"]`.
        norm: of the Frobenius distance, "squared" or "norm".
        reduce: of the Frobenius distance over matrices, "sum" or "mean".
        signed: the cosine without the paper's absolute value.

    Raises:
        UserError: a name that is not in its table.
    """
    _check("pruning.criterion", criterion, tuple(CRITERIA))
    _check("pruning.scope", scope, ("layer", "global"))
    _check("regularizer.name", regularizer, tuple(REGULARIZERS))
    _check("regularizer.norm", norm, ("squared", "norm"))
    _check("regularizer.reduce", reduce, ("sum", "mean"))
    score, needs = CRITERIA[criterion]
    cut = cast(masks.Scope, scope)

    def prune(
        kernels: Kernels,
        masks_: Masks,
        state: State,
        signals: Signals,
        keep: masks.Keep,
        key: Key[Array, ""],
    ) -> Masks:
        return masks.top_k(score(kernels, signals, key), masks_, keep, cut)

    distance = _regularizer(regularizer, norm=norm, reduce=reduce, signed=signed)

    def penalty(
        effective: Kernels, reference: Kernels, state: State, hyper: Scalars, clock: Scalars
    ) -> Penalty:
        if distance is None:
            return jnp.float32(0), {}
        value = distance(effective, jax.lax.stop_gradient(reference))
        return hyper["regularizer_weight"] * value, {"regularizer": value}

    return Method(
        name=f"{criterion}-{scope}-{regularizer}", prune=prune, penalty=penalty, needs=needs
    )


def _regularizer(
    name: str, *, norm: str, reduce: str, signed: bool
) -> Callable[[Kernels, Kernels], Float[Array, ""]] | None:
    return {
        "none": None,
        "cosine": partial(regularizers.cosine, signed=signed),
        "cosine-layer": partial(regularizers.cosine, signed=signed, per_unit=False),
        "frobenius": partial(
            regularizers.frobenius, squared=norm == "squared", reduce=cast(Any, reduce)
        ),
        "l2": lambda pruned, reference: regularizers.l2(pruned),
    }[name]


def _check(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{field}={value}: choose one of {', '.join(choices)}")
