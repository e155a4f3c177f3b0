"""Cuts of whole heads and feed-forward units: counts, order, budget, nesting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_units import filled

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import masks, unit_criteria, unit_cuts, units
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.methods import build
from alignreg_jax.pruning.units import UNITS

LAYERS, HEADS = 3, 4
KERNELS_OF = filled(LAYERS, 8, 2, HEADS)  # a head has 64 weights, a feed-forward unit 16
COSTS = units.costs(KERNELS_OF, HEADS)
DENSE = masks.ones(KERNELS_OF)


def scores(seed):
    shapes = units.shapes(KERNELS_OF, HEADS)
    generator = np.random.default_rng(seed)
    # Few values, so that ties occur
    return {
        kind: jnp.asarray(generator.integers(0, 4, shapes[kind]), jnp.float32) for kind in UNITS
    }


def weights(mask):
    return sum(int(mask[name].sum()) for name in KERNELS)


def small(heads, ffn):
    """One layer of hidden size 1, so that a head costs 4 and a feed-forward unit 1."""
    given_ = {"heads": jnp.array([heads], jnp.float32), "ffn": jnp.array([ffn], jnp.float32)}
    return given_, {"heads": 4, "ffn": 1}


def test_the_order_and_its_budget_by_hand():
    """specs: f0 h0 f1 f2 h1 f3 by score for cost, heads first where equal."""
    given_, costs = small([8, 2], [3, 1, 1, 0.5])
    steps = {1: "0", 5: "0h", 6: "01h", 7: "012h", 9: "012h", 10: "012h", 11: "012hH", 12: "0123hH"}
    for budget, expected in steps.items():
        found = unit_cuts.within(given_, jnp.int32(budget), costs)
        names = "".join(np.array(list("0123"))[np.asarray(found["ffn"][0])])
        names += "".join(np.array(list("hH"))[np.asarray(found["heads"][0])])
        assert names == expected, budget


def test_the_best_of_every_layer_comes_first():
    one = {"heads": jnp.array([[9.0, 8.0], [0.2, 0.1]]), "ffn": jnp.array([[7.0, 6.0], [0.2, 0.1]])}
    found = unit_cuts.within(one, jnp.int32(4 * 2 + 2), {"heads": 4, "ffn": 1})
    for kind in UNITS:
        np.testing.assert_array_equal(found[kind], [[True, False], [True, False]])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(unit_cuts.CUTTING))
def test_cuts_nest_and_leave_what_they_should(seed, scope):
    left, before = [], DENSE
    shares = (0.97, 0.95, 0.9) if scope == "ffn" else (0.8, 0.5, 0.35)
    for phase, remaining in enumerate(shares):
        keep = unit_cuts.keep_counts(KERNELS_OF, HEADS, remaining, scope)
        new = unit_cuts.cut(scores(seed + phase), before, keep, scope, COSTS)
        assert all(bool(jnp.all(new[name] <= before[name])) for name in KERNELS)
        standing = unit_cuts.kept(new, scores(0))
        assert weights(new) == sum(int(standing[kind].sum()) * COSTS[kind] for kind in UNITS)
        for kind in UNITS:  # no layer loses all of a kind
            assert int(standing[kind].sum(axis=1).min()) >= 1
        if scope == "ffn":
            assert abs(weights(new) - 3 * 304 * remaining) <= 3 * COSTS["ffn"] / 2
            assert bool(standing["heads"].all())
            assert len(set(standing["ffn"].sum(axis=1).tolist())) == 1
        elif scope == "units-even":
            for kind, count in (("heads", HEADS), ("ffn", 3)):
                per_layer = max(1, round(count * remaining))
                np.testing.assert_array_equal(standing[kind].sum(axis=1), [per_layer] * LAYERS)
        else:
            assert 0 <= int(keep) - weights(new) < COSTS["heads"]
        left.append(weights(new))
        before = new
    assert left == sorted(left, reverse=True)


def test_ties_go_to_the_lower_index():
    same = jax.tree.map(jnp.zeros_like, scores(0))
    keep = {"heads": np.int32(2), "ffn": np.int32(1)}
    standing = unit_cuts.kept(unit_cuts.cut(same, DENSE, keep, "units-even", COSTS), same)
    np.testing.assert_array_equal(standing["heads"], [[True, True, False, False]] * LAYERS)
    np.testing.assert_array_equal(standing["ffn"], [[True, False, False]] * LAYERS)


def test_a_budget_without_room_for_every_layer_is_refused():
    least = (COSTS["heads"] + COSTS["ffn"]) / (HEADS * COSTS["heads"] + 3 * COSTS["ffn"])
    assert unit_cuts.keep_counts(KERNELS_OF, HEADS, least, "units") == 3 * (64 + 16)
    with pytest.raises(UserError, match=r"^pruning\.scope=units: .* have 240 "):
        unit_cuts.keep_counts(KERNELS_OF, HEADS, least - 0.01, "units")


def test_all_heads_and_a_feed_forward_unit_are_the_least_of_ffn():
    """Four heads of 64 and three units of 16 a layer, three layers: 912 weights."""
    found = unit_cuts.keep_counts(KERNELS_OF, HEADS, 272 / 304, "ffn")
    assert {kind: int(count) for kind, count in found.items()} == {"heads": 4, "ffn": 1}
    with pytest.raises(UserError, match=r"^pruning\.scope=ffn: .*; all heads .* have 816 "):
        unit_cuts.keep_counts(KERNELS_OF, HEADS, 271 / 304, "ffn")


def test_magnitude_is_the_norm_of_the_rows():
    found = unit_criteria.magnitude(KERNELS_OF, HEADS)
    rows = np.asarray(KERNELS_OF["attention/output"], np.float64).reshape(LAYERS, HEADS, 2, 8)
    expected = np.sqrt((rows**2).sum(axis=(2, 3)))
    np.testing.assert_allclose(found["heads"], expected, rtol=1e-6)
    output = np.asarray(KERNELS_OF["output"], np.float64)
    np.testing.assert_allclose(found["ffn"], np.linalg.norm(output, axis=2), rtol=1e-6)


def test_random_units_are_drawn_anew_by_key():
    first, second = (
        unit_criteria.random(KERNELS_OF, HEADS, jax.random.key(seed)) for seed in (0, 1)
    )
    assert all(len(np.unique(first[kind])) == first[kind].size for kind in UNITS)
    assert not np.array_equal(first["heads"], second["heads"])
    assert not np.array_equal(first["heads"][:, :3], first["ffn"])


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (("taylor-units", "layer", "none"), "the criteria of units"),
        (("magnitude", "units", "none"), "the criteria of units"),
        (("taylor-units", "units", "none"), "would delete nearly all heads"),
        (("fisher-units", "units", "l0-target"), "single weights"),
        (("fisher-units", "units", "scores"), "single weights"),
    ],
)
def test_what_does_not_go_together_is_refused(given_, message):
    criterion, scope, regularizer = given_
    with pytest.raises(UserError, match=message):
        build(criterion=criterion, scope=scope, regularizer=regularizer)
