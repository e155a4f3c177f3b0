"""The kernels of attention with dropout, interpreted, against float64 and the plain form.

benchmarks/compiled.py --attention fused compiles them for a GPU; nothing here runs on one.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernel_cases import check_trains_alike

from alignreg_jax.models import fused_attention, xlmr
from alignreg_jax.models.attention import attend as plain
from alignreg_jax.models.fused_attention import LONGEST, attend

BATCH, HEADS, SIZE = 3, 2, 16


def lengths(length):
    return np.array([length, length // 2, 0])  # the last row is nothing but padding


def exact(query, key, value, kept, scale):
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(SIZE)
    valid = jnp.arange(query.shape[1])[None] < lengths(query.shape[1])[:, None]
    logits = jnp.where(valid[:, None, None], logits, np.finfo(np.float32).min)
    weights = jax.nn.softmax(logits, axis=-1)
    if kept is not None:
        weights = jnp.where(kept, weights * scale, 0)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value)


def both(length, dropped, dtype=jnp.float32, spread=1.0):
    """Value and three gradients: found, and by autodiff of the formula in float64."""
    draw = np.random.default_rng(length)
    shape = (BATCH, length, HEADS, SIZE)
    *parts, pull = (jnp.asarray(draw.normal(size=shape) * spread, dtype) for _ in range(4))
    valid = jnp.arange(length)[None] < lengths(length)[:, None]
    kept, scale = None, 1.0
    if dropped:
        kept, scale = jnp.asarray(draw.random((BATCH, HEADS, length, length)) < 0.7), 1 / 0.7
    value, back = jax.vjp(lambda *parts: attend(*parts, valid, kept, scale, True), *parts)
    found = [value, *back(pull)]
    assert all(each.dtype == dtype for each in found)
    with jax.enable_x64(True):
        doubles = [jnp.asarray(np.asarray(each, np.float64)) for each in (*parts, pull)]
        value, back = jax.vjp(lambda *parts: exact(*parts, kept, scale), *doubles[:3])
        expected = [np.asarray(each) for each in (value, *back(doubles[3]))]
    return [np.asarray(each, np.float64) for each in found], expected


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize(("length", "spread"), [(2, 1.0), (12, 8.0), (64, 1.0), (150, 1.0)])
def test_value_and_gradients_are_those_of_float64(length, spread, dropped):
    """One block and several, powers of 2 and others, a softmax so sharp that weights underflow."""
    for found, expected in zip(*both(length, dropped, spread=spread), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * spread**2)
        assert np.abs(expected).max() > 0.1


def test_in_bfloat16_it_is_near():
    for found, expected in zip(*both(24, True, jnp.bfloat16), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05)


def test_a_query_whose_weights_are_all_dropped_is_zero_and_moves_nothing():
    shape = (1, 20, 1, 16)
    parts = [jax.random.normal(jax.random.key(each), shape) for each in range(3)]
    kept = jnp.ones((1, 1, 20, 20), bool).at[:, :, 5].set(False)
    valid = jnp.ones((1, 20), bool)
    value, back = jax.vjp(lambda *parts: attend(*parts, valid, kept, 1.5, True), *parts)
    assert not value[0, 5].any()
    only = jnp.zeros(shape).at[0, 5].set(1.0)
    assert not any(gradient.any() for gradient in back(only))


@pytest.mark.parametrize("length", [16, 128, 256, LONGEST])
def test_programs_have_no_more_weights_than_registers_hold(length):
    blocks = fused_attention._Blocks((1, length, 1, 64))
    assert blocks.size >= 16  # the least that Triton multiplies
    assert blocks.size * blocks.whole <= fused_attention._WEIGHTS
    assert blocks.grid[2] * blocks.size >= length


def test_a_model_trains_alike_with_either(monkeypatch):
    """The same weights are dropped, so that no more than rounding differs."""
    monkeypatch.setattr(fused_attention, "attend", partial(attend, interpret=True))
    config = xlmr.XlmrConfig(50, 32, 2, 2, 64, 30, attention_dropout=0.3)
    check_trains_alike(config, {"rtol": 1e-3, "atol": 1e-6}, 1e-5, attention=("einsum", "fused"))


def test_they_are_the_plain_form_with_heads_behind_positions():
    parts = [jax.random.normal(jax.random.key(each), (2, 9, 3, 16)) for each in range(3)]
    valid = jnp.arange(9)[None] < jnp.array([9, 4])[:, None]
    expected = plain(*(jnp.swapaxes(part, 1, 2) for part in parts), valid, None, 1.0)
    found = attend(*parts, valid, None, 1.0, True)
    np.testing.assert_allclose(found, jnp.swapaxes(expected, 1, 2), atol=1e-6)
