"""Masks that are learned: movement pruning and Static Model Pruning.

A score for every weight learns by gradient descent; the weights with the highest scores are used.
The mask is a step function of the scores, so its derivative is taken to be 1 (straight-through):
a score's gradient is weight * gradient of the used weight, for pruned weights, too, which may
return. Movement pruning (Sanh et al. 2020) trains the weights beside the scores; Static Model
Pruning (Jiang et al. 2023) leaves them as pretrained.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import Kernels, Masks, named
from alignreg_jax.pruning.method import Clock, Hyper, Penalty, Signals, State, Weights

LABELS = (("scores", "scores"),)

FLOOR = 0.005
"""Share of every matrix that a threshold leaves in any case, and one weight more: their code's."""


def init(kernels: Kernels, key: Key[Array, ""]) -> State:
    """Scores of 0: until they move apart, ties go to the lower position."""
    return {"scores": {name: jnp.zeros(each.shape, jnp.float32) for name, each in kernels.items()}}


@jax.custom_vjp
def straight_through(
    scores: Float[Array, "*shape"], mask: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The mask as numbers, whose derivative in the scores is taken to be 1.

    Not `scores + stop_gradient(mask - scores)`, which rounds to other numbers than 0 and 1.
    """
    return mask


straight_through.defvjp(lambda scores, mask: (mask, None), lambda _, pull: (pull, None))


def effective(
    kernels: Kernels,
    masks_: Masks,
    state: State,
    hyper: Hyper,
    clock: Clock,
    key: Key[Array, ""] | None,
    train: bool,
) -> Kernels:
    """Weights times masks, with a gradient for scores and weights."""
    return {
        name: kernels[name]
        * straight_through(state["scores"][name], masks_[name].astype(kernels[name].dtype))
        for name in named(kernels)
    }


@cache
def score_penalty(*, ramped: bool) -> Callable[..., Penalty]:
    """Make the penalty on the mean of sigmoid(score) over each matrix, then over all matrices.

    Its weight grows from 0: over all of learning, as 1 - (1 - t/T)^3 (Static Model Pruning's code);
    or `ramped`, as the threshold does, to which it belongs (soft movement pruning).
    """

    def penalty(
        weights: Weights,
        masks_: Masks,
        reference: Weights,
        state: State,
        hyper: Hyper,
        clock: Clock,
    ) -> Penalty:
        value = mean_openness(state["scores"])
        share = clock.marks.ramp if ramped else 1 - (1 - clock.marks.progress) ** 3
        return hyper.regularizer_weight * share * value, {"regularizer": value}

    return penalty


def mean_openness(scores: Kernels) -> Float[Array, ""]:
    """Mean over matrices of the mean of sigmoid(score); 1/2 at the start."""
    return jnp.mean(jnp.concatenate([_openness(scores[name]) for name in named(scores)]))


def _openness(scores: Float[Array, "layers rows columns"]) -> Float[Array, " layers"]:
    return jnp.mean(jax.nn.sigmoid(scores), axis=(1, 2))


def hard(scores: Kernels, keep: masks.Keep, scope: masks.Scope) -> Masks:
    """Choose exactly `keep` weights: per matrix, of all, or per kind by budgets.

    "kind" is Static Model Pruning's SMP-S: what a kernel keeps over all layers is divided among
    them in proportion to their mean sigmoid(score).
    """
    if scope == "kind":
        scope = "layer"
        keep = {
            name: divide(jnp.asarray(keep[name]), _openness(scores[name]), scores[name][0].size)
            for name in named(scores)
        }
    return masks.top_k(scores, masks.ones(scores), keep, scope)


def divide(
    total: Int[Array, ""], shares: Float[Array, " layers"], most: int
) -> Int[Array, " layers"]:
    """Divide a count in proportion to shares, with at most `most` for each: exact in sum.

    A layer that would get more than it has weights is full, and the others divide what is left
    (water-filling). The paper's code does not, and falls short of its total. Fractions go to the
    largest ones, ties to the lower layer.

    Args:
        total: at most `layers * most`.
        shares: positive.
        most: weights in a layer.
    """
    layers = shares.shape[0]
    wanted = total.astype(jnp.float32) / most  # in layers

    def fill(_: Any, full: Array) -> Array:
        free = jnp.sum(jnp.where(full, 0.0, shares))
        level = (wanted - jnp.sum(full)) / jnp.maximum(free, 1e-30)
        return full | (level * shares >= 1)

    full = jax.lax.fori_loop(0, layers, fill, jnp.zeros(layers, bool))
    free = jnp.sum(jnp.where(full, 0.0, shares))
    level = (wanted - jnp.sum(full)) / jnp.maximum(free, 1e-30)
    ideal = jnp.where(full, 1.0, jnp.clip(level * shares, 0.0, 1.0)) * most
    counts = jnp.clip(jnp.floor(ideal).astype(jnp.int32), 0, most)
    # Ranks by fraction, the largest first
    ranks = jnp.argsort(jnp.argsort(jnp.where(full, -1.0, counts - ideal)))

    def settle(counts: Array) -> Array:
        # float32 may have put some too many into the floors, too
        missing = total - jnp.sum(counts)
        open_ = jnp.where(missing > 0, counts < most, counts > 0)
        place = jnp.where(missing > 0, ranks, layers - 1 - ranks)
        turn = jnp.sum(open_[None, :] & (place[None, :] < place[:, None]), axis=1)
        moved = open_ & (turn < jnp.abs(missing))
        return counts + jnp.where(moved, jnp.sign(missing), 0)

    return jax.lax.while_loop(lambda counts: jnp.sum(counts) != total, settle, counts)


def soft(scores: Kernels, threshold: Float[Array, ""]) -> Masks:
    """Keep what has sigmoid(score) above a threshold: how much is up to the penalty.

    Of every matrix at least a share of `FLOOR` and one weight stay, the highest.
    """
    names = named(scores)
    above = {name: jax.nn.sigmoid(scores[name]) > threshold for name in names}
    least = {name: int(FLOOR * scores[name][0].size) + 1 for name in names}
    kept = {name: jnp.sum(above[name], axis=(1, 2), dtype=jnp.int32) for name in names}
    too_few = jnp.any(jnp.stack([jnp.any(kept[name] < least[name]) for name in names]))

    def floored() -> Masks:
        counts = {name: jnp.maximum(kept[name], least[name]) for name in names}
        return masks.top_k(scores, masks.ones(scores), counts, "layer")

    return jax.lax.cond(too_few, floored, lambda: above)


Choose = Callable[[State, Hyper, Clock], Masks]
"""The masks of a step from what is learned."""


@cache
def every(period: int, choose: Choose) -> Callable[..., Masks]:
    """Make `step_masks`: new masks every `period` steps of learning, in between those of before."""

    def step_masks(
        kernels: Kernels, masks_: Masks, state: State, hyper: Hyper, clock: Clock
    ) -> Masks:
        if period == 1:
            return choose(state, hyper, clock)
        return jax.lax.cond(
            clock.marks.learned % period == 0, lambda: choose(state, hyper, clock), lambda: masks_
        )

    return step_masks


@cache
def by_count(scope: masks.Scope) -> Choose:
    """Make the choice of exactly as many weights as the step has."""
    return lambda state, hyper, clock: hard(state["scores"], clock.marks.keep, scope)


def by_threshold(state: State, hyper: Hyper, clock: Clock) -> Masks:
    """Choose what exceeds a threshold that grows as the ramp does."""
    return soft(state["scores"], hyper.mask_threshold * clock.marks.ramp)


@cache
def cut(scope: masks.Scope) -> Callable[..., tuple[Masks, State]]:
    """Make the cut: the exact count of the schedule, by scores; scores learn on where they are."""

    def to_count(
        kernels: Kernels,
        masks_: Masks,
        state: State,
        signals: Signals,
        keep: masks.Keep,
        key: Key[Array, ""],
    ) -> tuple[Masks, State]:
        return hard(state["scores"], keep, scope), state

    return to_count
