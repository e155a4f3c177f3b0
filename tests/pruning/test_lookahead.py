import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.pruning import criteria, kernels, masks
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.lookahead import lookahead

LOOKAHEAD = jax.jit(lookahead, static_argnames="boundary")
TOP_K = jax.jit(masks.top_k, static_argnames="scope")
HIDDEN = 4
HADAMARD = np.asarray([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2


@pytest.fixture
def integers(shapes):
    """Small whole numbers, of which float32 adds and multiplies exactly."""

    def make(seed):
        generator = np.random.default_rng(seed)
        return {
            name: jnp.asarray(generator.integers(-3, 4, shapes[name]), jnp.float32)
            for name in KERNELS
        }

    return make


@pytest.fixture
def layernorm():
    generator = np.random.default_rng(9)
    shapes = {"embeddings": (HIDDEN,), "attention": (2, HIDDEN), "output": (2, HIDDEN)}
    return {
        name: jnp.asarray(generator.integers(1, 5, shape) / 2, jnp.float32)
        for name, shape in shapes.items()
    }


def changes(matrix, product):
    """Squared Frobenius change of a product when one weight after the other is set to zero."""
    whole = product(matrix)
    found = np.zeros(matrix.shape)
    for position in np.ndindex(matrix.shape):
        without = matrix.copy()
        without[position] = 0
        found[position] = np.sum((whole - product(without)) ** 2)
    return found


def layer_of(tree, layer):
    return [np.asarray(tree[name][layer], np.float64) for name in KERNELS]


# --- exactness ---------------------------------------------------------------------------------


def test_oracle(fill):
    # The last kernel has one unit; the zero beside it makes the stream as wide as it reads.
    first, second, third = [[1, 2], [3, 4]], [[1, -1], [2, 0.5]], [[2, 0], [1, 0]]
    neutral = dict.fromkeys(("attention_query", "attention_key", "attention_value"), np.eye(2))
    weights = fill(**neutral, attention_output=first, intermediate=second, output=third)
    scores = LOOKAHEAD(weights, boundary="chain")
    assert scores["attention/output"][0].tolist() == [[2, 17], [18, 68]]
    assert scores["intermediate"][0].tolist() == [[40, 10], [320, 5]]
    assert scores["output"][0].tolist() == [[20, 0], [1.25, 0]]
    matrices = (np.asarray(matrix, np.float64) for matrix in (first, second, third))
    before, middle, after = matrices
    brute_force = changes(middle, lambda matrix: before @ matrix @ after)
    np.testing.assert_array_equal(scores["intermediate"][0], brute_force)


@pytest.mark.parametrize("seed", range(3))
def test_block_is_the_change_of_the_products_inside_a_block(integers, seed):
    weights = integers(seed)
    scores = LOOKAHEAD(weights)
    for layer in range(2):
        query, key, value, attention_output, intermediate, output = layer_of(weights, layer)
        expected = {
            "attention/query": changes(query, lambda matrix, key=key: matrix @ key.T),
            "attention/key": changes(key, lambda matrix, query=query: query @ matrix.T),
            "attention/value": changes(value, lambda matrix, o=attention_output: matrix @ o),
            "attention/output": changes(attention_output, lambda matrix, v=value: v @ matrix),
            "intermediate": changes(intermediate, lambda matrix, o=output: matrix @ o),
            "output": changes(output, lambda matrix, i=intermediate: i @ matrix),
        }
        for name in KERNELS:
            np.testing.assert_array_equal(scores[name][layer], expected[name], name)
            assert expected[name].max() > 0


@pytest.mark.parametrize("seed", range(3))
def test_residual_is_the_change_with_all_that_writes_and_reads_the_stream(
    integers, layernorm, seed
):
    # The identity of the skip connection stands beside the writer or readers, scaled alike.
    weights = integers(seed)
    scores = LOOKAHEAD(weights, boundary="residual", layernorm=layernorm)
    scale = {name: np.asarray(scales, np.float64) for name, scales in layernorm.items()}
    one = np.eye(HIDDEN)
    layers = [layer_of(weights, layer) for layer in range(2)]
    for layer, (query, key, value, attention_output, intermediate, output) in enumerate(layers):
        # What comes in: (1, the previous output), through the LayerNorm after it
        reads = one * scale["embeddings"]
        if layer:
            reads = np.vstack([one, layers[layer - 1][-1]]) * scale["output"][layer - 1]
        middle = scale["attention"][layer]
        writes = middle[:, None] * np.hstack([one, intermediate])
        reads_middle = np.vstack([one, attention_output]) * middle
        leaves = one
        if layer == 0:
            leaves = scale["output"][0][:, None] * np.hstack([one, *layers[1][:3]])
        expected = {
            "attention/query": changes(query, lambda m, r=reads, k=key: r @ m @ k.T),
            "attention/key": changes(key, lambda m, r=reads, q=query: r @ m @ q.T),
            "attention/value": changes(value, lambda m, r=reads, o=attention_output: r @ m @ o),
            "attention/output": changes(attention_output, lambda m, v=value, w=writes: v @ m @ w),
            "intermediate": changes(intermediate, lambda m, r=reads_middle, o=output: r @ m @ o),
            "output": changes(output, lambda m, i=intermediate, w=leaves: i @ m @ w),
        }
        for name in KERNELS:
            np.testing.assert_allclose(
                scores[name][layer], expected[name], rtol=1e-6, err_msg=f"{name} {layer}"
            )


def test_chain_is_the_change_of_three_kernels_in_their_order(integers):
    weights = integers(0)
    scores = LOOKAHEAD(weights, boundary="chain")
    order = list(itertools.product(range(2), KERNELS))
    chain = [np.asarray(weights[name][layer], np.float64) for layer, name in order]
    ends = [np.eye(HIDDEN), *chain, np.eye(HIDDEN)]
    for index, (layer, name) in enumerate(order):
        before, after = ends[index], ends[index + 2]
        expected = changes(chain[index], lambda m, b=before, a=after: b @ m @ a)
        np.testing.assert_array_equal(scores[name][layer], expected, f"{name} {layer}")


def test_residual_without_scales_is_refused(make_kernels):
    with pytest.raises(ValueError, match="boundary='residual' needs the scales in layernorm"):
        lookahead(make_kernels(0), boundary="residual")


# --- invariants --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), remaining=st.floats(0.05, 1))
def test_orthonormal_neighbours_give_the_order_of_magnitudes(fill, seed, remaining):
    # Rows and columns of a Hadamard matrix, in any order and with any signs: exactly orthonormal.
    generator = np.random.default_rng(seed)

    def orthonormal():
        signs = generator.choice([-1, 1], (2, HIDDEN))
        rows, columns = (generator.permutation(HIDDEN) for _ in range(2))
        return (HADAMARD * signs[0] * signs[1][:, None])[rows][:, columns]

    weights = fill(
        attention_query=generator.normal(size=(HIDDEN, HIDDEN)),
        attention_key=orthonormal(),
        attention_value=orthonormal(),
        attention_output=generator.normal(size=(HIDDEN, HIDDEN)),
        intermediate=generator.normal(size=(HIDDEN, HIDDEN)),
        output=orthonormal(),
    )
    scores = LOOKAHEAD(weights)
    keep = masks.keep_counts(kernels.sizes(weights), remaining, "layer")
    found, expected = (
        TOP_K(each, masks.ones(weights), keep, scope="layer")
        for each in (scores, criteria.magnitude(weights))
    )
    for name in ("attention/query", "attention/output", "intermediate"):
        np.testing.assert_array_equal(scores[name], np.square(np.asarray(weights[name])))
        np.testing.assert_array_equal(found[name], expected[name])


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    unit=st.integers(0, HIDDEN - 1),
    exponent=st.integers(-6, 6).filter(bool),
)
def test_an_exchange_of_scale_between_neighbours_changes_nothing(
    make_kernels, seed, unit, exponent
):
    # Powers of two, so that nothing is rounded. Magnitudes do change.
    weights, scale = make_kernels(seed), 2.0**exponent
    exchanged = {
        "attention/query": weights["attention/query"].at[:, :, unit].multiply(scale),
        "attention/key": weights["attention/key"].at[:, :, unit].divide(scale),
        "attention/value": weights["attention/value"].at[:, :, unit].multiply(scale),
        "attention/output": weights["attention/output"].at[:, unit, :].divide(scale),
        "intermediate": weights["intermediate"].at[:, :, unit].multiply(scale),
        "output": weights["output"].at[:, unit, :].divide(scale),
    }
    scores, same = LOOKAHEAD(weights), LOOKAHEAD(exchanged)
    for name in KERNELS:
        np.testing.assert_array_equal(scores[name], same[name], name)
        assert np.any(criteria.magnitude(weights)[name] != criteria.magnitude(exchanged)[name])


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31), boundary=st.sampled_from(["block", "residual", "chain"]))
def test_signs_do_not_matter(make_kernels, seed, boundary):
    norm = {"embeddings": jnp.ones(HIDDEN), "attention": jnp.ones((2, HIDDEN))}
    norm["output"] = jnp.ones((2, HIDDEN)) * 2
    weights = make_kernels(seed)
    scores, flipped = (
        LOOKAHEAD(tree, boundary=boundary, layernorm=norm)
        for tree in (weights, jax.tree.map(jnp.negative, weights))
    )
    for name in KERNELS:
        np.testing.assert_array_equal(scores[name], flipped[name])
        assert np.all(np.asarray(scores[name]) > 0)


def test_weights_that_lead_to_a_dead_unit_are_worth_nothing(make_kernels):
    weights = make_kernels(0)
    weights["output"] = weights["output"].at[1, 5].set(0.0)
    scores = np.asarray(LOOKAHEAD(weights)["intermediate"])
    assert np.all(scores[1, :, 5] == 0)
    assert np.count_nonzero(scores) == scores.size - HIDDEN


# --- precision ---------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["block", "residual", "chain"])
def test_jit_equals_eager(integers, layernorm, boundary):
    run = partial(lookahead, boundary=boundary, layernorm=layernorm)
    weights = integers(4)
    eager, compiled = run(weights), jax.jit(run)(weights)
    for name in KERNELS:
        np.testing.assert_array_equal(eager[name], compiled[name])


def test_bfloat16_kernels_are_scored_in_float32(make_kernels):
    weights = make_kernels(0, dtype=jnp.bfloat16)
    wide = {name: kernel.astype(jnp.float32) for name, kernel in weights.items()}
    scores, expected = LOOKAHEAD(weights), LOOKAHEAD(wide)
    for name in KERNELS:
        assert scores[name].dtype == jnp.float32
        np.testing.assert_array_equal(scores[name], expected[name])
