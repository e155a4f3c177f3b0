"""Rows against a baseline over seeds: an error pooled over all of them, and what it can detect.

A row's own seeds, two or three, say little about how far seeds spread; the seeds of all rows
together say it well. Dunnett (1955) compares every row with one baseline by that pooled error, so
that all of the comparisons together have one error rate. docs/statistics.md has why, and how the
test behaves where rows spread differently.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize, special, stats

from alignreg_jax.reporting.sweeps.statistics import LEVEL, TINY

SIGNIFICANT = 0.05
POWER = 0.8
_NODES = 48
_DRAWS = 20_000
_MANY = 100  # seeds
_SEED = 19551209

Values = Sequence[float]


class Pooled(NamedTuple):
    """The standard deviation of a score between seeds, and its degrees of freedom."""

    spread: float
    freedom: int


class Contrast(NamedTuple):
    """A row's mean minus the baseline's; half its interval and p are NaN without a spread."""

    difference: float
    half: float
    p: float


def pooled(groups: Sequence[Values]) -> Pooled | None:
    """The spread within groups, pooled; None where none has two values, or none that differ."""
    freedom = sum(len(group) - 1 for group in groups if len(group) > 1)
    squares = sum(float(np.var(group)) * len(group) for group in groups if len(group) > 1)
    if not freedom or math.sqrt(squares / freedom) < TINY:
        return None
    return Pooled(math.sqrt(squares / freedom), freedom)


def contrasts(baseline: Values, rows: Sequence[Values], *, together: bool = True) -> list[Contrast]:
    """Compare every row with the baseline; the intervals and the p of all hold together.

    The error of a difference is the pooled one, or that of its own two groups where that is larger.
    Besides, the two alone have to differ by Welch's test: p is the larger one of the two. A row
    that spreads much wider than the others therefore neither profits from their narrow spread nor,
    beyond its share of the pool, does it hide what they show. Without `together` each interval
    holds for itself alone, and there is no p.
    """
    error, found = pooled([baseline, *rows]), []
    owns = [_own_error(baseline, row) for row in rows]
    sizes = [len(row) for row, own in zip(rows, owns, strict=True) if own]
    shares = np.array([size / (size + len(baseline)) for size in sizes])
    for row, own in zip(rows, owns, strict=True):
        difference, half, p = float(np.mean(row) - np.mean(baseline)), math.nan, math.nan
        if error is not None and own is not None:
            size = max(error.spread * math.sqrt(1 / len(row) + 1 / len(baseline)), own)
            limit = float(stats.t.ppf(0.5 + LEVEL / 2, error.freedom))
            if together:
                limit = critical(tuple(shares), error.freedom)
                beyond = 1 - within(abs(difference) / size, shares, error.freedom)
                p = min(max(beyond, _welch(baseline, row), 0.0), 1.0)
            half = limit * size
        found.append(Contrast(difference, half, p))
    return found


def within(bound: float, shares: Float[np.ndarray, " rows"], freedom: int) -> float:
    """The probability that no row's statistic exceeds `bound` in size if none differs.

    Dunnett's integral: given the baseline's mean and the pooled spread the rows are independent.

    Args:
        bound: of the statistics, differences divided by their standard error.
        shares: of each row, its runs divided by its own and the baseline's together.
        freedom: degrees of freedom of the pooled spread.
    """
    means, mean_weights, spreads, weights = _nodes(freedom)
    loading, own = np.sqrt(shares), np.sqrt(1 - shares)
    shift = np.multiply.outer(means, loading)
    limit = bound * spreads[:, None, None]
    inside = special.ndtr((limit - shift) / own) - special.ndtr((-limit - shift) / own)
    return float(weights / 2 @ inside.prod(axis=-1) @ (mean_weights / math.sqrt(2 * math.pi)))


@cache
def _nodes(freedom: int) -> tuple[Float[np.ndarray, " nodes"], ...]:
    """Where Dunnett's integral is taken, with weights: the baseline's mean, the pooled spread."""
    means, mean_weights = np.polynomial.hermite_e.hermegauss(_NODES)
    quantiles, weights = special.roots_legendre(_NODES)
    spreads = np.sqrt(stats.chi2.ppf((quantiles + 1) / 2, freedom) / freedom)
    return means, mean_weights, spreads, weights


@cache
def critical(shares: tuple[float, ...], freedom: int) -> float:
    """The statistic that one row or more exceeds in one family of twenty if none differs."""
    found = np.array(shares)
    beyond: Any = optimize.brentq(
        lambda limit: within(limit, found, freedom) - LEVEL, 0.1, 1e3, xtol=1e-5
    )
    return float(beyond)


def detectable(spread: float, seeds: int, rows: int) -> float:
    """The smallest true difference of one row that a family finds with probability `POWER`.

    Args:
        spread: standard deviation of the score between seeds, the same in every row.
        seeds: of each row and of the baseline, two or more.
        rows: how many are compared with the baseline.
    """
    return spread * _detectable(seeds, rows)


@cache
def _detectable(seeds: int, rows: int) -> float:
    # By simulation, as the two conditions of `contrasts` have no common distribution in print. Of
    # each draw the smallest difference that would have been found is known exactly.
    draw = np.random.default_rng(_SEED)
    each, freedom = seeds - 1, (rows + 1) * (seeds - 1)
    luck = draw.standard_normal(_DRAWS) * math.sqrt(2 / seeds)
    mine, theirs = draw.chisquare(each, (2, _DRAWS)) / each
    others = draw.chisquare(freedom - 2 * each, _DRAWS) if rows > 1 else 0.0
    common = np.sqrt(2 / seeds * (each * (mine + theirs) + others) / freedom)
    own = np.sqrt((mine + theirs) / seeds)
    own_freedom = each * (mine + theirs) ** 2 / (mine**2 + theirs**2)
    limit = critical((0.5,) * rows, freedom)
    alone = stats.t.ppf(0.5 + LEVEL / 2, own_freedom)
    needed = np.maximum(limit * np.maximum(common, own), alone * own) - luck
    return float(np.quantile(needed, POWER))


def seeds_needed(difference: float, spread: float, rows: int) -> int:
    """How many seeds a row it takes to find a true difference with probability `POWER`."""
    rough = math.ceil(_MANY * (detectable(spread, _MANY, rows) / difference) ** 2)
    # It falls with the root of their number, and faster where they are few
    few, most = (2, _MANY) if rough <= _MANY else (_MANY, rough + rough // 10)
    found = range(few, most)
    return few + bisect_left(found, -difference, key=lambda n: -detectable(spread, n, rows))


def _own_error(baseline: Values, row: Values) -> float | None:
    """The standard error of a difference by the spread of its two groups; None without one."""
    if min(len(row), len(baseline)) < 2:
        return None
    error = math.sqrt(np.var(row, ddof=1) / len(row) + np.var(baseline, ddof=1) / len(baseline))
    return error if error > TINY else None


def _welch(baseline: Values, row: Values) -> float:
    mine, theirs = ((np.mean(x), np.std(x, ddof=1), len(x)) for x in (row, baseline))
    return float(stats.ttest_ind_from_stats(*mine, *theirs, equal_var=False).pvalue)
