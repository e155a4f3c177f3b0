import itertools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from alignreg_jax.pruning import criteria, kernels, masks, methods
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


def test_random_and_random_global_are_two_draws_at_one_seed():
    # Two independent draws of a share p agree where both keep or both prune: p^2 + (1 - p)^2.
    weights = {name: jnp.zeros((2, 40, 40)) for name in KERNELS}
    kept = {}
    for scope in ("layer", "global"):
        keep = masks.keep_counts(kernels.sizes(weights), 0.31, scope)
        method = methods.build(criterion="random", scope=scope)
        everything = masks.ones(weights)
        found, _ = method.cut(weights, everything, {}, {}, keep, jax.random.key(3))
        kept[scope] = np.concatenate([np.ravel(found[name]) for name in KERNELS])
    agree = float(np.mean(kept["layer"] == kept["global"]))
    expected = 0.31**2 + 0.69**2
    assert abs(agree - expected) < 4.5 * np.sqrt(expected * (1 - expected) / 19_200)


def test_shares_of_a_global_random_cut_spread_like_a_hypergeometric_draw():
    """Pearson's statistic of 60 cuts, the second one among the survivors of the first."""
    size, layers, cuts = 400, 12, 60
    weights = {name: jnp.zeros((2, 20, 20)) for name in KERNELS}
    everything = masks.ones(weights)

    @jax.jit
    def cut(key, standing, keep):
        kept = masks.top_k(criteria.random(weights, key), standing, keep, "global")
        return kept, jnp.concatenate([jnp.sum(kept[name], axis=(1, 2)) for name in KERNELS])

    statistic = 0.0
    for number in range(cuts):
        first, _ = cut(jax.random.key(2 * number), everything, np.int32(3000))
        second, counts = cut(jax.random.key(2 * number + 1), first, np.int32(1488))
        assert all(not np.any(second[name] & ~first[name]) for name in KERNELS)
        total, share = size * layers, 1488 / (size * layers)
        variance = size * share * (1 - share) * total / (total - 1)
        statistic += float(np.sum((np.asarray(counts) - size * share) ** 2)) / variance
    low, high = scipy.stats.chi2.ppf([1e-4, 1 - 1e-4], df=cuts * (layers - 1))
    assert low < statistic < high


# --- gradients ---------------------------------------------------------------------------------


def test_gradient_and_saliency_oracle(fill):
    # Gradients are of the effective weights, so a pruned one has a gradient and no saliency.
    weights = fill(output=[[1.0, -1.0], [0.5, 2.0]])
    standing = {name: jnp.ones((1, 2, 2), bool) for name in KERNELS}
    standing["output"] = jnp.asarray([[[True, False], [True, True]]])
    effective = masks.apply(weights, standing)
    inputs = jnp.asarray([[1.0, 2.0]])
    accumulated = jax.grad(lambda tree: 0.5 * jnp.sum((inputs @ tree["output"][0]) ** 2))(effective)
    assert criteria.gradient(accumulated)["output"][0].tolist() == [[2, 4], [4, 8]]
    assert criteria.saliency(effective, accumulated)["output"][0].tolist() == [[2, 0], [2, 16]]


def test_gradient_is_the_absolute_value_of_the_sum(make_kernels):
    # Of the sum, not the sum of absolute values: opposite batches cancel.
    first = make_kernels(0)
    opposite = {name: -first[name] for name in KERNELS}
    for scores in (
        criteria.gradient({name: first[name] + opposite[name] for name in KERNELS}),
        criteria.saliency(first, {name: first[name] + opposite[name] for name in KERNELS}),
    ):
        assert all(not np.any(scores[name]) for name in KERNELS)
    for name, scores in criteria.gradient(opposite).items():
        np.testing.assert_array_equal(scores, np.abs(np.asarray(first[name])))


def test_saliency_is_what_a_linear_loss_changes_without_the_weight(make_kernels):
    weights, slopes = make_kernels(0), make_kernels(1)
    scores = criteria.saliency(weights, slopes)  # the gradient of sum(weights * slopes)
    for name in KERNELS:
        matrix, slope = (np.asarray(tree[name], np.float64) for tree in (weights, slopes))
        for position in ((0, 0, 0), (1, 2, 3)):
            without = matrix.copy()
            without[position] = 0
            change = abs(np.sum(matrix * slope) - np.sum(without * slope))
            np.testing.assert_allclose(scores[name][position], change, rtol=1e-6)


def test_saliency_ignores_an_exchange_of_scale_with_the_input(make_kernels):
    # W -> 4 W and dL/dW -> dL/dW / 4, as when a layer's input is divided by 4.
    weights, accumulated = make_kernels(0), make_kernels(1)
    scores = criteria.saliency(weights, accumulated)
    exchanged = criteria.saliency(
        {name: weights[name] * 4 for name in KERNELS},
        {name: accumulated[name] / 4 for name in KERNELS},
    )
    for name in KERNELS:
        np.testing.assert_array_equal(scores[name], exchanged[name])


def test_gradient_criteria_are_in_float32(make_kernels):
    weights, accumulated = (make_kernels(seed, dtype=jnp.bfloat16) for seed in (0, 1))
    scores = criteria.saliency(weights, accumulated)
    assert criteria.gradient(accumulated)["output"].dtype == jnp.float32
    wide = [np.asarray(tree["output"], np.float32) for tree in (weights, accumulated)]
    np.testing.assert_array_equal(scores["output"], np.abs(wide[0] * wide[1]))
