"""Intervals over seeds, Holm's correction, and p-values of the test over examples."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from alignreg_jax.reporting.sweeps import statistics

SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=8)


def interval_of(values):
    """The interval of one group of values."""
    return statistics.intervals(pd.Series(values, dtype=float).groupby(lambda _: 0)).loc[0]


def test_the_interval_of_three_seeds_by_hand():
    # Two degrees of freedom have a closed form, t = 4.302653; the deviation of 1, 2, 3 is 1.
    interval = interval_of([1.0, 2.0, 3.0])
    assert interval["mean"] == 2.0
    assert interval.half == pytest.approx(0.95 / np.sqrt((1 - 0.95**2) / 2) / np.sqrt(3))
    assert (interval.low, interval.high) == (2 - interval.half, 2 + interval.half)


@given(values=SCORES)
def test_the_interval_is_scipys(values):
    interval = interval_of(values)
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    if np.std(values, ddof=1) < 1e-12:
        assert np.isnan(interval.half)
        return
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
    assert interval.low == pytest.approx(low, abs=1e-12)
    assert interval.high == pytest.approx(high, abs=1e-12)


def test_one_value_has_no_interval():
    interval = interval_of([0.4])
    assert (interval["mean"], interval.seeds) == (0.4, 1)
    assert interval[["half", "low", "high"]].isna().all()


def test_holm_by_hand():
    # Sorted: .005 * 4 = .02, .01 * 3 = .03, .03 * 2 = .06, .04 * 1 = .04 but not below .06.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.6, 0.9]) == [1.0, 1.0]
    assert statistics.holm([0.02]) == [0.02]
    assert statistics.holm([]) == []


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p_values):
    adjusted = statistics.holm(p_values)
    for p, corrected in zip(p_values, adjusted, strict=True):
        assert p <= corrected <= max(p, min(1.0, len(p_values) * p))
    ranked = [adjusted[index] for index in np.argsort(p_values, kind="stable")]
    assert ranked == sorted(ranked)


def systems(values):
    """Two systems of one seed whose scores are means, apart by `values`."""
    mine, theirs = (
        np.stack([side, np.ones(len(values))], axis=1)[None] for side in (values, 0 * values)
    )
    return mine, theirs


def randomisation_test(languages, **options):
    return statistics.randomisation_test([systems(values) for values in languages], **options)


def test_systems_that_answer_alike_have_p_one():
    assert randomisation_test([np.zeros(50), np.zeros(20)]) == 1.0


def test_the_smallest_p_is_one_over_the_draws_and_one():
    assert randomisation_test([np.ones(400)], draws=999) == 1 / 1000


@pytest.mark.parametrize("accuracy", [True, False])
def test_p_is_that_of_all_swaps_within_monte_carlo_error(accuracy):
    random = np.random.default_rng(5)
    if accuracy:
        languages = [np.array([1, 1, 0, -1, 1, 1.0]), np.array([0, 1, 1, -1.0])]
    else:
        languages = [random.normal(0.3, 1, 6), random.normal(0.3, 1, 5)]
    observed = np.mean([values.mean() for values in languages])
    swapped = [
        np.array(list(itertools.product((1, -1), repeat=len(values)))) @ values / len(values)
        for values in languages
    ]
    means = np.add.outer(*swapped) / 2
    exact = np.mean(np.abs(means) >= abs(observed) - 1e-12)
    p = randomisation_test(languages)
    assert 0.05 < exact < 0.95
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / statistics.DRAWS))


def test_p_is_scipys_permutation_test_of_one_language():
    random = np.random.default_rng(3)
    mine, theirs = random.integers(0, 2, (2, 12)).astype(float)

    def statistic(first, second, axis):
        return np.mean(first - second, axis=axis)

    exact = stats.permutation_test(
        (mine, theirs), statistic, permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue
    p = randomisation_test([mine - theirs])
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / statistics.DRAWS))


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_p_does_not_care_who_is_first_and_repeats(data):
    differences = st.lists(st.sampled_from([-1, -1 / 3, 0, 1 / 3, 1]), min_size=1, max_size=30)
    languages = [
        np.array(data.draw(differences), float) for _ in range(data.draw(st.integers(1, 3)))
    ]
    p = randomisation_test(languages, draws=500)
    assert 1 / 501 <= p <= 1
    assert p == randomisation_test(languages, draws=500)
    assert p == randomisation_test([-values for values in languages], draws=500)


def test_p_is_uniform_where_there_is_no_difference():
    random = np.random.default_rng(11)
    p_values = [
        randomisation_test(list(random.normal(0, 1, (2, 25))), draws=400, seed=trial)
        for trial in range(300)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    # The same check sees p-values that are too small.
    assert stats.kstest(np.square(p_values), "uniform").pvalue < 1e-6


def taggers(random, sentences, seeds=2, edge=0):
    """(2 x hits, predicted + right) a sentence of two taggers, a pair a language."""
    found = []
    for _ in range(2):
        right = random.integers(1, 4, sentences)
        sides = []
        for better in (edge, 0):
            hits = random.binomial(right, 0.4 + better, (seeds, sentences))
            said = hits + random.poisson(1.0, (seeds, sentences))
            sides.append(np.stack([2 * hits, said + right], axis=-1).astype(float))
        found.append(tuple(sides))
    return found


def test_p_of_f1_is_that_of_all_swaps():
    """Sentences are swapped with all their seeds, and both systems are scored anew."""
    languages = taggers(np.random.default_rng(6), 6)

    def scores(parts):
        sums = parts.sum(axis=1)
        return np.mean(sums[:, 0] / sums[:, 1])

    def differences(mine, theirs):
        for swapped in itertools.product((False, True), repeat=mine.shape[1]):
            swap = np.array(swapped)[:, None]
            yield scores(np.where(swap, theirs, mine)) - scores(np.where(swap, mine, theirs))

    first, second = (list(differences(*language)) for language in languages)
    means = np.add.outer(first, second) / 2
    exact = np.mean(np.abs(means) >= abs(means[0, 0]) - 1e-12)
    assert 0.05 < exact < 0.95
    p = statistics.randomisation_test(languages)
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / statistics.DRAWS))


def test_p_of_f1_is_uniform_without_a_difference_and_small_with_one():
    random = np.random.default_rng(12)
    p_values = [
        statistics.randomisation_test(taggers(random, 40), draws=200, seed=trial)
        for trial in range(200)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert statistics.randomisation_test(taggers(random, 200, edge=0.3), draws=200) == 1 / 201


def translated(random, rows, languages, spread):
    """What two systems of equal skill score on the same rows in many languages, apart by luck."""
    common = random.normal(0, spread, (2, rows))
    found = []
    for _ in range(languages):
        own = random.normal(0, np.sqrt(1 - spread**2), (2, rows))
        mine, theirs = (common + own > 0).astype(float)[:, None, :, None]
        found.append(tuple(np.concatenate([s, np.ones_like(s)], -1) for s in (mine, theirs)))
    return found


def test_translated_test_sets_are_one_draw():
    """14 languages whose rows correlate: a row is swapped in all of them, or p is far too small."""
    random = np.random.default_rng(21)
    trials, apart, together = 300, 0, 0
    for trial in range(trials):
        languages = translated(random, 40, 14, 0.7**0.5)
        options = {"draws": 99, "seed": trial}
        apart += statistics.randomisation_test(languages, **options) <= 0.05
        together += statistics.randomisation_test(languages, parallel=True, **options) <= 0.05
    assert together <= trials * (0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5)
    assert apart > 0.2 * trials


def test_p_of_parallel_rows_is_that_of_all_swaps():
    random = np.random.default_rng(2)
    languages = taggers(random, 8)

    def score(parts):
        sums = parts.sum(axis=1)
        return np.mean(sums[:, 0] / sums[:, 1])

    differences = []
    for swapped in itertools.product((False, True), repeat=8):
        swap = np.array(swapped)[:, None]
        differences.append(
            np.mean(
                [
                    score(np.where(swap, theirs, mine)) - score(np.where(swap, mine, theirs))
                    for mine, theirs in languages
                ]
            )
        )
    exact = np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12)
    assert 0.05 < exact < 0.95
    p = statistics.randomisation_test(languages, parallel=True)
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / statistics.DRAWS))
