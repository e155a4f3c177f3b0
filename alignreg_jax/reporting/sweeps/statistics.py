"""The statistics behind the table: intervals over seeds, a test over examples, Holm's correction.

Two questions need two tests. Would the difference come again if the models were trained again? The
interval over seeds answers that. Would it come again on other test examples? The randomisation test
answers that, for the models at hand.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

LEVEL = 0.95
DRAWS = 10_000
_SEED = 20220403  # fixed, so that the same predictions give the same p


class Interval(NamedTuple):
    """A mean and half the width of its 95 % interval; None where one value tells no spread."""

    mean: float
    half: float | None
    count: int

    @property
    def low(self) -> float | None:
        """Lower end."""
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        """Upper end."""
        return None if self.half is None else self.mean + self.half


def t_interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval by Student's t over independent values, such as those of seeds.

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("the mean of no values")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Interval(mean, None, 1)
    deviation = float(np.std(values, ddof=1))
    half = _quantile(len(values) - 1) * deviation / math.sqrt(len(values))
    return Interval(mean, half, len(values))


def paired_t_test(differences: Sequence[float]) -> float | None:
    """Two-sided p of Student's paired t-test that the mean of the differences is not zero.

    Returns:
        None for one difference, which tells no spread; for equal ones 1 if they are zero, else 0.
    """
    if len(differences) < 2:
        return None
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    tested: Any = stats.ttest_1samp(differences, 0.0)  # its fields are declared nowhere
    return float(tested.pvalue)


@cache
def _quantile(freedom: int) -> float:
    return float(stats.t.ppf(0.5 + LEVEL / 2, freedom))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: adjusted p in the order given, none above 1.

    Rejecting what is below 0.05 after it makes one false rejection or more with probability 0.05
    at most, however the tests depend on one another (Holm 1979).
    """
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(highest, 1.0)
    return adjusted


def randomisation_test(
    differences: Sequence[Float[np.ndarray, "_"]], draws: int = DRAWS, seed: int = _SEED
) -> float:
    """Two-sided p that two systems differ, by swapping their answers example by example.

    Noreen's approximate randomisation: if the systems were the same, an example's two answers could
    be exchanged, which turns the sign of its difference. The statistic is the mean over languages
    of the mean over examples; an example is swapped within its language, with all its seeds.

    Args:
        differences: a language each: per example, score of one system minus score of the other,
            averaged over seeds.
        draws: random swaps; the smallest p that can come out is 1 / (1 + draws).
        seed: of the draws.

    Returns:
        (1 + draws at least as far from zero as the observed mean) / (1 + draws).
    """
    generator = np.random.default_rng(seed)
    observed, drawn = 0.0, np.zeros(draws)
    for values in differences:
        share = 1 / (len(values) * len(differences))
        observed += share * float(values.sum())
        # The signs of n equal differences add up to 2 * Binomial(n, 1/2) - n: the same distribution
        # as n flips, and accuracies have few different differences. Zeros never count.
        sizes, counts = np.unique(np.abs(values).round(12), return_counts=True)
        for size, count in zip(sizes, counts, strict=True):
            if size:
                drawn += share * size * (2.0 * generator.binomial(count, 0.5, draws) - count)
    as_far = np.abs(drawn) >= abs(observed) - 1e-12
    return (1 + int(as_far.sum())) / (1 + draws)


def _matches(gold: Sequence[str], predicted: Sequence[str]) -> Float[np.ndarray, "_"]:
    return np.array([right == said for right, said in zip(gold, predicted, strict=True)], float)


EXAMPLE_SCORES: dict[str, Callable[[Sequence[str], Sequence[str]], Float[np.ndarray, "_"]]] = {
    "accuracy": _matches,
}
"""Metric -> (gold, predicted) -> the score of each example, whose mean is the score. A metric that
is not a mean over examples (F1 over a whole test set) has no row, and no test over examples."""
