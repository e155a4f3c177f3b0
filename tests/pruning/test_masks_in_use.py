"""What is done with masks: they are applied, counted, and written to files and read again."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mask_cases import assert_equal, prune

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import KERNELS


def test_apply_gives_exact_zeros_and_masks_the_gradient(fill):
    weights = fill(output=[[-1.0, np.inf], [2.0, np.nan]])
    kept = {name: jnp.zeros((1, 2, 2), bool) for name in KERNELS}
    kept["output"] = jnp.asarray([[[False, False], [True, False]]])
    applied = masks.apply(weights, kept)["output"]
    assert applied.tolist() == [[[0.0, 0.0], [2.0, 0.0]]]
    assert not np.signbit(applied).any()
    gradient = jax.grad(lambda tree: jnp.sum(masks.apply(tree, kept)["output"] * 3))(weights)
    assert gradient["output"].tolist() == [[[0.0, 0.0], [3.0, 0.0]]]


def test_statistics_tell_kept_from_nonzero(shapes, make_kernels):
    weights = make_kernels(0)
    weights["output"] = weights["output"].at[1, 0].set(0.0)
    mask = masks.ones(weights)
    mask["output"] = mask["output"].at[0, 0].set(False)
    mask["attention/key"] = jnp.zeros(shapes["attention/key"], bool)
    found = masks.statistics(weights, mask)
    assert found["kept_by_layer"] == {
        "attention/query": [16, 16],
        "attention/key": [0, 0],
        "attention/value": [16, 16],
        "attention/output": [16, 16],
        "intermediate": [32, 32],
        "output": [28, 32],
    }
    assert (found["kept"], found["nonzero"], found["prunable"]) == (220, 216, 256)


def test_masks_survive_a_file(make_kernels):
    old, _ = prune(make_kernels(0), masks.ones(make_kernels(0)), 0.3, "global")
    file = io.BytesIO()
    np.savez(file, **masks.pack(old))
    file.seek(0)
    with np.load(file) as packed:
        assert_equal(masks.unpack(packed), old)


def test_packed_bits_are_big_endian_in_c_order():
    mask = {name: np.zeros((1, 3, 3), bool) for name in KERNELS}
    mask["output"][0, 0, 0] = mask["output"][0, 2, 2] = True
    packed = masks.pack(mask)
    assert packed["output"].tolist() == [0b10000000, 0b10000000]
    assert packed["output/shape"].tolist() == [1, 3, 3]


def test_a_file_without_a_kernel_is_the_users_error(make_kernels):
    packed = masks.pack(masks.ones(make_kernels(0)))
    del packed["attention/value"]
    with pytest.raises(UserError, match="attention/value"):
        masks.unpack(packed)
