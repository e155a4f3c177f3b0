"""CKA and retrieval: their definitions spelled out, what they must not see, and scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from alignreg_jax.evaluation.alignment import cka, retrieval, standardized

SEEDS = st.integers(0, 2**31)


def drawn(seed, rows, hidden):
    return np.random.default_rng(seed).normal(size=(rows, hidden))


def hsic(one, other):
    """Song et al. 2012, eq. 4: a mean over all quadruples of different rows."""
    left, right = one @ one.T, other @ other.T
    terms = [
        left[i, j] * (right[i, j] + right[q, r] - 2 * right[i, q])
        for i, j, q, r in itertools.permutations(range(len(one)), 4)
    ]
    return np.mean(terms)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_cka_is_the_mean_over_quadruples(seed):
    one, other = drawn(seed, 7, 3), drawn(seed + 1, 7, 5)
    other[:, 0] += one[:, 0]
    own = hsic(one, one) * hsic(other, other)
    found = cka(one, other)
    if own > 0:
        assert found == pytest.approx(hsic(one, other) / np.sqrt(own), rel=1e-9, abs=1e-9)
    else:
        assert np.isnan(found)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.1, 50))
def test_cka_does_not_see_rotation_scale_or_place(seed, scale):
    one = drawn(seed, 30, 4)
    other = one + 0.5 * drawn(seed + 1, 30, 4)
    turned = np.linalg.qr(drawn(seed + 2, 4, 4))[0]
    assert cka(one, one) == pytest.approx(1)
    assert cka(scale * one @ turned + 7, other) == pytest.approx(cka(one, other), abs=1e-9)
    assert cka(other, one) == pytest.approx(cka(one, other))
    # A row's partner counts, not its place
    order = np.random.default_rng(seed).permutation(30)
    assert cka(one[order], other[order]) == pytest.approx(cka(one, other))
    assert cka(one[np.roll(range(30), 1)], other) < cka(one, other)


def test_unrelated_vectors_are_not_alike_with_few_rows():
    """The plain form would say 0.8 here."""
    found = [cka(drawn(seed, 20, 100), drawn(seed + 1000, 20, 100)) for seed in range(50)]
    assert abs(np.mean(found)) < 0.03


def test_vectors_that_are_all_the_same_have_no_cka():
    assert np.isnan(cka(np.ones((6, 3)), drawn(0, 6, 3)))
    with pytest.raises(ValueError, match="3 rows; should be at least 4"):
        cka(drawn(0, 3, 2), drawn(0, 3, 2))


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_retrieval_is_scikit_learns_nearest_neighbour_both_ways(seed):
    one = drawn(seed, 25, 6)
    other = one + drawn(seed + 1, 25, 6)
    right = []
    for asked, among in ((one, other), (other, one)):
        found = NearestNeighbors(n_neighbors=1, metric="cosine").fit(among).kneighbors(asked)[1]
        right.append(np.mean(found[:, 0] == np.arange(25)))
    assert retrieval(one, other) == pytest.approx(np.mean(right))


def test_of_sentences_that_say_the_same_one_is_drawn():
    one = drawn(0, 6, 4).astype(np.float32)
    assert retrieval(one, 3 * one) == 1
    assert retrieval(one, np.roll(one, 1, axis=0)) == 0
    one[3] = one[1]
    assert retrieval(one, 3 * one) == pytest.approx(5 / 6)
    # What varies little can be told apart, too
    assert retrieval(1 + 1e-5 * one[[0, 1, 2]], 1 + 1e-5 * one[[0, 1, 2]]) == 1
    # A model that has collapsed retrieves what chance does
    same = np.ones((20, 4))
    assert retrieval(same, same) == pytest.approx(1 / 20)
    assert retrieval(standardized(same), standardized(same)) == pytest.approx(1 / 20)


def test_standardized_takes_away_a_ruling_dimension_and_where_a_language_lies():
    meaning, noise = drawn(0, 60, 20), drawn(1, 60, 20)
    one, other = meaning + 0.3 * noise, meaning - 0.3 * noise
    ruling = np.zeros(20)
    ruling[4] = 1
    one = one * (1 + 300 * ruling) + 500 * ruling
    other = other + 8
    assert retrieval(one, other) < 0.2
    assert retrieval(standardized(one), standardized(other)) > 0.95
    np.testing.assert_allclose(standardized(one).mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(standardized(one).std(axis=0), 1)
    assert not standardized(np.ones((4, 2))).any()
