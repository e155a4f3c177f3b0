import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignreg_jax.models import quantized

FAST = settings(deadline=None, max_examples=50)


def block(scale: float, nibbles: list[int]) -> np.ndarray:
    """One block written by hand: weight j in the low nibble of byte j, j + 16 in the high one."""
    body = bytes(nibbles[j] | nibbles[j + 16] << 4 for j in range(16))
    return np.frombuffer(np.float16(scale).tobytes() + body, np.uint8)


def test_nibble_order_and_scale():
    nibbles = [(3 * j + 1) % 16 for j in range(32)]
    weights = quantized.dequantize(block(-0.25, nibbles)[None])
    expected = np.array([(nibble - 8) * -0.25 for nibble in nibbles], np.float32)
    np.testing.assert_array_equal(weights, expected)
    assert weights.dtype == np.float32


def test_rows_keep_their_blocks():
    rows = np.stack([block(row + 1, [row + 9] * 32) for row in range(6)]).reshape(3, 2, 18)
    weights = quantized.dequantize(rows)
    assert weights.shape == (3, 64)
    np.testing.assert_array_equal(weights[1, :32], np.full(32, 3 * 3.0))
    np.testing.assert_array_equal(weights[1, 32:], np.full(32, 4 * 4.0))


@FAST
@given(
    hnp.arrays(np.uint8, (4, 2, 32), elements=st.integers(0, 15)),
    hnp.arrays(np.float16, (4, 2, 1), elements=st.floats(2**-10, 2**10, width=16)),
)
def test_weights_on_the_grid_survive_a_round_trip(nibbles, scales):
    nibbles[..., 5] = 0  # -8 steps present: the same scale is found again
    steps = nibbles.astype(np.float32) - 8
    weights = (steps * scales.astype(np.float32)).reshape(4, 64)
    again = quantized.dequantize(quantized.quantize(weights))
    np.testing.assert_array_equal(again, weights)


@FAST
@given(hnp.arrays(np.float32, (3, 64), elements=st.floats(-100, 100, width=32)))
def test_rounding_error_is_at_most_a_step(weights):
    error = np.abs(quantized.dequantize(quantized.quantize(weights)) - weights).reshape(3, 2, 32)
    step = np.abs(weights).reshape(3, 2, 32).max(axis=-1, keepdims=True) / 8
    # 1.02: the float16 scale may itself be rounded; 1e-6: scales below float16's subnormals vanish
    assert (error <= 1.02 * step + 1e-6).all()


def test_zero_blocks_stay_zero():
    blocks = quantized.quantize(np.zeros((2, 32), np.float32))
    assert not quantized.dequantize(blocks).any()


def test_a_file_has_the_rights_that_the_umask_leaves(tmp_path):
    before = os.umask(0o022)
    try:
        quantized.save(tmp_path / "q4", {"a": np.zeros((2, 18), np.uint8)})
    finally:
        os.umask(before)
    assert (tmp_path / "q4").stat().st_mode & 0o777 == 0o644
