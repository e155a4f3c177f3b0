"""Who passes: bounds against scipy, batches, answers that are no numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from alignreg_jax.compress import gate


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bound_is_wilsons(pair):
    count, total = pair
    both = binomtest(count, total).proportion_ci(0.9, method="wilson")
    assert gate.lower_bound(count, total) == pytest.approx(100 * both.low, abs=1e-9)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(80, 400))
def test_the_paired_interval_is_that_of_agresti_and_min(gained, lost, total):
    """By its four cells, half a row more in each."""
    one, two, rows = gained + 0.5, lost + 0.5, total + 2
    middle = (one - two) / rows
    deviation = np.sqrt(one + two - (one - two) ** 2 / rows) / rows
    ends = middle + norm.ppf([0.025, 0.975]) * deviation
    np.testing.assert_allclose(gate.paired_interval(gained, lost, total), 100 * ends, atol=1e-9)


def test_few_rows_that_differ_are_no_proof():
    """deploy.md: of 40 rows one may differ and four may not."""
    assert gate.lower_bound(1, 40) < 2 < gate.lower_bound(4, 40)


def test_of_two_batches_the_worse_counts():
    before = {"de": np.array([0, 1, 2, 0]), "sw": np.array([1, 1, 1, 1])}
    after = {
        1: {"de": np.array([0, 1, 2, 0]), "sw": np.array([1, 0, 0, 1])},
        32: {"de": np.array([0, 1, 1, 1]), "sw": np.array([1, 1, 1, 0])},
    }
    gold = {"de": np.array([0, 1, 1, -1]), "sw": np.full(4, -1)}
    german, swahili = gate.judge(before, after, gold)
    assert german == gate.Judged("de", 4, 2, 3, (2, 3), 1, 32)
    assert german.scores == (pytest.approx(200 / 3), 100)
    assert german.share == 50
    assert swahili == gate.Judged("sw", 4, 2, 0, (0, 0), 0, 1)
    assert swahili.scores is None
    assert swahili.difference is None
    assert gate.failed([german, swahili], german.surely - 0.1) == [german, swahili]
    assert gate.failed([german, swahili], german.surely + 0.1) == []


def test_rows_that_were_lost_and_rows_that_were_gained():
    before, gold = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 0, 0, 0])
    (found,) = gate.judge({"en": before}, {1: {"en": np.array([0, 1, 0, 0, 2])}}, {"en": gold})
    assert (found.right, found.gained) == ((2, 3), 2)
    assert found.difference == gate.paired_interval(2, 1, 5)


def test_what_is_no_number_is_no_answer():
    logits = np.array([[1, 2], [np.nan, 1], [np.inf, 0], [3, 0]], np.float32)
    assert gate.answers(logits).tolist() == [1, -1, -1, 0]
