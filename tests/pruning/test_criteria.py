import itertools

import jax
import jax.numpy as jnp
import numpy as np

from alignreg_jax.pruning import criteria, kernels, masks
from alignreg_jax.pruning.kernels import KERNELS

TOP_K = jax.jit(masks.top_k, static_argnames="scope")


def test_magnitude_is_the_absolute_value_in_float32(make_kernels):
    weights = make_kernels(0, dtype=jnp.bfloat16)
    scores = criteria.magnitude(weights)
    for name in KERNELS:
        assert scores[name].dtype == jnp.float32
        np.testing.assert_array_equal(scores[name], np.abs(np.asarray(weights[name], np.float32)))


def test_magnitude_is_the_mask_nearest_to_the_matrix(fill):
    # Brute force over all masks of 4 out of 9 (paper §3.1: pruning as Frobenius distortion).
    matrix = np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32)
    weights = fill(intermediate=matrix)
    keep = dict.fromkeys(KERNELS, np.zeros(1, np.int32)) | {"intermediate": np.full(1, 4, np.int32)}
    found = TOP_K(criteria.magnitude(weights), masks.ones(weights), keep, scope="layer")
    distances = {}
    for kept in itertools.combinations(range(9), 4):
        pruned = np.zeros(9)
        pruned[list(kept)] = matrix.ravel()[list(kept)]
        distances[kept] = np.linalg.norm(matrix.ravel() - pruned)
    best = min(distances, key=lambda kept: distances[kept])
    assert tuple(np.flatnonzero(found["intermediate"])) == best


def test_random_depends_on_the_key_and_not_on_the_weights(make_kernels):
    key = jax.random.key(0)
    first = criteria.random(make_kernels(0), key)
    again = criteria.random(make_kernels(1), key)
    other = criteria.random(make_kernels(0), jax.random.fold_in(key, 1))
    for name in KERNELS:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


def test_random_draws_every_kernel_apart(make_kernels):
    scores = criteria.random(make_kernels(0), jax.random.key(0))
    squares = [np.asarray(scores[name]) for name in KERNELS if scores[name].shape == (2, 4, 4)]
    for one, other in itertools.combinations(squares, 2):
        assert not np.array_equal(one, other)


def test_random_is_the_same_law_per_layer_and_global():
    # 12 matrices of 40,000: a matrix' share under a global cut has standard deviation ~0.0022.
    weights = {name: jnp.zeros((2, 200, 200)) for name in KERNELS}
    scores = criteria.random(weights, jax.random.key(3))
    keep = masks.keep_counts(kernels.sizes(weights), 0.31, "global")
    kept = masks.statistics(weights, TOP_K(scores, masks.ones(weights), keep, scope="global"))
    shares = np.concatenate([kept["kept_by_layer"][name] for name in KERNELS]) / 40_000
    assert kept["kept"] == 148_800
    assert 0 < np.abs(shares - 0.31).max() < 4.5 * np.sqrt(0.31 * 0.69 / 40_000)
