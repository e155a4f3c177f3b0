"""Bias, GELU, LayerNorm against PyTorch's formulas in float64, differentiated by autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from alignreg_jax.models import pointwise

EPSILON = 1e-5


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape) * 2


def exact_gelu(inputs, bias):
    value = inputs + bias
    return 0.5 * value * (1 + jax.scipy.special.erf(value / np.sqrt(2)))


def exact_add_bias(inputs, bias):
    return inputs + bias


def exact_layer_norm(inputs, scale, bias):
    centred = inputs - inputs.mean(-1, keepdims=True)
    deviation = np.float64(EPSILON) + (centred**2).mean(-1, keepdims=True)
    return centred / jnp.sqrt(deviation) * scale + bias


def layer_norm(inputs, scale, bias):
    return pointwise.layer_norm(inputs, scale, bias, EPSILON)


CASES = {
    "add_bias": (pointwise.add_bias, exact_add_bias, 1),
    "gelu": (pointwise.gelu, exact_gelu, 1),
    "layer_norm": (layer_norm, exact_layer_norm, 2),
}


def both(name, shape, dtype):
    """Value and pulls of ours in `dtype` and of the exact one in float64, of the same numbers."""
    ours, exact, vectors = CASES[name]
    arguments = [jnp.asarray(draw(0, *shape), dtype)]
    arguments += [jnp.asarray(draw(seed, shape[-1]), jnp.float32) for seed in range(1, vectors + 1)]
    pull = jnp.asarray(draw(9, *shape), dtype)
    value, back = jax.vjp(ours, *arguments)
    found = [value, *back(pull)]
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        value, back = jax.vjp(exact, *(np.asarray(each, np.float64) for each in arguments))
        expected = [np.asarray(each) for each in (value, *back(jnp.asarray(pull, jnp.float64)))]
    assert [each.dtype for each in found] == [dtype, dtype, *[jnp.float32] * vectors]
    return [np.asarray(each, np.float64) for each in found], expected


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(5, 7, 16), (3, 16), (1, 1, 8)])
def test_values_and_gradients_are_those_of_float64(name, shape):
    for found, expected in zip(*both(name, shape, jnp.float32), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["add_bias", "gelu"])
def test_in_bfloat16_only_the_results_are_rounded(name):
    """Sums over rows are not: 600 of them would lose all digits."""
    (value, moved, *sums), (true_value, true_moved, *true_sums) = both(
        name, (30, 20, 16), jnp.bfloat16
    )
    np.testing.assert_allclose(value, true_value, rtol=5e-3, atol=1e-6)
    np.testing.assert_allclose(moved, true_moved, rtol=1e-2, atol=2e-2)
    for found, expected in zip(sums, true_sums, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=0.1)


@settings(deadline=None, max_examples=20)
@given(st.floats(-30, 30, width=32))
def test_gelu_is_scipys(value):
    value = np.float32(value)
    found = float(pointwise.gelu(jnp.full((1, 1), value), jnp.zeros(1))[0, 0])
    exact = 0.5 * float(value) * (1 + erf(float(value) / np.sqrt(2)))
    assert found == pytest.approx(exact, rel=1e-5, abs=1e-6)


def test_layer_norm_of_a_shifted_row_is_that_of_the_row():
    """E[x²] - E[x]² would lose it: the variance is a millionth of the mean squared."""
    row = jnp.asarray(draw(0, 1, 64), jnp.float32)
    scale, bias = jnp.ones(64), jnp.zeros(64)
    shifted = layer_norm(row + 2000, scale, bias)
    np.testing.assert_allclose(shifted, layer_norm(row, scale, bias), atol=2e-3)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 3, 5, 4)])
def test_sum_leading_axes(shape):
    values = jnp.arange(np.prod(shape), dtype=jnp.float32).reshape(shape)
    expected = np.asarray(values).reshape(-1, 4).sum(0)
    np.testing.assert_array_equal(pointwise.sum_leading_axes(values), expected)
