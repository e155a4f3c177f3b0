"""The kernel at the end of a layer's halves, interpreted, against float64 and the plain form.

benchmarks/compiled.py --norm fused compiles it for a GPU; nothing here runs on one.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernel_cases import check_trains_alike

from alignreg_jax.models import fused_norm, xlmr
from alignreg_jax.models.fused_norm import Update, add_and_normalize

EPSILON = 1e-5


def exact(hidden, product, bias, scale, shift, kept, left):
    added = product + bias
    if kept is not None:
        added = jnp.where(kept, added * left, 0)
    found = hidden + added
    away = found - jnp.mean(found, -1, keepdims=True)
    variance = jnp.mean(away**2, -1, keepdims=True)
    return away / jnp.sqrt(variance + EPSILON) * scale + shift


def both(shape, dropped, dtype=jnp.float32, twice=True):
    """Value, the same in `dtype`, and five gradients: found, and of the formula in float64."""
    draw = np.random.default_rng(shape[-1])
    drawn = {name: jnp.asarray(draw.normal(size=shape), jnp.float32) for name in ("hidden", "pull")}
    narrow = [jnp.asarray(draw.normal(size=shape) * 2, dtype) for _ in range(2)]
    bias, scale, shift = (jnp.asarray(draw.normal(size=shape[-1:]), jnp.float32) for _ in range(3))
    kept, left = None, 1.0
    if dropped:
        kept, left = jnp.asarray(draw.random(shape) < 0.7), 1 / 0.7

    def fused(hidden, product, bias, scale, shift):
        update = Update(product, bias, kept, left)
        return add_and_normalize(hidden, update, scale, shift, EPSILON, twice=twice, interpret=True)

    given = drawn["hidden"], narrow[0], bias, scale, shift
    values, back = jax.vjp(fused, *given)
    pulls = (drawn["pull"], narrow[1])[: 1 + twice]
    assert [each.dtype for each in values] == [jnp.float32, dtype][: 1 + twice]
    found = [*values, *back(pulls)]
    assert [each.dtype for each in found[1 + twice :]] == [each.dtype for each in given]
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        doubles = [jnp.asarray(np.asarray(each, np.float64)) for each in (*given, *pulls)]
        value, back = jax.vjp(lambda *parts: exact(*parts, kept, left), *doubles[:5])
        expected = [*[value] * (1 + twice), *back(sum(doubles[5:]))]
        expected = [np.asarray(each) for each in expected]
    return [np.asarray(each, np.float64) for each in found], expected


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize(
    "shape", [(3, 5, 64), (7, 24), (2, 130, 48)], ids=["power-of-2", "narrow", "several-blocks"]
)
def test_value_and_gradients_are_those_of_float64(shape, dropped):
    for found, expected in zip(*both(shape, dropped), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5 * expected.std())
        assert expected.std() > 0.1


@pytest.mark.parametrize("rows", [1, 37, 64])
def test_programs_that_take_several_blocks_in_turns_leave_none_out(monkeypatch, rows):
    monkeypatch.setattr(fused_norm, "_ELEMENTS", 128)
    monkeypatch.setattr(fused_norm, "_PULLED", 64)
    monkeypatch.setattr(fused_norm, "_PROGRAMS", 3)
    for found, expected in zip(*both((rows, 24), True), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("twice", [False, True])
def test_in_bfloat16_it_is_near(twice):
    for found, expected in zip(*both((6, 40), True, jnp.bfloat16, twice), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.05)


@pytest.mark.parametrize(("even", "dtype"), [(False, jnp.float32), (True, jnp.bfloat16)])
def test_a_model_trains_alike_with_either(monkeypatch, even, dtype):
    """The same units are dropped, so that no more than rounding differs."""
    kernel = partial(add_and_normalize, interpret=True)
    monkeypatch.setattr(fused_norm, "add_and_normalize", kernel)
    config = xlmr.XlmrConfig(50, 32, 2, 2, 64, 30, hidden_dropout=0.3)
    if not even:
        config = config.with_sizes((2, 1), (64, 20))
    near, value_near = {"rtol": 1e-3, "atol": 1e-5}, 1e-5
    if dtype == jnp.bfloat16:
        near, value_near = {"rtol": 0.05, "atol": 0.02}, 0.05
    check_trains_alike(config, near, value_near, norm=("plain", "fused"), dtype=dtype)


def test_the_next_product_reads_the_narrow_copy(monkeypatch):
    """Nothing in a layer's forward pass rounds what the kernel has rounded already."""
    monkeypatch.setattr(fused_norm, "add_and_normalize", partial(add_and_normalize, interpret=True))
    config = xlmr.XlmrConfig(50, 32, 1, 2, 64, 30)
    ids, lengths = jnp.ones((2, 8), int), jnp.array([8, 8])
    rounded = {}
    for norm in ("plain", "fused"):
        model = xlmr.XlmrModel(config, "linear", 3, norm=norm, dtype=jnp.bfloat16, unroll=1)
        params = xlmr.init_params(model, jax.random.key(0))
        text = str(jax.make_jaxpr(partial(xlmr.logits, model))(params, ids, lengths))
        rounded[norm] = text.count("bf16[2,8,32] = convert_element_type")
    # Two sums with a bias, which the kernel rounds, and what the feed-forward half reads
    assert rounded["fused"] == rounded["plain"] - 3
