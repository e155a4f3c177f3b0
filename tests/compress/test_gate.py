"""Who passes: bounds against scipy, batches, answers that are no numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from alignreg_jax.compress import gate


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bound_is_wilsons(pair):
    count, total = pair
    both = binomtest(count, total).proportion_ci(0.9, method="wilson")
    assert gate.lower_bound(count, total) == pytest.approx(100 * both.low, abs=1e-9)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_several_bounds_share_the_error(pair):
    both = binomtest(pair[0], pair[1]).proportion_ci(1 - 2 * 0.05 / 32, method="wilson")
    assert gate.lower_bound(*pair, 32) == pytest.approx(100 * both.low, abs=1e-9)


def drawn(rng: np.random.Generator, shares: list[float], rows: int) -> list[gate.Judged]:
    """Languages of which so many answers in a hundred are others."""
    zeros = {str(number): np.zeros(rows, int) for number in range(len(shares))}
    others = {
        str(number): (rng.random(rows) < share / 100).astype(int)
        for number, share in enumerate(shares)
    }
    return gate.judge(zeros, {1: others}, zeros)


@pytest.mark.parametrize("rows", [60, 400])
def test_of_many_languages_none_is_refused_by_chance(rows):
    """What changes half as many as it may, in 31 languages with few rows.

    What changes exactly as many is refused in more than 5 % of cases: Wilson's bound is the
    normal's, which is passed too often far out and with few rows.
    """
    rng = np.random.default_rng(0)
    trials = [[drawn(rng, [share] * 31, rows) for _ in range(600)] for share in (1.0, 2.0)]
    half, whole = (np.mean([bool(gate.failed(each, 2.0)) for each in drawn]) for drawn in trials)
    alone = np.mean(
        [any(gate.lower_bound(each.flips, rows) > 2 for each in judged) for judged in trials[1]]
    )
    assert half < 0.03
    assert whole < 0.25
    assert alone > 0.75  # each language as if it were the only one


def test_one_language_that_loses_much_is_found_and_a_little_everywhere_is_too():
    rng = np.random.default_rng(0)
    share = gate.noticed(60, 32, 2.0)
    found = [gate.failed(drawn(rng, [0.0] * 30 + [share], 60), 2.0) for _ in range(800)]
    named = np.mean(["30" in [each.language for each in bad] for bad in found])
    assert 0.75 < named < 0.85
    # No language alone has enough of them to be refused
    everywhere = gate.failed(
        gate.judge(
            {name: np.zeros(60, int) for name in "abcdefgh"},
            {1: {name: np.r_[np.ones(3, int), np.zeros(57, int)] for name in "abcdefgh"}},
            {name: np.zeros(60, int) for name in "abcdefgh"},
        ),
        2.0,
    )
    assert [(each.language, each.flips, each.answers) for each in everywhere] == [
        ("all languages", 24, 480)
    ]


@pytest.mark.parametrize(("rows", "tests"), [(40, 1), (60, 32), (300, 11)])
def test_what_is_noticed_is_noticed_in_four_of_five_cases(rows, tests):
    share = gate.noticed(rows, tests, 2.0) / 100
    chances = binom.pmf(np.arange(rows + 1), rows, share)
    refused = [gate.lower_bound(count, rows, tests) > 2 for count in range(rows + 1)]
    assert chances[refused].sum() == pytest.approx(0.8, abs=1e-9)


def test_too_few_rows_notice_nothing():
    assert gate.noticed(1, 32, 50.0) == 100


@given(st.integers(0, 40), st.integers(0, 40), st.integers(80, 400))
def test_the_paired_interval_is_that_of_agresti_and_min(gained, lost, total):
    """By its four cells, half a row more in each."""
    one, two, rows = gained + 0.5, lost + 0.5, total + 2
    middle = (one - two) / rows
    deviation = np.sqrt(one + two - (one - two) ** 2 / rows) / rows
    ends = middle + norm.ppf([0.025, 0.975]) * deviation
    np.testing.assert_allclose(gate.paired_interval(gained, lost, total), 100 * ends, atol=1e-9)


def test_few_rows_that_differ_are_no_proof():
    """deploy.md: of 40 rows one may differ and four may not; in one language or in 31."""
    for tests in (1, 32):
        assert gate.lower_bound(1, 40, tests) < 2 < gate.lower_bound(4, 40, tests)


def test_of_two_batches_the_worse_counts():
    before = {"de": np.array([0, 1, 2, 0]), "sw": np.array([1, 1, 1, 1])}
    after = {
        1: {"de": np.array([0, 1, 2, 0]), "sw": np.array([1, 0, 0, 1])},
        32: {"de": np.array([0, 1, 1, 1]), "sw": np.array([1, 1, 1, 0])},
    }
    gold = {"de": np.array([0, 1, 1, -1]), "sw": np.full(4, -1)}
    german, swahili = gate.judge(before, after, gold)
    assert german == gate.Judged("de", 4, 2, 3, (2, 3), 1, 32, tests=3)
    assert german.scores == (pytest.approx(200 / 3), 100)
    assert german.share == 50
    assert swahili == gate.Judged("sw", 4, 2, 0, (0, 0), 0, 1, tests=3)
    assert swahili.scores is None
    assert swahili.difference is None
    assert gate.failed([german, swahili], german.surely - 0.1)[:2] == [german, swahili]
    assert german not in gate.failed([german, swahili], german.surely + 0.1)


def test_rows_that_were_lost_and_rows_that_were_gained():
    before, gold = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 0, 0, 0])
    (found,) = gate.judge({"en": before}, {1: {"en": np.array([0, 1, 0, 0, 2])}}, {"en": gold})
    assert (found.right, found.gained) == ((2, 3), 2)
    assert found.difference == gate.paired_interval(2, 1, 5)


def test_only_what_is_answered_counts():
    """Words beyond a model's length have no answer from either: they hide no flip."""
    before, after = np.full(200, -1), np.full(200, -1)
    before[:40], after[:40], after[:4], after[40] = 1, 1, 2, 1
    (found,) = gate.judge({"en": before}, {1: {"en": after}}, {"en": np.full(200, -1)})
    assert (found.answers, found.flips) == (41, 5)
    nobody = gate.judge({"en": before[50:]}, {1: {"en": before[50:]}}, {"en": before[50:]})
    assert (nobody[0].answers, nobody[0].share, nobody[0].surely) == (0, 0.0, 0.0)


def test_what_is_no_number_is_no_answer():
    logits = np.array([[1, 2], [np.nan, 1], [np.inf, 0], [3, 0]], np.float32)
    assert gate.answers(logits).tolist() == [1, -1, -1, 0]
