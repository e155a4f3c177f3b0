"""Attention with its own backward pass against autodiff of the plain formula in float64."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignreg_jax.models.attention import attend, why_not_cudnn

BATCH, HEADS, LENGTH, SIZE = 3, 2, 7, 8
LENGTHS = np.array([7, 4, 0])  # the last row is nothing but padding
VALID = jnp.arange(LENGTH)[None] < LENGTHS[:, None]


def draw(seed, dtype=jnp.float32, scale=1.0):
    values = np.random.default_rng(seed).normal(size=(BATCH, HEADS, LENGTH, SIZE))
    return jnp.asarray(values * scale, dtype)


def exact(query, key, value, kept, scale):
    logits = jnp.einsum("bhqd,bhkd->bhqk", query, key) / np.sqrt(SIZE)
    logits = jnp.where(VALID[:, None, None], logits, np.finfo(np.float32).min)
    weights = jax.nn.softmax(logits, axis=-1)
    if kept is not None:
        weights = jnp.where(kept, weights * scale, 0)
    return jnp.einsum("bhqk,bhkd->bhqd", weights, value)


def both(kept, scale, dtype=jnp.float32, spread=1.0):
    parts, pull = [draw(seed, dtype, spread) for seed in range(3)], draw(9, dtype)
    value, back = jax.vjp(lambda *parts: attend(*parts, VALID, kept, scale), *parts)
    found = [value, *back(pull)]
    assert all(each.dtype == dtype for each in found)
    with jax.enable_x64(True):
        doubles = [jnp.asarray(np.asarray(each, np.float64)) for each in (*parts, pull)]
        value, back = jax.vjp(lambda *parts: exact(*parts, kept, scale), *doubles[:3])
        expected = [np.asarray(each) for each in (value, *back(doubles[3]))]
    return [np.asarray(each, np.float64) for each in found], expected


KEPT = jax.random.bernoulli(jax.random.key(0), 0.7, (BATCH, HEADS, LENGTH, LENGTH))


@pytest.mark.parametrize(("kept", "scale"), [(None, 1.0), (KEPT, 1 / 0.7)])
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_value_and_gradients_are_those_of_float64(kept, scale, spread):
    """Also where softmax is so sharp that most weights underflow."""
    for found, expected in zip(*both(kept, scale, spread=spread), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * spread)
        assert np.abs(expected).max() > 0.1


def test_in_bfloat16_it_is_near():
    for found, expected in zip(*both(KEPT, 1 / 0.7, jnp.bfloat16), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05)


def test_in_bfloat16_dropped_weights_keep_their_mean():
    """Forward and backward with the same scale, which bfloat16 would round 0.16 % down."""
    scale, ones = 1 / 0.9, jnp.ones((BATCH, HEADS, LENGTH, LENGTH), bool)
    parts = [draw(seed, jnp.bfloat16) for seed in range(3)]
    with_, without = (
        np.asarray(attend(*parts, VALID, kept, factor), np.float64)
        for kept, factor in ((ones, scale), (None, 1.0))
    )
    assert (with_ * without).sum() / (without**2).sum() == pytest.approx(scale, rel=1e-3)


def test_all_dropped_passes_nothing():
    none = jnp.zeros((BATCH, HEADS, LENGTH, LENGTH), bool)
    found, _ = both(none, 2.0)
    for each in found:
        np.testing.assert_array_equal(each, 0)


def test_products_of_float32_are_float32_on_accelerators():
    """Forward and backward: by default they would be TensorFloat-32 on a GPU, bfloat16 on a TPU."""

    def dots(dtype):
        parts = [draw(seed, dtype) for seed in range(3)]

        def loss(*parts):
            return jnp.sum(attend(*parts, VALID, None, 1.0).astype(jnp.float32))

        text = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*parts).as_text()
        return [line for line in text.splitlines() if "dot_general" in line]

    wide, narrow = dots(jnp.float32), dots(jnp.bfloat16)
    assert len(wide) >= 5
    assert all("HIGHEST" in line for line in wide)
    assert not any("HIGHEST" in line for line in narrow)


A100 = SimpleNamespace(device_kind="A100", compute_capability="8.0")
CPU = SimpleNamespace(device_kind="cpu")


def test_what_keeps_cudnn_from_it():
    assert why_not_cudnn(64, jnp.dtype("bfloat16"), A100) is None
    assert why_not_cudnn(64, jnp.dtype("float32"), A100) == "needs model.dtype=bfloat16"
    assert "this is cpu" in str(why_not_cudnn(64, jnp.dtype("bfloat16"), CPU))


def test_a_shared_offset_of_keys_and_values_stays_out_of_the_gradient_of_queries():
    """Softmax ignores it, so it must cancel: in dO · O, of a rounded context, it does not."""
    parts = [draw(seed, jnp.bfloat16) for seed in range(3)]
    parts = [parts[0], *((part + 3).astype(jnp.bfloat16) for part in parts[1:])]
    whole = jnp.ones((BATCH, LENGTH), bool)
    pull = draw(9, jnp.bfloat16)
    _, back = jax.vjp(lambda *parts: attend(*parts, whole, None, 1.0), *parts)
    found = np.asarray(back(pull)[0], np.float64)
    with jax.enable_x64(True):
        doubles = [jnp.asarray(np.asarray(each, np.float64)) for each in (*parts, pull)]

        def plain(query, key, value):
            scores = jnp.einsum("bhqd,bhkd->bhqk", query, key) / np.sqrt(SIZE)
            return jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores, axis=-1), value)

        _, back = jax.vjp(plain, *doubles[:3])
        right = np.asarray(back(doubles[3])[0])
    assert np.linalg.norm(found - right) < 0.03 * np.linalg.norm(right)
