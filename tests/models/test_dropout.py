import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.extend.random import threefry2x32_p
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from alignreg_jax.models.dropout import _four_of_each_block, dropout, random_bits

KEY = jax.random.key(7)
RATE = 0.1
ROUNDED = 6554 / 65536  # 0.1 to 16 bits: 0.100006
compiled = jax.jit(dropout, static_argnums=1)


@settings(max_examples=20, deadline=None)
@given(shape=st.tuples(st.integers(0, 5), st.integers(1, 9)), seed=st.integers(0, 2**32 - 1))
@example(shape=(0, 3), seed=0)  # of a layer without heads
def test_bits_are_those_of_the_primitive(shape, seed):
    rows, columns = shape
    key = jax.random.key(seed)
    counter = jnp.arange(rows * -(-columns // 4), dtype=jnp.uint32)
    words = threefry2x32_p.bind(*jax.random.key_data(key), jnp.zeros_like(counter), counter)
    halves = np.stack(words, axis=-1).view(np.uint16)
    halves = halves.reshape(rows, 4 * -(-columns // 4))[:, :columns]
    np.testing.assert_array_equal(random_bits(key, shape), halves)
    # What other platforms than this one compute
    np.testing.assert_array_equal(_four_of_each_block(jax.random.key_data(key), shape), halves)


def dropped(shape, rate=RATE, key=KEY):
    return np.asarray(compiled(jnp.ones(shape), rate, key)) == 0


@pytest.mark.parametrize("shape", [(1000, 1000), (1000, 999)])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.01])
def test_rate(shape, rate):
    found = dropped(shape, rate)
    deviation = np.sqrt(rate * (1 - rate) / found.size)
    assert abs(found.mean() - rate) < 5 * deviation


def test_rate_is_rounded_to_16_bits_and_the_scale_agrees():
    """Counted over all 65536 values of a half-word, the mean of the output is the input."""
    halves = np.arange(2**16)
    kept = (halves >= 6554).mean()
    scale = float(np.asarray(compiled(jnp.ones(1000), RATE, KEY)).max())
    assert kept == 1 - ROUNDED
    assert scale == np.float32(1 / (1 - ROUNDED))
    assert abs(kept * scale - 1) < 1e-7


def test_rate_that_is_too_small_for_16_bits_drops_nothing():
    found = np.asarray(compiled(jnp.ones((64, 64)), 2.0**-18, KEY))
    assert (found == 1).all()


def test_mean_and_variance():
    inputs = jax.random.normal(jax.random.key(1), (1000, 1000)) + 2
    found = np.asarray(compiled(inputs, RATE, KEY), np.float64)
    second = np.mean(np.asarray(inputs, np.float64) ** 2)
    error = np.sqrt(second * ROUNDED / (1 - ROUNDED) / inputs.size)  # of the mean
    assert abs(found.mean() - float(inputs.mean())) < 5 * error
    assert np.mean(found**2) == pytest.approx(second / (1 - ROUNDED), rel=5e-3)


def test_in_bfloat16_the_scale_is_not_rounded():
    """1.1111 in bfloat16 is 1.1094: every mean would be 0.16 % low."""
    inputs = jax.random.uniform(jax.random.key(1), (1000, 1000), minval=1.0, maxval=2.0)
    coarse = inputs.astype(jnp.bfloat16)
    found = np.asarray(compiled(coarse, RATE, KEY), np.float64)
    kept = found != 0
    ratio = found[kept].sum() / np.asarray(coarse, np.float64)[kept].sum()
    assert ratio == pytest.approx(1 / (1 - ROUNDED), rel=2e-4)


def test_what_is_kept_is_the_scaled_input():
    inputs = jax.random.normal(jax.random.key(1), (50, 37))
    found = np.asarray(compiled(inputs, RATE, KEY))
    kept = found != 0
    expected = np.asarray(inputs) * np.float32(1 / (1 - ROUNDED))
    np.testing.assert_array_equal(found[kept], expected[kept])
    assert 0.8 < kept.mean() < 1


def test_both_halves_of_a_word_are_independent():
    found = dropped((2000, 500), 0.3)
    low, high = found[:, 0::2], found[:, 1::2]
    assert low.mean() == pytest.approx(0.3, abs=0.004)
    assert high.mean() == pytest.approx(0.3, abs=0.004)
    assert abs(np.corrcoef(low.ravel(), high.ravel())[0, 1]) < 5 / np.sqrt(low.size)
    for other in (found[1:].ravel(), np.roll(found, 1, axis=1)[1:].ravel()):
        assert abs(np.corrcoef(found[:-1].ravel(), other)[0, 1]) < 5 / np.sqrt(other.size)


def test_keys_are_independent():
    first, second = dropped((1000, 500)), dropped((1000, 500), key=jax.random.key(8))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(first.size)
    np.testing.assert_array_equal(first, dropped((1000, 500)))


@settings(deadline=None, max_examples=8)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3), st.sampled_from(["float32", "bfloat16"])
)
def test_shape_and_dtype_are_kept(shape, dtype):
    found = dropout(jnp.ones(shape, dtype), RATE, KEY)
    assert found.shape == tuple(shape)
    assert found.dtype == dtype


def test_rate_0_is_the_identity():
    inputs = jax.random.normal(jax.random.key(1), (20, 21))
    np.testing.assert_array_equal(dropout(inputs, 0.0, KEY), inputs)


def test_gradient_is_the_mask():
    inputs = jax.random.normal(jax.random.key(1), (20, 21))
    gradient = jax.grad(lambda inputs: compiled(inputs, RATE, KEY).sum())(inputs)
    expected = np.where(dropped((20, 21)), 0, np.float32(1 / (1 - ROUNDED)))
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize(
    "spec",
    [("a", None, None), (None, "b", "a"), (None, None, ("a", "b")), ("b", None, "a"), ()],
)
@pytest.mark.sharded
def test_the_same_numbers_jitted_and_on_any_mesh(spec):
    """Also where the dimension that packs two elements into a word is cut over devices."""
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
    where = NamedSharding(mesh, PartitionSpec(*spec))
    inputs = np.random.default_rng(0).normal(size=(4, 6, 16)).astype(np.float32)
    sharded = jax.jit(dropout, static_argnums=1, out_shardings=where)(
        jax.device_put(inputs, where), RATE, KEY
    )
    assert sharded.sharding.is_equivalent_to(where, 3)
    np.testing.assert_array_equal(sharded, dropout(jnp.asarray(inputs), RATE, KEY))
