"""Cuts within each output of a matrix, and within four neighbouring inputs of it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import total

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import criteria, groups, kernels, masks, methods
from alignreg_jax.pruning.kernels import KERNELS

CUT = {scope: jax.jit(partial(groups.top_k, scope=scope)) for scope in ("output", "n:4")}


def one(matrix):
    """A stack of one matrix; of all six the same would be compiled six times."""
    return {"output": jnp.asarray(matrix, jnp.float32)[None]}


def best(scores, standing, count):
    """The `count` highest of a row that stand, NaN last, ties to the lower position."""
    order = sorted(
        range(len(scores)),
        key=lambda i: (not standing[i], np.isnan(scores[i]), -np.nan_to_num(scores[i]), i),
    )
    return [i in order[:count] and bool(standing[i]) for i in range(len(scores))]


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 2), st.sampled_from([0.2, 0.25, 0.5, 0.61, 0.75, 1.0])
)
@settings(max_examples=20, deadline=None)  # compiles
def test_cuts_are_those_of_a_full_sort(seed, outputs, remaining):
    random = np.random.default_rng(seed)
    scores = random.integers(-2, 3, (2, 8, outputs)).astype(np.float32)
    scores[random.random(scores.shape) < 0.1] = np.nan
    standing = random.random(scores.shape) < 0.7
    given_, were = {"output": jnp.asarray(scores)}, {"output": jnp.asarray(standing)}
    keep = masks.keep_counts(kernels.sizes(given_), remaining, "output")
    found = CUT["output"](given_, were, keep)
    for layer in range(2):
        count = keep["output"][layer]
        for output in range(outputs):
            column = (scores[layer, :, output], standing[layer, :, output])
            mine = count // outputs + (output < count % outputs)
            assert found["output"][layer, :, output].tolist() == best(*column, mine)
    if (4 * remaining) % 1 == 0:
        found = CUT["n:4"](given_, were, masks.keep_counts(kernels.sizes(given_), remaining, "n:4"))
        for layer, output, start in np.ndindex(2, outputs, 2):
            four = np.s_[layer, 4 * start : 4 * start + 4, output]
            expected = best(scores[four], standing[four], int(4 * remaining))
            assert np.asarray(found["output"])[four].tolist() == expected


def test_two_of_four_are_the_largest_along_the_inputs():
    # methods.md 9: [3, -1, 2, -4] keeps the first and the last; outputs do not compete
    weights = one(np.array([[3, 1], [-1, 9], [2, 8], [-4, 7]]))
    keep = masks.keep_counts(kernels.sizes(weights), 0.5, "n:4")
    found = CUT["n:4"](criteria.magnitude(weights), masks.ones(weights), keep)
    assert np.asarray(found["output"][0]).T.tolist() == [
        [True, False, False, True],
        [False, True, True, False],
    ]


@pytest.mark.parametrize("scope", ["output", "n:4"])
def test_counts_are_exact_and_cuts_nest(make_kernels, scope):
    weights = make_kernels(0)
    scores, now = criteria.magnitude(weights), masks.ones(weights)
    sizes = kernels.sizes(weights)
    for remaining in (0.75, 0.5, 0.25):
        keep = masks.keep_counts(sizes, remaining, scope)
        new = CUT[scope](scores, now, keep)
        assert total(new) == sum(int(np.sum(keep[name])) for name in KERNELS)
        for name in KERNELS:
            assert not np.any(np.asarray(new[name]) & ~np.asarray(now[name]))
            each = np.sum(new[name], axis=1)
            assert np.ptp(each) <= 1  # outputs keep equally many
        now = new


def test_with_one_output_it_is_the_whole_matrix():
    weights = one(np.random.default_rng(0).normal(size=(16, 1)))
    keep = masks.keep_counts(kernels.sizes(weights), 0.4, "output")
    given_ = criteria.magnitude(weights), masks.ones(weights), keep
    found, whole = CUT["output"](*given_), masks.top_k(*given_, "layer")
    np.testing.assert_array_equal(found["output"], whole["output"])


def test_a_matrix_that_does_not_divide_is_named():
    weights = one(np.ones((6, 2)))
    keep = masks.keep_counts(kernels.sizes(weights), 0.5, "n:4")
    with pytest.raises(UserError, match=r"^pruning\.scope=n:4: output has 6 inputs"):
        groups.top_k(weights, masks.ones(weights), keep, "n:4")


def test_a_share_that_is_no_quarter_is_refused(xlmr_base):
    with pytest.raises(
        UserError, match=r"n:4: 3, 2 or 1 of four .* 50 or 25 % of them, not 31\.0 %"
    ):
        masks.keep_counts(xlmr_base, 0.31, "n:4")


def test_wanda_weighs_an_input_by_its_norm():
    # methods.md 9: inputs [[3, 0], [4, 1]] have norms 5 and 1
    inputs = np.array([[3.0, 0.0], [4.0, 1.0]])
    weights = one(np.array([[1.0, -3.0], [2.0, 0.5]]))
    squares = {"output": jnp.asarray((inputs**2).sum(0), jnp.float32)[None]}
    scores = criteria.wanda(weights, squares)["output"][0]
    np.testing.assert_array_equal(scores, [[5.0, 15.0], [2.0, 0.5]])
    method = methods.build(criterion="wanda", scope="output")
    assert method.needs == {"inputs"}
    keep = masks.keep_counts(kernels.sizes(weights), 0.5, "output")
    key = jax.random.key(0)
    kept, _ = method.cut(weights, masks.ones(weights), {}, {"inputs": squares}, keep, key)
    assert np.asarray(kept["output"][0]).tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize("scope", ["output", "n:4"])
def test_learned_masks_do_not_compete_in_groups(scope):
    with pytest.raises(UserError, match=f"pruning.scope={scope}: masks that are learned"):
        methods.build(criterion="movement", scope=scope)
