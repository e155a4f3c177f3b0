"""How many seeds a device is trusted with."""

import jax
import pytest

from alignreg_jax.models.xlmr import XlmrConfig
from alignreg_jax.sweeping.room import seeds_that_fit
from alignreg_jax.training.room import memory_of_a_device

BASE = XlmrConfig(250002, 768, 12, 12, 3072, 514)
GIB = 2**30


def test_estimate_by_hand():
    parameters = 250002 * 768 + 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    assert parameters == 276_936_192  # XLM-R base has 278 million with biases and positions
    layer, once = 77 * 768 + 8 * 12 * 128, 38 * 768 + 5 * 12 * 128  # bytes of a piece
    activations = 32 * 128 * (12 * layer + once)
    one = 4 * 4 * parameters + activations
    limit = 10 * one / 0.75
    assert seeds_that_fit(BASE, 32, 128, int(limit) + 1) == 10
    assert seeds_that_fit(BASE, 32, 128, int(limit) - GIB) == 9


@pytest.mark.parametrize(
    ("memory", "length", "seeds"), [(139, 128, 13), (139, 256, 8), (16, 128, 1), (1, 128, 1)]
)
def test_devices(memory, length, seeds):
    assert seeds_that_fit(BASE, 32, length, memory * GIB) == seeds


def test_a_cpu_does_not_tell():
    assert memory_of_a_device() is None
    assert jax.devices()[0].platform == "cpu"
