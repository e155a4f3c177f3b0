import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from alignreg_jax.pruning import criteria, kernels, masks
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.lamp import lamp

LAMP = jax.jit(lamp)
TOP_K = jax.jit(masks.top_k, static_argnames="scope")
MATRICES = 2 * len(KERNELS)  # of the small trees


def reference(matrix):
    """The definition in float64: a stable ascending sort, and sums from there to the end."""
    squares = np.asarray(matrix, np.float64).ravel() ** 2
    order = np.argsort(squares, kind="stable")
    sums = np.cumsum(squares[order][::-1])[::-1]
    scores = np.zeros(squares.size)
    scores[order] = np.divide(squares[order], sums, out=np.zeros(squares.size), where=sums > 0)
    return scores.reshape(np.shape(matrix))


def assert_equal(found, expected):
    for name in KERNELS:
        np.testing.assert_array_equal(found[name], expected[name], name)


# --- scores ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "scores"),
    [
        ([[1, 2], [2, 4]], [[1 / 25, 4 / 24], [4 / 20, 1]]),
        ([[4, -2], [1, 2]], [[1, 4 / 24], [1 / 25, 4 / 20]]),
        ([[3, 4]], [[9 / 25, 1]]),
        ([[30, 40]], [[9 / 25, 1]]),
        ([[10, 10], [10, 10]], [[1 / 4, 1 / 3], [1 / 2, 1]]),
        ([[0, 0], [0, -7]], [[0, 0], [0, 1]]),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
        ([[-5]], [[1]]),
    ],
)
def test_oracles(fill, matrix, scores):
    found = LAMP(fill(intermediate=matrix))
    np.testing.assert_allclose(found["intermediate"][0], scores, rtol=1e-6)
    assert not np.any(found["output"])


def test_a_global_cut_spares_the_matrix_that_magnitude_empties(fill):
    weights = fill(attention_query=[[1, 2], [2, 4]], attention_key=[[10, 10], [10, 10]])
    standing = {name: weights[name] != 0 for name in KERNELS}
    by_lamp, by_magnitude = (
        TOP_K(scores, standing, np.int32(4), scope="global")
        for scores in (LAMP(weights), criteria.magnitude(weights))
    )
    assert by_lamp["attention/query"][0].tolist() == [[False, False], [False, True]]
    assert by_lamp["attention/key"][0].tolist() == [[False, True], [True, True]]
    assert not np.any(by_magnitude["attention/query"])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), levels=st.sampled_from([1, 2, None]))
def test_equals_the_definition(make_kernels, seed, levels):
    # Few levels: many equal weights, and zeros.
    weights = make_kernels(seed, levels=levels)
    scores = LAMP(weights)
    for name in KERNELS:
        for layer in range(2):
            expected = reference(weights[name][layer])
            np.testing.assert_allclose(scores[name][layer], expected, rtol=2e-6)


# --- invariants --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), levels=st.sampled_from([1, None]))
def test_the_largest_scores_one_and_no_other_order_than_magnitude(make_kernels, seed, levels):
    weights = make_kernels(seed, levels=levels)
    scores = LAMP(weights)
    for name in KERNELS:
        for layer in range(2):
            magnitudes = np.abs(np.ravel(weights[name][layer]))
            found = np.ravel(scores[name][layer])
            assert found.min() >= 0
            assert found[magnitudes == magnitudes.max()].max() == found.max() == 1
            order = np.argsort(magnitudes, kind="stable")
            assert np.all(np.diff(found[order]) >= 0)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    exponents=st.lists(st.integers(-90, 90), min_size=MATRICES, max_size=MATRICES),
)
def test_the_scale_of_a_matrix_does_not_matter(make_kernels, seed, exponents):
    # Where squares as such would overflow or vanish, too. Powers of two round nothing.
    weights = make_kernels(seed)
    by_kernel = dict(zip(KERNELS, np.split(np.exp2(exponents), len(KERNELS)), strict=True))
    scaled = {
        name: weights[name] * jnp.asarray(by_kernel[name], jnp.float32)[:, None, None]
        for name in KERNELS
    }
    assert_equal(LAMP(scaled), LAMP(weights))
    for name, scores in LAMP({name: weights[name] * 0.3 for name in KERNELS}).items():
        np.testing.assert_allclose(scores, LAMP(weights)[name], rtol=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), kept=st.integers(MATRICES, 60))
def test_a_global_cut_empties_no_matrix(make_kernels, seed, kept):
    weights = make_kernels(seed)
    weights["output"] *= 1e-3
    mask = TOP_K(LAMP(weights), masks.ones(weights), np.int32(kept), scope="global")
    counts = np.concatenate([np.sum(mask[name], axis=(1, 2)) for name in KERNELS])
    assert counts.sum() == kept
    assert counts.min() >= 1


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), remaining=st.floats(0, 1))
def test_layer_by_layer_it_is_magnitude_pruning(make_kernels, seed, remaining):
    weights = make_kernels(seed)
    keep = masks.keep_counts(kernels.sizes(weights), remaining, "layer")
    found, expected = (
        TOP_K(scores, masks.ones(weights), keep, scope="layer")
        for scores in (LAMP(weights), criteria.magnitude(weights))
    )
    assert_equal(found, expected)


# --- precision ---------------------------------------------------------------------------------


@pytest.mark.parametrize("standing", [1.0, 0.31])
def test_the_largest_kernel_of_the_base_model(fill, standing):
    # 2.4 million weights in float32: subtracting a running sum from the total fails here.
    generator = np.random.default_rng(0)
    matrix = generator.normal(scale=0.2, size=(768, 3072)).astype(np.float32)
    matrix *= generator.random(matrix.shape) < standing
    scores = np.asarray(LAMP(fill(intermediate=matrix))["intermediate"][0])
    np.testing.assert_allclose(scores, reference(matrix), rtol=2e-6)
    order = np.argsort(np.abs(matrix), axis=None, kind="stable")
    assert scores.ravel()[order[-1]] == 1
    assert scores.max() == 1
    assert np.all(np.diff(scores.ravel()[order]) >= 0)


def test_equal_weights_by_the_million(fill):
    # Every sum is known: a weight scores one over the number of weights from it to the end.
    scores = np.asarray(LAMP(fill(output=np.full((3072, 768), -0.02)))["output"]).ravel()
    expected = 1 / np.arange(scores.size, 0, -1)
    np.testing.assert_allclose(scores, expected, rtol=2e-6)
    assert scores[-1] == 1


def test_bfloat16_kernels_are_scored_in_float32(make_kernels):
    weights = make_kernels(0, dtype=jnp.bfloat16)
    scores = LAMP(weights)
    assert scores["output"].dtype == jnp.float32
    assert_equal(
        scores, LAMP({name: kernel.astype(jnp.float32) for name, kernel in weights.items()})
    )


def test_sharded_and_compiled_equals_eager(make_kernels):
    weights = make_kernels(7, levels=3)
    axes = (2, 2) if jax.device_count() >= 4 else (1, jax.device_count())
    mesh = jax.make_mesh(axes, ("rows", "columns"), axis_types=(AxisType.Auto,) * 2)
    sharding = NamedSharding(mesh, PartitionSpec(None, "rows", "columns"))
    sharded = jax.jit(lamp, out_shardings=sharding)(jax.device_put(weights, sharding))
    assert_equal(sharded, lamp(weights))


def test_a_running_sum_taken_from_the_total_loses_the_largest_weights():
    """The authors' form in float32, one addition after the other: why the sums here start above."""
    draw = np.random.default_rng(0).normal(0, 0.04, 768 * 3072).astype(np.float32)
    squares = np.sort(draw**2)
    running = np.cumsum(squares)  # numpy adds in order, in the dtype of what it is given
    no_smaller = np.sum(squares) - running[-2]  # a sum in pairs, and so not the same total
    assert squares[-1] / no_smaller < 0.5  # 1 by the definition
