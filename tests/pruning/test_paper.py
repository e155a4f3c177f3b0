"""What the paper prints, taken literally: every test is a line of docs/errata.md."""

import itertools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignreg_jax.models import pointwise
from alignreg_jax.pruning import criteria, masks, regularizers, schedules
from alignreg_jax.pruning.kernels import KERNELS

ROOT = Path(__file__).parents[2]
TOP_K = jax.jit(masks.top_k, static_argnames="scope")


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    reference = generator.normal(size=(5, 4))
    return reference + 0.5 * generator.normal(size=(5, 4)), reference


def one_matrix(fill, function, pruned, reference):
    """Apply a regularizer's rho to one float64 matrix."""
    trees = [fill(jnp.float64, output=matrix) for matrix in (pruned, reference)]
    return function(*trees)["output"].sum()


def derivatives(fill, pruned, reference):
    """Derivatives of Eq. 2 with respect to the pruned matrix and to the reference, by autodiff."""
    with jax.enable_x64(True):

        def similarity(*matrices):
            return one_matrix(fill, regularizers.cosine_similarity, *matrices)

        both = jax.grad(similarity, argnums=(0, 1))(jnp.asarray(pruned), jnp.asarray(reference))
        return [np.asarray(each) for each in both]


def printed_brackets(pruned, reference):
    """Eq. 5's terms, column by column, with the sign's argument repaired to w_j' w~_j."""
    dots = np.sum(reference * pruned, axis=0)
    lengths, others = np.linalg.norm(pruned, axis=0), np.linalg.norm(reference, axis=0)
    bracket = pruned / (others * lengths) - reference * dots / (others**3 * lengths)
    return np.sign(dots) * bracket


# --- Equation 5 --------------------------------------------------------------------------------


def test_printed_eq_5_is_the_derivative_of_the_other_matrix(fill, pair):
    ours, other = derivatives(fill, *pair)
    printed = printed_brackets(*pair) / 4
    np.testing.assert_allclose(printed, other, atol=1e-15)
    assert np.abs(printed - ours).max() > 0.01


def test_printed_eq_5_changes_the_length_of_the_trained_columns(fill, pair):
    pruned, reference = pair
    ours, _ = derivatives(fill, pruned, reference)
    printed = printed_brackets(pruned, reference) / 4
    np.testing.assert_allclose(np.sum(ours * pruned, axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(np.sum(printed * reference, axis=0), 0, atol=1e-15)
    assert np.abs(np.sum(printed * pruned, axis=0)).min() > 0.01


def test_eq_5_divides_by_n_not_n_minus_1(fill, pair):
    _, other = derivatives(fill, *pair)
    np.testing.assert_allclose(printed_brackets(*pair) / (4 - 1), other * 4 / 3, atol=1e-15)
    one_unit = [matrix[:, :1] for matrix in pair]  # N - 1 = 0, while Eq. 2 is well defined
    assert np.abs(derivatives(fill, *one_unit)[1]).max() > 0.01


def test_eq_5_sums_over_the_index_of_its_own_entry(fill, pair):
    ours, other = derivatives(fill, *pair)
    summed = np.broadcast_to(printed_brackets(*pair).sum(axis=1, keepdims=True) / 4, (5, 4))
    assert np.abs(summed - ours).max() > 0.01
    assert np.abs(summed - other).max() > 0.01


def test_eq_5_takes_the_sign_of_a_scalar_times_a_vector(pair):
    pruned, reference = pair
    entry = reference[0, 0] * pruned[:, 0]
    assert np.ndim(entry) == 1  # "the" sign of a vector, and its entries disagree:
    assert set(np.sign(entry)) == {-1.0, 1.0}
    assert np.ndim(reference[:, 0] @ pruned[:, 0]) == 0


# --- Equations 2 and 3 -------------------------------------------------------------------------


def test_eq_2_is_undefined_for_a_unit_without_weights(fill):
    reference, pruned = np.asarray([[1.0, 2], [3, 4]]), np.asarray([[1.0, 0], [3, 0]])
    with np.errstate(invalid="ignore"):
        lengths = np.linalg.norm(pruned, axis=0) * np.linalg.norm(reference, axis=0)
        printed = np.mean(np.abs(np.sum(pruned * reference, axis=0)) / lengths)
    assert np.isnan(printed)
    trees = fill(output=pruned), fill(output=reference)
    assert regularizers.cosine_similarity(*trees)["output"][0] == pytest.approx(0.5)


def test_eq_2_counts_an_inverted_unit_as_aligned(fill, pair):
    _, reference = pair
    trees = fill(output=-reference), fill(output=reference)
    plain, signed = (
        regularizers.cosine_similarity(*trees, signed=signed)["output"][0]
        for signed in (False, True)
    )
    assert (float(plain), float(signed)) == pytest.approx((1, -1))


def test_a_network_as_its_own_reference_is_not_regularized(fill, pair):
    pruned = pair[0] * (np.abs(pair[0]) > 0.5)
    weights = fill(output=pruned)
    for function in (regularizers.cosine, regularizers.frobenius):
        gradient = jax.grad(function)(weights, weights)["output"]
        np.testing.assert_allclose(gradient, 0, atol=1e-7)
    assert regularizers.cosine_similarity(weights, weights)["output"][0] == pytest.approx(1)


# --- Equation 6 --------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [5e-4, 0.5, 2.0])
def test_eq_6_as_a_choice_of_mask(weight):
    generator = np.random.default_rng(1)
    for _ in range(20):
        trained, teacher = generator.normal(size=(2, 8))
        costs = {}
        for kept in itertools.combinations(range(8), 3):
            pruned = np.zeros(8)
            pruned[list(kept)] = trained[list(kept)]
            costs[kept] = np.sum((trained - pruned) ** 2) + weight * np.sum((teacher - pruned) ** 2)
        value = (1 - weight) * trained**2 + 2 * weight * teacher * trained
        best = min(costs, key=lambda kept: costs[kept])
        assert best == tuple(sorted(np.argsort(-value)[:3]))


def test_eq_6_as_a_choice_of_mask_is_magnitude_pruning():
    # Weights, drift and share of XLM-R after fine-tuning, with the paper's lambda: of 589,824
    # masks a handful differ, so the mask cannot explain a gain; the training term is what is left.
    generator = np.random.default_rng(2)
    teacher = generator.normal(0, 0.05, 768 * 768)
    trained = teacher + generator.normal(0, 0.003, teacher.size)
    value = (1 - 5e-4) * trained**2 + 2 * 5e-4 * teacher * trained
    keep = round(0.3138 * teacher.size)
    chosen, plain = (set(np.argpartition(-each, keep)[:keep]) for each in (value, trained**2))
    assert len(chosen - plain) < 20


def test_the_papers_lambda_does_nothing_in_the_cosine_form(fill):
    # Mean size of the gradient per surviving weight, one matrix of 72, lambda = 5e-4 throughout.
    generator = np.random.default_rng(3)
    reference = generator.normal(0, 0.05, (768, 768)).astype(np.float32)
    drifted = reference + generator.normal(0, 0.003, reference.shape).astype(np.float32)
    kept = np.abs(drifted) >= np.quantile(np.abs(drifted), 1 - 0.3138)
    trees = fill(output=drifted * kept), fill(output=reference)

    def size(function):
        gradient = jax.grad(lambda tree: function(tree, trees[1]))(trees[0])["output"][0]
        return 5e-4 * float(np.abs(np.asarray(gradient)[kept]).mean())

    frobenius = size(regularizers.frobenius)
    norm = size(lambda *pair: regularizers.frobenius(*pair, squared=False))
    # The small tree has 6 matrices, the model 72.
    cosine = size(regularizers.cosine) * len(KERNELS) / 72
    assert 1e-6 < frobenius < 1e-5
    assert 10 < frobenius / norm < 100
    assert 5e4 < frobenius / cosine < 5e5
    # Our default weight of 100 brings the cosine to the scale of Frobenius at 5e-4.
    assert 0.1 < (100 / 5e-4) * cosine / frobenius < 10


def test_eq_7_the_factors_are_not_unitary():
    # X = U S^(1/2) has X'X = S, so "since X, Y are unitary" does not hold; invariance does.
    generator = np.random.default_rng(4)
    teacher, pruned = generator.normal(size=(2, 5, 5))
    left, values, right = np.linalg.svd(teacher)
    factor = left * np.sqrt(values)
    np.testing.assert_allclose(factor.T @ factor, np.diag(values), atol=1e-12)
    assert np.abs(factor.T @ factor - np.eye(5)).max() > 0.1
    rotated = np.linalg.norm(np.diag(values) - left.T @ pruned @ right.T)
    assert rotated == pytest.approx(np.linalg.norm(teacher - pruned))


# --- Equation 8 --------------------------------------------------------------------------------


def test_eq_8_points_the_wrong_way():
    # The printed claim: weight distance <= output distance, for inputs of norm at most 1.
    trained, pruned = np.asarray([[1.0, 0.5], [0.0, 2.0]]), np.asarray([[1.0, 0.0], [0.0, 2.0]])
    inputs = np.asarray([[0.0, 1.0]])  # orthogonal to all that was pruned
    weight_distance = np.linalg.norm(trained - pruned)
    output_distance = np.linalg.norm(inputs @ trained - inputs @ pruned)
    assert np.linalg.norm(inputs) <= 1
    assert (weight_distance, output_distance) == (0.5, 0.0)
    generator = np.random.default_rng(5)
    for _ in range(100):
        difference, inputs = generator.normal(size=(6, 4)), generator.normal(size=(3, 6))
        inputs /= np.linalg.norm(inputs, 2)
        assert np.linalg.norm(inputs @ difference) <= np.linalg.norm(difference) + 1e-12


def test_layer_norm_gives_long_inputs_and_gelu_is_not_as_described():
    hidden = np.random.default_rng(6).normal(3, 7, (10, 768))
    normal = (hidden - hidden.mean(1, keepdims=True)) / hidden.std(1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), np.sqrt(768))  # not at most 1
    (gelu,) = pointwise.gelu(jnp.asarray([[-10.0, -2.0, -0.75, 0.5]]), jnp.zeros(4))
    assert abs(gelu[0]) < 1e-6  # tends to 0, not to -1
    assert gelu[2] < gelu[1] < 0  # not monotonic
    assert gelu[3] < 0.4  # not ReLU above 0


# --- Algorithm 1 -------------------------------------------------------------------------------


def algorithm_1(weights, pruned, smallest):
    """Lines 5 to 7 as printed: a signed threshold from the pruned copy."""
    threshold = np.sort(pruned.ravel())[smallest - 1]
    kept = weights - threshold >= 0
    return kept * weights, kept


def test_algorithm_1_prunes_negative_weights_first(fill):
    weights = np.asarray([[0.1, -5.0], [0.2, -4.0]])
    _, kept = algorithm_1(weights, weights, smallest=3)
    assert weights[kept].tolist() == [0.1, 0.2]
    tree = fill(output=weights)
    keep = dict.fromkeys(KERNELS, np.asarray([2], np.int32))
    ours = TOP_K(criteria.magnitude(tree), masks.ones(tree), keep, scope="layer")["output"][0]
    assert weights[np.asarray(ours)].tolist() == [-5.0, -4.0]


def test_algorithm_1_prunes_one_weight_too_few():
    weights = np.arange(1.0, 11.0)[None]
    for smallest in (1, 4, 10):
        _, kept = algorithm_1(weights, weights, smallest)
        assert np.sum(~kept) == smallest - 1


def test_algorithm_1_needs_cumulative_counts():
    # The threshold comes from a copy that already holds zeros, so a second cut "of 3" cuts nothing.
    weights = np.arange(1.0, 11.0)[None]
    once, kept = algorithm_1(weights, weights, smallest=4)
    twice, kept_twice = algorithm_1(once, once, smallest=3)
    np.testing.assert_array_equal(once, twice)
    assert np.sum(~kept) == 3
    assert np.sum(~kept_twice) == 0  # zeros pass `>= 0`: the mask even takes pruned weights back


# --- Section 4 ---------------------------------------------------------------------------------


def test_ten_percent_of_the_original_weights_cannot_give_31_or_28_percent():
    steps = range(13)
    of_original = {round(100 - 10 * step) for step in steps}
    of_survivors = {
        round(100 * schedules.remaining("geometric", step, steps=12, fraction=0.1))
        for step in steps
    }
    assert not {31, 28} & of_original
    assert {31, 28} <= of_survivors


def test_what_is_not_pruned_is_most_of_the_model(xlmr_base):
    hidden, layers, positions, vocabulary = 768, 12, 514, 250_002
    kernels = sum(count * weights for count, weights in xlmr_base.values())
    biases = layers * (5 * hidden + 3072)
    layer_norms = (1 + 2 * layers) * 2 * hidden
    embeddings = (vocabulary + positions + 1) * hidden
    pooler = hidden * hidden + hidden
    total = kernels + biases + layer_norms + embeddings + pooler
    assert (kernels, total) == (84_934_656, 278_043_648)
    assert round((embeddings + 2 * hidden) / total, 3) == 0.692  # the paper: less than 0.01
    kept = round(0.9**11 * kernels)
    assert round((total - kernels + kept) / total, 2) == 0.79


# --- the page ----------------------------------------------------------------------------------


def test_the_errata_name_tests_that_exist():
    page = (ROOT / "docs/errata.md").read_text()
    named = set(re.findall(r"`(tests/\S+?\.py)::(test_\w+)`", page))
    for path, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / path).read_text(), re.MULTILINE), test
    here = set(re.findall(r"^def (test_\w+)\(", Path(__file__).read_text(), re.MULTILINE))
    shown = {test for path, test in named if path.endswith("test_paper.py")}
    assert shown == here - {"test_the_errata_name_tests_that_exist"}
