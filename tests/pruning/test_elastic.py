"""Thresholds of units: by hand, nested, within their budget; sizes that rows train at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.models import elastic as device
from alignreg_jax.pruning import elastic, units
from alignreg_jax.pruning.method import Hyper

# One layer by hand, and XLM-R base's
SMALL = {"heads": 4, "ffn": 1}
BASE = {"heads": 196_608, "ffn": 1_536}
sizes = st.floats(0, 1)


def total(scores, costs):
    return sum(costs[kind] * scores[kind].size for kind in costs)


@st.composite
def scores(draw):
    """Few different values, so that there are ties; few shapes, each of which is compiled."""
    layers, heads, ffn = draw(st.sampled_from([(1, 1, 1), (1, 4, 9), (3, 2, 5), (4, 3, 1)]))
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    return {
        "heads": generator.integers(0, 6, (layers, heads)).astype(np.float64),
        "ffn": generator.integers(0, 6, (layers, ffn)).astype(np.float64),
    }


families = st.sampled_from(["free", "even", "ffn"])


def test_free_by_hand():
    """I/cost is heads [2, .5], ffn [3, 1, 1, .5]; the order f0 h0 f1 f2 h1 f3."""
    given = {"heads": np.array([[8.0, 2.0]]), "ffn": np.array([[3, 1, 1, 0.5]])}
    tau = elastic.thresholds(given, SMALL, "free")
    np.testing.assert_array_equal(tau["heads"], np.float32([[5 / 12, 11 / 12]]))
    np.testing.assert_array_equal(tau["ffn"], np.float32([[1 / 12, 6 / 12, 7 / 12, 1]]))
    assert elastic.cost_at(tau, SMALL, 0.5) == 6
    assert elastic.cost_at(tau, SMALL, 0.75) == 7  # the head does not fit, and nothing passes it
    kept = elastic.units_at(tau, 0.5)
    assert kept["heads"].tolist() == [[True, False]]
    assert kept["ffn"].tolist() == [[True, True, False, False]]


def test_the_best_of_every_layer_stand_first():
    """By score / cost alone the second layer would have nothing until the first is whole."""
    given = {"heads": np.array([[9, 8], [0.2, 0.1]]), "ffn": np.array([[7, 6], [0.01, 0.02]])}
    tau = elastic.thresholds(given, SMALL, "free")
    np.testing.assert_allclose(tau["heads"] * 20, [[5, 15], [9, 19]], rtol=1e-6)
    np.testing.assert_allclose(tau["ffn"] * 20, [[1, 11], [20, 10]], rtol=1e-6)


def test_ties_go_to_heads_then_lower_layers_then_lower_indices():
    given = {"heads": np.full((2, 2), 4.0), "ffn": np.ones((2, 2))}
    free = elastic.thresholds(given, SMALL, "free")
    np.testing.assert_allclose(free["heads"] * 20, [[4, 14], [8, 18]], rtol=1e-6)
    np.testing.assert_allclose(free["ffn"] * 20, [[9, 19], [10, 20]], rtol=1e-6)
    even = elastic.thresholds(given, SMALL, "even")
    for kind in units.UNITS:
        np.testing.assert_array_equal(even[kind], [[0.5, 1], [0.5, 1]])
    many = {"heads": np.ones((1, 1)), "ffn": np.tile([[1.0, 2.0]], 50)}  # a sort that is not stable
    tau = elastic.thresholds(many, SMALL, "even")["ffn"][0] * 100
    np.testing.assert_allclose(tau[1::2], np.arange(1, 51), rtol=1e-6)
    np.testing.assert_allclose(tau[::2], np.arange(51, 101), rtol=1e-6)


def test_even_by_hand():
    given = {"heads": np.array([[1.0, 3, 2], [0, 5, 9]]), "ffn": np.array([[1.0, 2], [4, 3]])}
    tau = elastic.thresholds(given, SMALL, "even")
    np.testing.assert_allclose(tau["heads"] * 3, [[3, 1, 2], [3, 2, 1]], rtol=1e-6)
    np.testing.assert_array_equal(tau["ffn"], [[1, 0.5], [0.5, 1]])


def test_ffn_by_hand():
    """Heads are half of these weights, so size .75 has half of each layer's units."""
    given = {"heads": np.ones((2, 1)), "ffn": np.array([[1.0, 4, 2, 3], [9, 8, 7, 6]])}
    tau = elastic.thresholds(given, SMALL, "ffn")
    np.testing.assert_array_equal(tau["heads"], np.zeros((2, 1), np.float32))
    np.testing.assert_array_equal(tau["ffn"] * 8, [[8, 5, 7, 6], [5, 6, 7, 8]])
    assert [elastic.cost_at(tau, SMALL, size) / 16 for size in (0.5, 0.75, 1.0)] == [0.5, 0.75, 1]
    assert elastic.units_at(tau, 0.75)["ffn"].sum(axis=1).tolist() == [2, 2]


@settings(deadline=None)
@given(scores(), families, sizes, sizes)
def test_smaller_networks_are_nested_and_size_1_is_the_whole(given, family, one, other):
    tau = elastic.thresholds(given, SMALL, family)
    tau["layers"] = elastic.layer_thresholds(len(given["heads"]))
    less, more = sorted((one, other))
    smaller, larger = elastic.units_at(tau, less), elastic.units_at(tau, more)
    for kind, leaf in smaller.items():
        assert np.all(larger[kind] | ~leaf)
    assert elastic.cost_at(tau, SMALL, less) <= elastic.cost_at(tau, SMALL, more)
    assert all(leaf.all() for leaf in elastic.units_at(tau, 1.0).values())
    assert elastic.cost_at(tau, SMALL, 1.0) == total(given, SMALL)
    for leaf in tau.values():
        assert leaf.dtype == np.float32
        assert leaf.min() >= 0
        assert leaf.max() <= 1


@settings(deadline=None)
@given(scores(), sizes)
def test_free_keeps_as_much_as_its_size_allows(given, size):
    """What is left of the budget is less than the next unit in the order, so than a head."""
    tau = elastic.thresholds(given, SMALL, "free")
    left = float(np.float32(size)) * total(given, SMALL) - elastic.cost_at(tau, SMALL, size)
    assert -1e-5 <= left < SMALL["heads"]


@settings(deadline=None)
@given(scores(), st.integers(0, 12))
def test_even_keeps_equally_many_in_every_layer(given, twelfths):
    tau = elastic.thresholds(given, SMALL, "even")
    kept = elastic.units_at(tau, twelfths / 12)
    layers = len(given["heads"])
    for kind, leaf in given.items():
        count = twelfths * leaf.shape[1] // 12
        assert kept[kind].sum(axis=1).tolist() == [count] * layers
        for own, chosen in zip(leaf, kept[kind], strict=True):
            assert not chosen.any() or chosen.all() or own[chosen].min() >= own[~chosen].max()
    expected = layers * sum(
        SMALL[kind] * (twelfths * leaf.shape[1] // 12) for kind, leaf in given.items()
    )
    assert elastic.cost_at(tau, SMALL, twelfths / 12) == expected


def enumerated(given, budget):
    """Kwon et al. 2022: for every number of heads, fill up with units; the best total."""
    heads, ffn = (np.sort(given[kind].ravel())[::-1] for kind in units.UNITS)
    best = -np.inf
    for count in range(min(heads.size, budget // SMALL["heads"]) + 1):
        rest = budget - count * SMALL["heads"]
        best = max(best, heads[:count].sum() + ffn[: rest // SMALL["ffn"]].sum())
    return best


def total_at(given, tau, size):
    kept = elastic.units_at(tau, size)
    return sum(given[kind][kept[kind]].sum() for kind in units.UNITS)


@settings(deadline=None)
@given(scores())
def test_no_choice_is_better_where_an_order_fills_the_budget(given):
    """The best of every layer are made the best of all, so that they would stand first anyway."""
    for kind, leaf in given.items():
        leaf[np.arange(len(leaf)), leaf.argmax(axis=1)] += 10 * SMALL[kind]
    tau = elastic.thresholds(given, SMALL, "free")
    whole = total(given, SMALL)
    filled = {round(float(each) * whole) for leaf in tau.values() for each in leaf.ravel()}
    for budget in range(whole + 1):
        found, best = total_at(given, tau, budget / whole), enumerated(given, budget)
        assert found == best if budget in filled else found <= best


@pytest.mark.parametrize(
    ("layers", "order"),
    [(12, [3, 7, 11, 1, 5, 9]), (24, [*range(3, 24, 4), *range(1, 24, 4)]), (6, [3, 1, 5]),
     (2, [1]), (1, [])],
)  # fmt: skip
def test_layers_go_evenly_spaced_and_never_more_than_half(layers, order):
    tau = elastic.layer_thresholds(layers)
    gone = sorted(np.flatnonzero(tau), key=lambda layer: -tau[layer])
    assert gone == order
    for count in range(layers - len(order), layers + 1):
        assert np.count_nonzero(tau <= np.float32(count / layers)) == count
    assert np.count_nonzero(tau <= 0) == layers - len(order)


def test_depth_is_dynaberts():
    tau = {"layers": elastic.layer_thresholds(12), "heads": np.zeros((12, 1), np.float32)}
    for size, expected in ((0.75, [0, 1, 2, 4, 5, 6, 8, 9, 10]), (0.5, [0, 2, 4, 6, 8, 10])):
        assert np.flatnonzero(elastic.units_at(tau, size)["layers"]).tolist() == expected
        assert [int(i / size) for i in range(len(expected))] == expected


def test_units_of_a_layer_that_is_left_out_cost_nothing():
    tau = {
        "heads": np.zeros((2, 3), np.float32),
        "ffn": np.float32([[0, 1], [0, 1]]),
        "layers": np.float32([0, 0.6]),
    }
    assert elastic.cost_at(tau, SMALL, 0.5) == 3 * 4 + 1
    assert elastic.cost_at(tau, SMALL, 0.6) == 2 * (3 * 4 + 1)
    assert elastic.cost_at(tau, SMALL, 1.0) == 2 * (3 * 4 + 2)


def test_of_xlmr_base_every_unit_has_its_own_size():
    draw = np.random.default_rng(0).random
    given = {"heads": draw((12, 12)), "ffn": draw((12, 3072))}
    tau = elastic.thresholds(given, BASE, "free")
    order = np.sort(np.concatenate([leaf.ravel() for leaf in tau.values()]))
    assert len(np.unique(order)) == 144 + 36_864  # in float32, too
    for size in (0.25, 0.5, 1 / 3):
        left = size * 84_934_656 - elastic.cost_at(tau, BASE, size)
        assert -8 < left < BASE["heads"]


@settings(deadline=None, max_examples=20)
@given(scores(), families, sizes)
def test_host_and_device_agree(given, family, size):
    tau = elastic.thresholds(given, SMALL, family)
    for each in (size, *tau["ffn"][0].tolist()):
        on_device = device.present(
            {kind: jnp.asarray(leaf) for kind, leaf in tau.items()}, jnp.float32([each])
        )
        for kind, leaf in elastic.units_at(tau, each).items():
            np.testing.assert_array_equal(on_device[kind][0, 0], leaf)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([1, 3, 4, 7, 32]), st.sampled_from([0.0, 0.25, 1.0]), st.integers(0, 99))
def test_a_quarter_is_whole_a_quarter_smallest_and_the_rest_between(rows, smallest, seed):
    found = np.asarray(elastic.row_sizes(jax.random.key(seed), rows, smallest))
    quarter = rows // 4
    assert found.dtype == np.float32
    assert (found[:quarter] == 1).all()
    assert (found[quarter : 2 * quarter] == smallest).all()
    assert found.min(initial=1) >= smallest
    assert found.max(initial=0) <= 1


def test_the_rest_is_uniform():
    keys = jax.random.split(jax.random.key(0), 500)
    draw = jax.jit(jax.vmap(lambda key: elastic.row_sizes(key, 8, jnp.float32(0.25))))
    rest = np.asarray(draw(keys))[:, 4:]
    assert len(np.unique(rest)) > 1990
    counts, _ = np.histogram(rest, bins=4, range=(0.25, 1))
    assert np.abs(counts - 500).max() < 4 * np.sqrt(2000 * 0.25 * 0.75)
    assert np.abs(np.corrcoef(rest.T) - np.eye(4)).max() < 4 / np.sqrt(500)


def test_one_size_a_step():
    keys = jax.random.split(jax.random.key(0), 400)
    found = np.asarray(jax.vmap(lambda key: elastic.step_sizes(key, 5, 0.2))(keys))
    assert found.shape == (400, 5)
    assert found.dtype == np.float32
    assert (found == found[:, :1]).all()
    assert found.min() >= 0.2
    assert found.max() <= 1
    assert abs(found[:, 0].mean() - 0.6) < 4 * 0.8 / np.sqrt(12 * 400)


def test_errors():
    given = {"heads": np.ones((1, 2)), "ffn": np.ones((1, 3))}
    with pytest.raises(ValueError, match="scores are of heads; there are heads and ffn"):
        elastic.thresholds({"heads": given["heads"]}, SMALL, "free")
    with pytest.raises(ValueError, match="scores of ffn are NaN"):
        elastic.thresholds({**given, "ffn": given["ffn"] * np.nan}, SMALL, "even")
    tau = elastic.thresholds(given, SMALL, "even")
    for size in (-0.1, 1.5, np.nan):
        with pytest.raises(ValueError, match="is not between 0 and 1"):
            elastic.units_at(tau, size)


@pytest.mark.parametrize(("rule", "several"), [("rows", True), ("step", False)])
def test_a_method_draws_its_sizes_down_to_the_smallest(rule, several):
    parts = elastic.parts(lambda *given: None, "units", 4, rule, False)
    hyper = Hyper(smallest_size=jnp.float32(0.4))
    drawn = [parts["sizes"]({"tau": {}}, hyper, jax.random.key(seed), 8)[1] for seed in range(40)]
    found = np.stack([np.asarray(each) for each in drawn])
    assert (np.ptp(found, axis=1) > 0).all() == several
    assert 0.4 <= found.min() < 0.45
    assert found.max() > 0.95


def test_layers_alone_are_left_out_and_keep_all_of_their_units():
    width = {"intermediate": (4, 6), "output": (6, 4)}
    shapes = {f"attention/{name}": (4, 4) for name in ("query", "key", "value", "output")} | width
    kernels = {name: jnp.zeros((4, *shape)) for name, shape in shapes.items()}
    parts = elastic.parts(lambda *_: pytest.fail("measured"), "layers", 2, "rows", False)
    assert parts["needs"] == frozenset()
    tau = parts["order"](kernels, {}, jax.random.key(0))["tau"]
    assert sorted(tau) == ["ffn", "heads", "layers"]
    for size, layers in ((1.0, [0, 1, 2, 3]), (0.75, [0, 1, 2]), (0.5, [0, 2])):
        assert np.flatnonzero(elastic.units_at(tau, size)["layers"]).tolist() == layers
        for leaf in elastic.masks_at(tau, size, kernels).values():
            whole = [bool(layer.all()) for layer in np.asarray(leaf)]
            assert whole == [number in layers for number in range(4)]
            assert not np.asarray(leaf)[[not each for each in whole]].any()
