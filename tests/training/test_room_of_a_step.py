"""What a step is estimated to take is what the compiler counts."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignreg_jax.models import xlmr
from alignreg_jax.training import room

SHAPE = xlmr.XlmrConfig(1000, 192, 6, 6, 768, 130)


@pytest.mark.parametrize(
    ("kept", "options"),
    [("products", {}), ("inputs", {"remat": True}), ("all", {"unroll": 6})],
)
@pytest.mark.parametrize(("layers", "length"), [(6, 32), (3, 128)])
def test_estimates_are_what_the_compiler_counts(kept, options, layers, length):
    shape, rows = replace(SHAPE, num_layers=layers), 64
    model = xlmr.XlmrModel(shape, "linear", 3, **options)
    params = jax.eval_shape(lambda key: xlmr.init_params(model, key), jax.random.key(0))
    ids = jax.ShapeDtypeStruct((rows, length), jnp.int32)

    def loss(params, ids, key):
        lengths = jnp.full(rows, length)
        return jnp.sum(xlmr.logits(model, params, ids, lengths, key) ** 2)

    program = jax.jit(jax.grad(loss)).lower(params, ids, jax.random.key(0)).compile()
    counted = program.memory_analysis().temp_size_in_bytes
    estimate = room.step_bytes(shape, rows, length, kept, trained=0)
    assert 0.93 < estimate / counted < 1.07


@given(
    limit=st.integers(0, 10**11),
    length=st.integers(1, 512),
    kept=st.sampled_from(list(room.BYTES)),
    trained=st.integers(0, 10**9),
    fixed=st.integers(0, 10**9),
)
def test_rows_that_fit_fit_and_one_more_does_not(limit, length, kept, trained, fixed):
    parts = {"trained": trained, "fixed": fixed}
    rows = room.rows_that_fit(SHAPE, limit, length, kept, **parts)
    assert rows == 0 or room.step_bytes(SHAPE, rows, length, kept, **parts) <= limit
    assert room.step_bytes(SHAPE, rows + 1, length, kept, **parts) > limit


def test_weights_are_counted_with_moments_and_gradient():
    assert room.step_bytes(SHAPE, 0, 8, "all", trained=10, fixed=3) == 4 * (4 * 10 + 3)


def test_a_host_has_memory():
    assert 2**28 < room.memory_of_the_host() * jax.local_device_count() < 2**48
