"""Products in bfloat16 against float64 ones of the same rounded operands."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import print_saved_residuals

from alignreg_jax.models import xlmr
from alignreg_jax.models.architecture import XlmrConfig
from alignreg_jax.models.products import einsum, precision, times
from alignreg_jax.models.xlmr import XlmrModel

# Of the largest result, half a unit in the last place: bfloat16 has 8 binary digits, float32 24
ROUNDED = {"bfloat16": 2.0**-8, "float32": 2.0**-20}


def drawn(dtype: str, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(sum(shape)), shape).astype(dtype)


def doubles(*parts: jax.Array) -> list[np.ndarray]:
    return [np.asarray(part.astype(jnp.float32), np.float64) for part in parts]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("rows", [(7,), (5, 300)])
def test_value_and_gradients_are_those_of_float64_rounded_once(dtype, rows):
    inputs, kernel = drawn(dtype, *rows, 96), drawn(dtype, 96, 40)
    pull = drawn(dtype, *rows, 40)
    value, back = jax.vjp(times, inputs, kernel)
    found = [value, *back(pull)]
    left, right, above = doubles(inputs, kernel, pull)
    flat = left.reshape(-1, 96)
    expected = [left @ right, above @ right.T, flat.T @ above.reshape(-1, 40)]
    for each, exact in zip(found, expected, strict=True):
        assert each.dtype == dtype
        assert each.shape == exact.shape
        error = np.abs(doubles(each)[0] - exact)
        allowed = ROUNDED[dtype] * np.abs(exact) + 2.0**-18 * np.abs(exact).max()
        assert (error <= allowed).all(), (error / allowed).max()


def test_a_long_sum_keeps_growing_in_bfloat16():
    # Added up in bfloat16, ones stop growing at 256
    ones = jnp.ones((1, 4096), jnp.bfloat16)
    assert float(einsum("ab,ab->a", ones, ones)[0]) == 4096.0


def test_a_processor_is_asked_for_sums_in_float32_in_both_passes():
    inputs, kernel = drawn("bfloat16", 4, 8), drawn("bfloat16", 8, 8)

    def both(inputs, kernel):
        value, back = jax.vjp(times, inputs, kernel)
        return back(value)

    products = [
        equation
        for equation in jax.make_jaxpr(both)(inputs, kernel).jaxpr.eqns
        if "dot_general" in str(equation)
    ]
    text = "\n".join(str(equation) for equation in products)
    assert text.count("preferred_element_type=float32") == 3, text


def test_precision_is_raised_for_float32_alone():
    assert precision(jnp.dtype("float32")) == jax.lax.Precision.HIGHEST
    assert precision(jnp.dtype("bfloat16")) is None


@pytest.mark.parametrize(("dtype", "short"), [("bfloat16", "bf16"), ("float32", "f32")])
def test_a_loop_over_layers_keeps_products_as_they_are_rounded(dtype, short, capsys):
    """Neither computed again in the backward pass nor kept as they were summed; with remat none."""
    config = XlmrConfig(64, 32, 3, 4, 48, 40)
    ids, lengths = jnp.full((2, 8), 7), jnp.array([8, 5])
    kept = {}
    for remat in (False, True):
        model = XlmrModel(config, "linear", 3, dtype=jnp.dtype(dtype), unroll=1, remat=remat)
        params = xlmr.init_params(model, jax.random.key(0))
        print_saved_residuals(
            lambda params, model=model: xlmr.logits(
                model, params, ids, lengths, jax.random.key(1)
            ).sum(),
            params,
        )
        lines = capsys.readouterr().out.splitlines()
        found = [line.split(" ")[0] for line in lines]
        kept[remat] = {shape: found.count(shape) for shape in found}
    # The feed-forward units; query, key, value, context, both outputs; for each of three layers
    assert kept[False][f"{short}[3,2,8,48]"] == 1
    assert kept[False][f"{short}[3,2,8,32]"] >= 5
    assert not any(shape.endswith("[3,2,8,48]") for shape in kept[True])
    assert {shape for shape in kept[False] if shape.endswith("[3,2,8,48]")} == {
        f"{short}[3,2,8,48]"
    }
