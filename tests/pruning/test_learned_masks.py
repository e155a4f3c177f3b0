"""Masks that are learned: what a score is told, how a budget is divided, what is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import learned, masks, methods
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.method import Clock, Hyper, Marks, Weights

SHAPES = {name: (3, 8, 8) for name in KERNELS} | {"intermediate": (3, 8, 16), "output": (3, 16, 8)}


def draw(seed):
    random = np.random.default_rng(seed)
    return {name: jnp.asarray(random.normal(size=SHAPES[name]), jnp.float32) for name in KERNELS}


def state(seed=0, shift=0.0):
    return {"scores": {name: leaf + shift for name, leaf in draw(seed).items()}}


def counts(kept):
    return {name: np.asarray(leaf).sum((1, 2)) for name, leaf in kept.items()}


def test_a_score_is_told_weight_times_gradient_and_a_pruned_weight_nothing():
    """The published example: weights, a mask, and the gradient of what the network uses."""
    weights = jnp.array([[1.0, -1.0], [-0.5, 2.0]])
    mask = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    pull = jnp.array([[2.0, 4.0], [-4.0, 8.0]])

    def used(weights, scores):
        return jnp.sum(weights * learned.straight_through(scores, mask) * pull)

    of_weights, of_scores = jax.grad(used, (0, 1))(weights, jnp.zeros((2, 2)))
    np.testing.assert_array_equal(of_scores, [[2, -4], [2, 16]])
    np.testing.assert_array_equal(of_weights, mask * pull)
    np.testing.assert_allclose(-0.1 * of_scores, [[-0.2, 0.4], [-0.2, -1.6]], rtol=1e-6)


def test_used_weights_are_exactly_the_weights_or_zero():
    kernels, scores = draw(1), state(2, shift=0.3)
    kept = masks.top_k(scores["scores"], masks.ones(kernels), 700, "global")
    found = learned.effective(kernels, kept, scores, Hyper(), Clock(), None, True)
    for name in KERNELS:
        np.testing.assert_array_equal(found[name], np.where(kept[name], kernels[name], 0))


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, (0.4, 0.6)), (0.9, (0.8, 1.0)), (1.0, (1.0, 1.0))]
)
def test_a_budget_follows_the_openness_and_none_is_over_full(share, expected):
    """At .9 the paper's code gives the second layer 1.08 of its weights."""
    found = learned.divide(jnp.int32(round(2000 * share)), jnp.array([0.5, 0.75]), 1000)
    np.testing.assert_array_equal(found, np.multiply(expected, 1000))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=24),
    st.integers(1, 600_000),
    st.floats(0, 1),
)
def test_a_budget_is_exact_and_level(shares, most, share):
    total = int(share * most * len(shares))
    found = np.asarray(_DIVIDE(jnp.int32(total), jnp.array(shares, jnp.float32), most), np.int64)
    assert found.sum() == total
    assert found.min() >= 0
    assert found.max() <= most
    free = found < most  # those get what is in proportion to their share, to a weight or rounding
    if free.sum() > 1:
        levels = found[free] / np.array(shares, np.float64)[free]
        slack = (2 + 1e-5 * most * len(shares)) / np.array(shares, np.float64)[free]
        assert np.all(np.abs(levels - np.median(levels)) <= slack + np.median(slack))


_DIVIDE = jax.jit(learned.divide, static_argnums=2)
_HARD = jax.jit(learned.hard, static_argnums=2)


@pytest.mark.parametrize("scope", ["layer", "global", "kind"])
@pytest.mark.parametrize("remaining", [1.0, 0.61, 0.1])
def test_a_choice_has_the_exact_count_and_the_highest_scores(scope, remaining):
    scores = state(3)["scores"]
    sizes = prunable.sizes(scores)
    keep = masks.keep_counts(sizes, remaining, scope)
    kept = _HARD(scores, keep, scope)
    found = counts(kept)
    total = {"layer": lambda: keep, "kind": lambda: keep, "global": lambda: None}[scope]()
    if scope == "global":
        assert sum(int(part.sum()) for part in found.values()) == keep
    else:
        for name in KERNELS:
            expected = found[name] if scope == "layer" else found[name].sum()
            np.testing.assert_array_equal(expected, total[name])
    for name in KERNELS:
        for layer in range(3):
            own, mask = np.asarray(scores[name][layer]), np.asarray(kept[name][layer])
            if 0 < mask.sum() < mask.size:
                assert own[mask].min() >= own[~mask].max()


def test_an_open_layer_keeps_more_of_its_kind():
    scores = {name: leaf.at[1].add(3.0) for name, leaf in state(4)["scores"].items()}
    keep = masks.keep_counts(prunable.sizes(scores), 0.5, "kind")
    found = counts(learned.hard(scores, keep, "kind"))
    assert all(found[name][1] > found[name][0] for name in KERNELS)


def test_a_threshold_keeps_what_exceeds_it_but_never_next_to_nothing():
    scores = state(5)["scores"]
    kept = learned.soft(scores, jnp.float32(0.4))
    for name in KERNELS:
        np.testing.assert_array_equal(kept[name], jax.nn.sigmoid(scores[name]) > 0.4)
    shut = {**scores, "output": scores["output"] - 50}
    kept = jax.jit(learned.soft)(shut, jnp.float32(0.4))
    least = int(learned.FLOOR * 128) + 1
    np.testing.assert_array_equal(counts(kept)["output"], [least] * 3)
    np.testing.assert_array_equal(
        kept["intermediate"], jax.nn.sigmoid(scores["intermediate"]) > 0.4
    )


@pytest.mark.parametrize("ramped", [False, True])
def test_the_penalty_grows_to_its_weight(ramped):
    penalty = learned.score_penalty(ramped=ramped)
    closed = {"scores": {name: jnp.zeros(SHAPES[name]) for name in KERNELS}}
    weights = Weights(draw(0), {})
    marks = Marks(progress=jnp.float32(0.5), ramp=jnp.float32(0.25))
    value, logs = penalty(
        weights, {}, weights, closed, Hyper(regularizer_weight=400.0), Clock(marks=marks)
    )
    assert float(logs["regularizer"]) == 0.5
    # 1 - (1 - 1/2)^3 = 7/8 over all of learning; or as far as the threshold has come
    assert float(value) == (400 * 0.25 if ramped else 350) * 0.5


def test_masks_are_chosen_every_so_many_steps():
    method = methods.build(criterion="movement", scope="layer", mask_every=4)
    kernels, scores = draw(6), state(7)
    keep = masks.keep_counts(prunable.sizes(kernels), 0.25, "layer")
    before = masks.ones(kernels)

    def at(step):
        clock = Clock(marks=Marks(keep, jnp.int32(step), jnp.float32(0), jnp.float32(0)))
        return counts(method.step_masks(kernels, before, scores, Hyper(), clock))

    for name in KERNELS:
        np.testing.assert_array_equal(at(8)[name], keep[name])
        np.testing.assert_array_equal(at(9)[name], [kernels[name][0].size] * 3)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("magnitude", "kind", "none"), r"^pruning\.scope=kind needs a pruning\.criterion of lea"),
        (("magnitude", "layer", "scores"), r"^regularizer\.name=scores needs"),
        (("movement", "layer", "l0-target"), r"^regularizer\.name=l0-target: its gates and"),
        (("soft-movement", "kind", "none"), r"^pruning\.scope=kind: soft-movement has one"),
    ],
)
def test_names_that_do_not_go_together(names, message):
    criterion, scope, regularizer = names
    with pytest.raises(Exception, match=message):
        methods.build(criterion=criterion, scope=scope, regularizer=regularizer)
