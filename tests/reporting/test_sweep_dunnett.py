"""The test over seeds against scipy's, and what it does in simulated sweeps."""

import numpy as np
import pytest
from scipy import stats

from alignreg_jax.reporting.sweeps import dunnett

TRIALS = 20_000
SIZES = [(seeds, rows) for seeds in (3, 5) for rows in (4, 14)]
"""Seeds a row, and rows with the baseline among them."""


def allowed(trials=TRIALS):
    """5 %, and three standard errors of what a simulation counts."""
    return 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5


def found(scores):
    """The rule of `contrasts` for many sweeps at once: whether each row differs.

    `scores` are [trials, seeds, rows]; the first row is the baseline.
    """
    _, seeds, groups = scores.shape
    rows, freedom = groups - 1, groups * (seeds - 1)
    means, squares = scores.mean(axis=1), scores.var(axis=1, ddof=1)
    difference = np.abs(means[:, 1:] - means[:, :1])
    own = (squares[:, 1:] + squares[:, :1]) / seeds
    common = 2 * squares.mean(axis=1, keepdims=True) / seeds
    bound = dunnett.critical((0.5,) * rows, freedom)
    share = squares[:, 1:] ** 2 + squares[:, :1] ** 2
    own_freedom = (seeds - 1) * (own * seeds) ** 2 / share
    alone = stats.t.ppf(0.975, own_freedom)
    together = difference > bound * np.sqrt(np.maximum(own, common))
    return together & (difference > alone * np.sqrt(own))


@pytest.fixture
def random():
    return np.random.default_rng(7)


# ---- Against scipy ----------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(3, 3, 3, 3), (2, 3, 5, 4, 3), (5, 5)])
def test_p_and_intervals_are_scipys_where_rows_spread_alike(random, sizes):
    """scipy pools the spread and no more; it is ours where no two rows spread wider than all."""
    base, *rows = (np.sort(random.normal(0, 1, size)) for size in sizes)
    base, *rows = ((row - row.mean()) / row.std(ddof=1) for row in (base, *rows))
    base = base.tolist()
    rows = [(row + by).tolist() for row, by in zip(rows, (0.5, 4.0, 9.0, 2.5), strict=False)]
    known = stats.dunnett(*rows, control=base, rng=0)
    interval = known.confidence_interval(0.95)
    for place, contrast in enumerate(dunnett.contrasts(base, rows)):
        welch = stats.ttest_ind(rows[place], base, equal_var=False).pvalue
        assert contrast.p == pytest.approx(max(known.pvalue[place], welch), abs=5e-4)
        width = (interval.high - interval.low)[place]
        assert 2 * contrast.half == pytest.approx(width, rel=2e-3)


@pytest.mark.parametrize(
    ("rows", "freedom", "bound"), [(1, 10, 2.228), (2, 10, 2.57), (4, 20, 2.65), (3, 5, 3.29)]
)
def test_bounds_are_those_of_dunnetts_table(rows, freedom, bound):
    """Dunnett (1964), two-sided 5 %; of one row it is Student's t."""
    assert dunnett.critical((0.5,) * rows, freedom) == pytest.approx(bound, abs=0.006)


@pytest.mark.parametrize(("sizes", "freedom"), [((0.5,) * 9, 60), ((0.4, 0.5, 0.6), 8)])
def test_bounds_are_those_of_scipys_multivariate_t(sizes, freedom):
    shares = np.array(sizes)
    correlation = np.sqrt(np.outer(shares, shares))
    np.fill_diagonal(correlation, 1.0)
    bound = np.full(len(sizes), dunnett.critical(sizes, freedom))
    known = stats.multivariate_t(shape=correlation, df=freedom, seed=0)
    assert known.cdf(bound, lower_limit=-bound) == pytest.approx(0.95, abs=5e-4)


def test_the_simulations_rule_is_the_one_that_is_used(random):
    scores = random.normal(0, 1, (12, 3, 5)) + np.array([0, 0, 3, 6, 9])
    scores[:4, :, 3] *= 3
    for trial, marks in zip(scores, found(scores), strict=True):
        base, *rows = trial.T.tolist()
        p_values = [contrast.p for contrast in dunnett.contrasts(base, rows)]
        assert [p < 0.05 for p in p_values] == list(marks)


# ---- What it does -----------------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "rows"), SIZES)
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_without_a_difference_one_sweep_of_twenty_finds_one(random, seeds, rows, shared):
    """Rows share `shared` of a seed's luck, as runs do that see the same order of the data."""
    luck = random.normal(0, shared**0.5, (TRIALS, seeds, 1))
    scores = luck + random.normal(0, (1 - shared) ** 0.5, (TRIALS, seeds, rows))
    assert found(scores).any(axis=1).mean() <= allowed()


@pytest.mark.parametrize(("seeds", "rows"), SIZES)
def test_a_row_that_spreads_three_times_as_wide_does_not_break_it(random, seeds, rows):
    scores = random.normal(0, 1, (TRIALS, seeds, rows))
    scores[..., -1] *= 3
    assert found(scores).any(axis=1).mean() <= allowed()
    # The same simulation sees that the pooled spread alone would break it.
    difference = np.abs(scores[..., 1:].mean(axis=1) - scores[..., :1].mean(axis=1))
    spread = np.sqrt(2 / seeds * scores.var(axis=1, ddof=1).mean(axis=1, keepdims=True))
    bound = dunnett.critical((0.5,) * (rows - 1), rows * (seeds - 1))
    assert (difference > bound * spread).any(axis=1).mean() > 0.07


@pytest.mark.parametrize(("seeds", "rows"), SIZES)
def test_rows_that_do_not_share_the_others_luck_do_not_break_it(random, seeds, rows):
    """Most rows move together by seed and a quarter does not, as on the bundled data."""
    scores = random.normal(0, 1, (TRIALS, seeds, rows))
    together = slice(0, rows - rows // 4)
    luck = random.normal(0, 0.9**0.5, (TRIALS, seeds, 1))
    scores[..., together] = luck + 0.1**0.5 * scores[..., together]
    assert found(scores).any(axis=1).mean() <= allowed()
    # A block for each seed takes its luck off the error, also for those that did not have it.
    means, error = scores.mean(axis=1), scores - scores.mean(axis=1, keepdims=True)
    error = error - error.mean(axis=2, keepdims=True)
    freedom = (rows - 1) * (seeds - 1)
    spread = np.sqrt(2 / seeds * (error**2).sum(axis=(1, 2)) / freedom)[:, None]
    bound = dunnett.critical((0.5,) * (rows - 1), freedom)
    assert (np.abs(means[:, 1:] - means[:, :1]) > bound * spread).any(axis=1).mean() > 0.09


@pytest.mark.parametrize(("seeds", "rows"), [*SIZES, (2, 4)])
def test_a_difference_of_the_printed_size_is_found_in_four_sweeps_of_five(random, seeds, rows):
    scores = random.normal(0, 2.0, (TRIALS, seeds, rows))
    scores[..., 1] -= dunnett.detectable(2.0, seeds, rows - 1)
    assert 0.78 < found(scores)[:, 0].mean() < 0.82


def test_the_printed_size_by_the_spread_that_a_sweep_measures_itself(random):
    """A sweep prints it from its own spread: right on average, and with 28 degrees of freedom."""
    printed = [
        dunnett.pooled(scores.T.tolist()).spread * dunnett.detectable(1.0, 3, 13)
        for scores in random.normal(0, 1.0, (400, 3, 14))
    ]
    scores = random.normal(0, 1.0, (TRIALS, 3, 14))
    scores[..., 1] += random.choice(printed, TRIALS)[:, None]
    assert 0.75 < found(scores)[:, 0].mean() < 0.85


@pytest.mark.parametrize(("difference", "spread", "rows"), [(1.09, 2.0, 13), (0.65, 0.5, 2)])
def test_seeds_needed_is_the_first_number_that_detects(difference, spread, rows):
    seeds = dunnett.seeds_needed(difference, spread, rows)
    assert dunnett.detectable(spread, seeds, rows) <= difference
    assert dunnett.detectable(spread, seeds - 1, rows) > difference


def test_two_seeds_are_enough_for_a_difference_that_is_large():
    assert dunnett.seeds_needed(30.0, 1.0, 4) == 2


# ---- Without a spread -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "row"),
    [
        ([0.4, 0.4], [0.5, 0.5]),  # two seeds that collapsed to the same score
        ([0.1 + 0.2, 0.3], [0.5, 0.5]),  # equal but for rounding
        ([0.4], [0.5]),
        ([0.4, 0.5], [0.5]),
        ([0.4], [0.5, 0.6]),
    ],
)
def test_no_p_without_a_spread(base, row):
    single = dunnett.contrasts(base, [row], together=False)
    for contrast in (*dunnett.contrasts(base, [row]), *single):
        assert contrast.difference == pytest.approx(np.mean(row) - np.mean(base))
        assert np.isnan([contrast.half, contrast.p]).all()


def test_a_row_without_a_spread_is_tested_by_the_others(random):
    """Its own is the baseline's then; a pair without any is not tested, whatever the others say."""
    base, other = random.normal(0, 1, (2, 3)).tolist()
    constant, same = dunnett.contrasts(base, [[9.0] * 3, other])
    assert np.isfinite([constant.p, same.p]).all()
    flat, other = dunnett.contrasts([0.0] * 3, [[9.0] * 3, other])
    assert np.isnan(flat.p)
    assert np.isfinite(other.p)
