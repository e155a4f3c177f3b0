"""SparseGPT against its definition, with an inverse for every input, in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import criteria, groups, kernels, masks, methods, sparsegpt

SOLVE = jax.jit(sparsegpt.solve)


def one(matrix):
    """A stack of one matrix; of all six the same would be compiled six times."""
    return {"output": jnp.asarray(matrix, jnp.float32)[None]}


def solve(matrix, gram, keep, standing=None):
    given = one(matrix)
    were = masks.ones(given) if standing is None else {"output": standing[None]}
    counts = {"output": jnp.array([keep], jnp.int32)}
    kept, solved = SOLVE(given, were, one(gram), counts)
    return np.asarray(kept["output"][0]), np.asarray(solved["output"][0])


def reference(weights, gram, keep, block):
    """By the definition: each error is spread over later inputs by the inverse of what is left."""
    inputs = len(weights)
    weights, gram = weights.astype(np.float64), gram.astype(np.float64)
    dead = np.diagonal(gram) == 0
    gram = gram + np.diag(dead * 1.0)
    gram = gram + 0.01 * np.mean(np.diagonal(gram)) * np.eye(inputs)
    weights[dead] = 0
    kept = np.zeros(weights.shape, bool)
    left = [np.linalg.inv(gram[j:, j:]) for j in range(inputs)]
    for start in range(0, inputs, block):
        end = min(start + block, inputs)
        count = keep * end // inputs - keep * start // inputs
        scores = [weights[j] ** 2 / left[j][0, 0] for j in range(start, end)]
        chosen = np.argsort(-np.ravel(scores), kind="stable")[:count]
        kept[start:end].flat[chosen] = True
        for j in range(start, end):
            error = np.where(kept[j], 0, weights[j])
            weights[j:] -= np.outer(left[j][:, 0] / left[j][0, 0], error)
    return kept, np.where(kept, weights, 0)


def sample(inputs, outputs, seed=0):
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(inputs, inputs))
    pieces = random.normal(size=(4 * inputs, inputs)) @ mixed
    return random.normal(size=(inputs, outputs)), pieces


def test_what_is_pruned_is_made_up_for(monkeypatch):
    # methods.md 9: H = [[2, 1], [1, 2]], of 1 and .8 the latter goes and the other becomes 1.4. It
    # stands first here, as errors go to later inputs
    monkeypatch.setattr(sparsegpt, "DAMPING", 0.0)
    kept, solved = jax.jit(partial(sparsegpt.solve))(
        one([[0.8], [1.0]]), masks.ones(one([[1], [1]])), one([[2, 1], [1, 2]]),
        {"output": jnp.array([1], jnp.int32)},
    )  # fmt: skip
    assert np.asarray(kept["output"][0]).tolist() == [[False], [True]]
    np.testing.assert_allclose(solved["output"][0], [[0.0], [1.4]], rtol=1e-6)


@pytest.mark.parametrize(("inputs", "outputs", "keep"), [(12, 5, 19), (160, 7, 600)])
def test_it_is_the_definition(inputs, outputs, keep):
    weights, pieces = sample(inputs, outputs)
    pieces[:, 3] = 0  # an input that is always 0
    gram = pieces.T @ pieces
    kept, solved = solve(weights, gram, keep)
    expected, values = reference(weights, gram, keep, 128)
    assert kept.sum() == keep
    assert not kept[3].any()
    assert np.mean(kept == expected) > 0.995  # ties of rounding
    assert np.all(solved[~kept] == 0)
    if (kept == expected).all():
        np.testing.assert_allclose(solved, values, rtol=0, atol=2e-3 * np.abs(values).max())


def test_outputs_change_less_than_by_masks_alone():
    random = np.random.default_rng(0)
    weights = random.normal(size=(64, 48))
    shared = random.normal(size=(500, 16)) @ random.normal(size=(16, 64))  # inputs say much alike
    pieces = shared + 0.5 * random.normal(size=shared.shape)
    gram = pieces.T @ pieces
    given, keep = one(weights), {"output": np.array([64 * 48 // 2], np.int32)}
    squares = {"output": jnp.asarray(np.diag(gram), jnp.float32)[None]}

    def error(matrix):
        return np.square(pieces @ (weights - matrix)).sum()

    _, ours = solve(weights, gram, 64 * 48 // 2)
    for scores, scope in (
        (criteria.magnitude(given), "layer"),
        (criteria.wanda(given, squares), "output"),
    ):
        mask = groups.top_k(scores, masks.ones(given), keep, scope)["output"][0]
        assert error(ours) < 0.6 * error(np.where(mask, weights, 0))


def test_weights_of_an_input_that_is_always_zero_are_zero_even_if_they_stay():
    weights, pieces = sample(12, 5)
    pieces[:, 3] = 0
    kept, solved = solve(weights, pieces.T @ pieces, 59)
    assert kept[3].sum() >= 4
    assert np.all(solved[3] == 0)
    assert np.all(solved[kept & (np.arange(12) != 3)[:, None]] != 0)


def test_the_scale_of_inputs_drops_out():
    weights, pieces = sample(160, 7)  # the second block is filled up
    gram = pieces.T @ pieces
    kept, solved = solve(weights, gram, 600)
    again, small = solve(weights, gram / np.trace(gram), 600)
    assert np.mean(kept == again) > 0.995
    both = kept & again
    np.testing.assert_allclose(small[both], solved[both], rtol=0, atol=2e-2 * np.abs(solved).max())


def test_cuts_nest():
    weights, pieces = sample(160, 7)
    gram = pieces.T @ pieces
    first, once = solve(weights, gram, 500)
    second, twice = solve(once, gram, 200, jnp.asarray(first))
    assert second.sum() == 200
    assert not np.any(second & ~first)
    assert np.all(twice[~second] == 0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"scope": "global"}, "pruning.scope=global with pruning.criterion=sparsegpt"),
        ({"scope": "layer", "regularizer": "l0-target"}, "regularizer.name=l0-target with pruning"),
    ],
)
def test_what_does_not_go_with_it_is_named(given, says):
    with pytest.raises(UserError, match=f"^{says}"):
        methods.build(criterion="sparsegpt", **given)


def test_it_needs_products_of_inputs(make_kernels):
    method = methods.build(criterion="sparsegpt", scope="layer")
    assert method.needs == {"grams"}
    weights = {"output": make_kernels(0)["output"]}
    inputs = weights["output"].shape[1]
    grams = {"output": jnp.tile(jnp.eye(inputs)[None], (2, 1, 1))}
    keep = masks.keep_counts(kernels.sizes(weights), 0.5, "layer")
    # Inputs that have nothing to do with each other make up for nothing: that is magnitude
    kept, solved = method.solve(weights, masks.ones(weights), {"grams": grams}, keep)
    expected = masks.top_k(criteria.magnitude(weights), masks.ones(weights), keep, "layer")
    np.testing.assert_array_equal(kept["output"], expected["output"])
    masked = np.where(kept["output"], weights["output"], 0)
    np.testing.assert_allclose(solved["output"], masked, rtol=1e-6)
