"""Masks of the best weights by layer or together: their counts, order and invariances."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec
from mask_cases import SCOPES, TOP_K, assert_equal, prune, total

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import criteria, kernels, masks
from alignreg_jax.pruning.kernels import KERNELS


def reference_top_k(scores, old, keep, scope):
    """The definition, by a full stable sort: standing first, NaN last, score, position."""
    new = {name: np.zeros(old[name].shape, bool) for name in KERNELS}
    cuts = [[(name, layer)] for name in KERNELS for layer in range(old[name].shape[0])]
    counts = [keep[name][layer] for [(name, layer)] in cuts] if scope == "layer" else [keep]
    if scope == "global":
        cuts = [[matrix for cut in cuts for matrix in cut]]
    for cut, count in zip(cuts, counts, strict=True):
        standing = np.concatenate([np.ravel(old[name][layer]) for name, layer in cut])
        values = np.concatenate([np.ravel(scores[name][layer]) for name, layer in cut])
        values = np.asarray(values, np.float64)
        unknown = np.isnan(values)
        order = np.lexsort((-np.where(unknown, 0, values), unknown, ~standing))
        kept = np.zeros(standing.size, bool)
        kept[order[:count]] = True
        start = 0
        for name, layer in cut:
            size = old[name][layer].size
            new[name][layer] = (kept & standing)[start : start + size].reshape(
                old[name][layer].shape
            )
            start += size
    return new


# --- counts ------------------------------------------------------------------------------------


def test_counts_come_from_the_cumulative_target():
    # Ten cuts of a tenth, rounded one after the other, lose a weight that the target keeps.
    compounded = 768 * 3072
    for _ in range(10):
        compounded = round(compounded * 0.9)
    sizes = dict.fromkeys(KERNELS, (1, 768 * 3072))
    assert compounded == 822_635
    assert masks.keep_counts(sizes, 0.9**10, "layer")["output"] == 822_636


def test_counts_keep_everything_at_remaining_one(xlmr_base):
    assert masks.keep_counts(xlmr_base, 1.0, "global") == 84_934_656
    by_layer = masks.keep_counts(xlmr_base, 1.0, "layer")
    assert {name: (len(counts), counts[0]) for name, counts in by_layer.items()} == xlmr_base
    assert by_layer["output"].dtype == np.int32


def test_a_cut_that_a_counter_cannot_hold_is_refused():
    sizes = dict.fromkeys(KERNELS, (48, 10_000_000))
    assert masks.keep_counts(sizes, 0.5, "layer")["output"][47] == 5_000_000
    with pytest.raises(UserError, match=r"use pruning\.scope=layer"):
        masks.keep_counts(sizes, 0.5, "global")


# --- one cut -----------------------------------------------------------------------------------


def test_layer_and_global_magnitude_oracle(fill):
    weights = fill(attention_query=[[1, -2], [3, -4]], attention_key=[[0.1, 0.2], [0.3, 0.4]])
    standing = {name: weights[name] != 0 for name in KERNELS}
    half = dict.fromkeys(KERNELS, np.full(1, 2, np.int32))
    by_layer = TOP_K["layer"](criteria.magnitude(weights), standing, half)
    assert by_layer["attention/query"].ravel().tolist() == [False, False, True, True]
    assert by_layer["attention/key"].ravel().tolist() == [False, False, True, True]
    together = TOP_K["global"](criteria.magnitude(weights), standing, np.int32(4))
    assert total(together) == 4
    assert together["attention/query"].all()


@pytest.mark.parametrize("scope", SCOPES)
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    levels=st.sampled_from([1, 2, 50, None]),
    remaining=st.floats(0, 1),
    standing=st.sampled_from([1.0, 0.7]),
)
def test_equals_a_full_stable_sort(make_kernels, scope, seed, levels, remaining, standing):
    scores = make_kernels(seed, levels=levels)
    generator = np.random.default_rng(seed)
    old = {name: jnp.asarray(generator.random(scores[name].shape) < standing) for name in KERNELS}
    keep = masks.keep_counts(kernels.sizes(scores), remaining, scope)
    assert_equal(TOP_K[scope](scores, old, keep), reference_top_k(scores, old, keep, scope))


@pytest.mark.parametrize("scope", SCOPES)
@settings(deadline=None, max_examples=30)
@given(
    values=st.lists(st.floats(width=32), min_size=3, max_size=8),
    seed=st.integers(0, 2**31),
    remaining=st.floats(0, 1),
)
def test_orders_every_float(shapes, scope, values, seed, remaining):
    pool = np.asarray([*values, 0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, np.nan], np.float32)
    generator = np.random.default_rng(seed)
    scores = {name: jnp.asarray(generator.choice(pool, shapes[name])) for name in KERNELS}
    old = {name: jnp.asarray(generator.random(shapes[name]) < 0.8) for name in KERNELS}
    keep = masks.keep_counts(kernels.sizes(scores), remaining, scope)
    assert_equal(TOP_K[scope](scores, old, keep), reference_top_k(scores, old, keep, scope))


@pytest.mark.parametrize("scope", SCOPES)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), levels=st.sampled_from([1, None]), fraction=st.floats(0, 0.6))
def test_masks_have_exact_counts_and_are_nested(make_kernels, scope, seed, levels, fraction):
    weights = make_kernels(seed, levels=levels)
    current = masks.ones(weights)
    for step in range(1, 5):
        # Retraining changes every weight between two cuts, the pruned ones included.
        weights = jax.tree.map(jnp.add, weights, make_kernels(seed + step, levels=levels))
        new, keep = prune(weights, current, (1 - fraction) ** step, scope)
        if scope == "layer":
            for name in KERNELS:
                np.testing.assert_array_equal(np.sum(new[name], (1, 2)), keep[name])
        else:
            assert total(new) == keep
        assert all(bool(jnp.all(new[name] <= current[name])) for name in KERNELS)
        current = new


@pytest.mark.parametrize("scope", SCOPES)
def test_ties_go_to_the_lower_position(shapes, scope):
    scores = {name: jnp.ones(shapes[name]) for name in KERNELS}
    if scope == "layer":
        keep = {name: np.asarray([7, 3], np.int32) for name in KERNELS}
        for name, mask in TOP_K[scope](scores, masks.ones(scores), keep).items():
            for layer, count in enumerate((7, 3)):
                flat = np.ravel(mask[layer])
                assert flat[:count].all(), name
                assert not flat[count:].any(), name
    else:
        # Query holds the first 32 positions; 13 are left for key, in its first layer: a row of 4,
        # two more rows, and one weight of the last.
        mask = TOP_K[scope](scores, masks.ones(scores), np.int32(32 + 13))
        assert mask["attention/query"].all()
        assert np.flatnonzero(mask["attention/key"]).tolist() == list(range(13))
        assert total(mask) == 45


@pytest.mark.parametrize("scope", SCOPES)
def test_asking_for_more_than_stands_brings_nothing_back(make_kernels, scope):
    weights = make_kernels(0)
    old, _ = prune(weights, masks.ones(weights), 0.4, scope)
    new, _ = prune(weights, old, 0.9, scope)
    assert_equal(new, old)


@pytest.mark.parametrize("scope", SCOPES)
def test_everything_and_nothing(make_kernels, scope):
    weights = make_kernels(0)
    assert total(prune(weights, masks.ones(weights), 1.0, scope)[0]) == 2 * (4 * 16 + 2 * 32)
    assert total(prune(weights, masks.ones(weights), 0.0, scope)[0]) == 0


def test_rows_too_long_for_a_16_bit_count():
    # 65,535 is the last length counted in 16 bits.
    for length in (65_535, 65_536):
        scores = {name: jnp.ones((1, 1, 2)) for name in KERNELS}
        scores["intermediate"] = jnp.ones((1, 2, length))
        keep = masks.keep_counts(kernels.sizes(scores), 1.0, "layer")
        mask = TOP_K["layer"](scores, masks.ones(scores), keep)
        assert masks.statistics(scores, mask)["kept_by_layer"]["intermediate"] == [2 * length]
        keep["intermediate"] = np.asarray([length + 5], np.int32)
        mask = TOP_K["layer"](scores, masks.ones(scores), keep)
        assert np.sum(mask["intermediate"], -1).tolist() == [[length, 5]]


@pytest.mark.parametrize("scope", SCOPES)
def test_stacks_of_any_names_are_cut_too_in_the_order_of_the_alphabet(scope):
    draw = np.random.default_rng(0)
    shapes = {"mlp/b": (2, 3, 5), "mlp/a": (1, 4, 4), "output": (1, 2, 2)}
    scores = {name: jnp.asarray(draw.integers(0, 3, shape), jnp.float32)
              for name, shape in shapes.items()}  # fmt: skip
    counts = masks.keep_counts(kernels.sizes(scores), 0.4, scope)
    kept = jax.jit(partial(masks.top_k, scope=scope))(scores, masks.ones(scores), counts)
    order = ["output", "mlp/a", "mlp/b"]  # a name of ours comes first
    matrices = [(name, layer) for name in order for layer in range(shapes[name][0])]
    cuts = [matrices] if scope == "global" else [[matrix] for matrix in matrices]
    for cut in cuts:
        flat = np.concatenate([np.asarray(scores[name][layer]).ravel() for name, layer in cut])
        best = np.argsort(-flat, kind="stable")[: round(len(flat) * 0.4)]
        expected = np.isin(np.arange(len(flat)), best)
        found = np.concatenate([np.asarray(kept[name][layer]).ravel() for name, layer in cut])
        np.testing.assert_array_equal(found, expected)
    assert masks.statistics(scores, kept)["prunable"] == 30 + 16 + 4


# --- invariances -------------------------------------------------------------------------------


def test_layer_wise_ignores_the_scale_of_a_matrix_and_global_does_not(make_kernels):
    weights = make_kernels(3)
    scaled = {**weights, "output": weights["output"] * jnp.asarray([8.0, 1.0])[:, None, None]}
    dense = masks.ones(weights)
    assert_equal(prune(scaled, dense, 0.3, "layer")[0], prune(weights, dense, 0.3, "layer")[0])
    together, rescaled = (prune(tree, dense, 0.3, "global")[0] for tree in (weights, scaled))
    assert np.sum(rescaled["output"][0]) > np.sum(together["output"][0])


@pytest.mark.parametrize("scope", SCOPES)
def test_magnitude_ignores_signs(make_kernels, scope):
    weights = make_kernels(4)
    flipped = {name: -weights[name] for name in KERNELS}
    dense = masks.ones(weights)
    assert_equal(prune(weights, dense, 0.3, scope)[0], prune(flipped, dense, 0.3, scope)[0])


def test_layer_wise_equals_global_when_only_one_matrix_stands(fill):
    weights = fill(intermediate=np.random.default_rng(0).normal(size=(6, 10)))
    standing = {name: weights[name] != 0 for name in KERNELS}
    by_layer = dict.fromkeys(KERNELS, np.zeros(1, np.int32)) | {
        "intermediate": np.asarray([17], np.int32)
    }
    scores = criteria.magnitude(weights)
    found = TOP_K["layer"](scores, standing, by_layer)
    assert total(found) == 17
    assert_equal(found, TOP_K["global"](scores, standing, np.int32(17)))


@pytest.mark.parametrize("scope", SCOPES)
def test_jit_equals_eager(make_kernels, scope):
    weights = make_kernels(5, levels=2)
    eager, keep = prune(
        weights, masks.ones(weights), 0.37, scope, partial(masks.top_k, scope=scope)
    )
    assert_equal(eager, TOP_K[scope](criteria.magnitude(weights), masks.ones(weights), keep))


@pytest.mark.parametrize("scope", SCOPES)
def test_compiles_once_for_all_steps(make_kernels, scope):
    traces = []

    @jax.jit
    def step(scores, old, keep):
        traces.append(scope)
        return masks.top_k(scores, old, keep, scope)

    weights = make_kernels(6)
    current = masks.ones(weights)
    for remaining in (0.9, 0.5, 0.1):
        current, _ = prune(weights, current, remaining, scope, step)
    assert traces == [scope]


@pytest.mark.parametrize("scope", SCOPES)
def test_only_compares_counts_and_selects(make_kernels, scope):
    weights = make_kernels(0)
    keep = masks.keep_counts(kernels.sizes(weights), 0.5, scope)
    program = str(jax.make_jaxpr(TOP_K[scope])(weights, masks.ones(weights), keep))
    operations = {
        line.split("=", 1)[1].split()[0].split("[")[0]
        for line in program.splitlines()
        if " = " in line
    }
    assert "reduce_sum" in operations
    assert not operations & {"sort", "top_k", "gather", "scatter", "scatter-add", "dynamic_slice"}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.sharded
def test_sharded_equals_unsharded(make_kernels, scope):
    weights = make_kernels(7, levels=3)
    old, _ = prune(weights, masks.ones(weights), 0.8, scope)
    expected, keep = prune(weights, old, 0.4, scope)
    mesh = jax.make_mesh((2, 2), ("rows", "columns"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    sharding = NamedSharding(mesh, PartitionSpec(None, "rows", "columns"))
    place = partial(jax.device_put, device=sharding)
    found = TOP_K[scope](place(criteria.magnitude(weights)), place(old), keep)
    assert found["output"].sharding.is_equivalent_to(sharding, 3)
    assert_equal(found, expected)
