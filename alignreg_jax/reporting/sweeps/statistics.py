"""The interval of a cell over its seeds, and a test over examples with Holm's correction.

Two questions need two tests. Would a difference come again if the models were trained again? That
is `dunnett`'s. Would it come again on other test examples? The randomisation test answers that, for
the models at hand.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from pandas.core.groupby import SeriesGroupBy
from scipy import stats

from alignreg_jax.evaluation.examples import ratio

LEVEL = 0.95
DRAWS = 10_000
_SEED = 20220403  # fixed, so that the same predictions give the same p
TINY = 1e-12  # scores that are equal but for rounding have no spread
_KINDS = 256  # of examples whose swaps are drawn at once: 20 MB

Systems = Float[np.ndarray, "seeds _ 2"]  # languages have different numbers of examples
"""A system's answers in one language: parts of the score (`evaluation.examples`) of each seed."""


def intervals(groups: SeriesGroupBy) -> pd.DataFrame:
    """Mean and 95 % interval by Student's t of each group of values, such as those of seeds.

    Half of the interval is NaN, and so are its ends, where the values tell no spread: of a single
    one, or of equal ones, as one collapsed model again and again is no certainty.
    """
    found = pd.DataFrame({"mean": groups.mean(), "std": groups.std(), "seeds": groups.size()})
    error = found.pop("std") / np.sqrt(found.seeds)
    half = stats.t.ppf(0.5 + LEVEL / 2, found.seeds - 1) * error.where(error > TINY)
    return found.assign(half=half, low=found["mean"] - half, high=found["mean"] + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: adjusted p in the order given, none above 1; NaN is no test.

    Rejecting what is below 0.05 after it makes one false rejection or more with probability 0.05
    at most, however the tests depend on one another (Holm 1979).
    """
    adjusted = np.array(p_values, float)
    order = np.argsort(adjusted, kind="stable")[: np.isfinite(adjusted).sum()]
    stepped = np.arange(len(order), 0, -1) * adjusted[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted.tolist()


def randomisation_test(
    languages: Sequence[tuple[Systems, Systems]],
    *,
    parallel: bool = False,
    draws: int = DRAWS,
    seed: int = _SEED,
) -> float:
    """Two-sided p that two systems differ, by swapping their answers example by example.

    Noreen's approximate randomisation: if the systems were the same, an example's two answers could
    be exchanged. The statistic is the difference of the two scores, averaged over seeds and over
    languages, and it is computed anew from the swapped answers: so the test holds for F1, whose
    denominator depends on what is predicted, as it does for a mean over examples (Yeh 2000). An
    example is swapped with all its seeds, and where test sets are `parallel` in all languages at
    once: translations of one sentence are not as many independent draws.

    Args:
        languages: of each, the parts of one system and those of the other.
        parallel: row i of every language is the same example.
        draws: random swaps; the smallest p that can come out is 1 / (1 + draws).
        seed: of the draws.

    Returns:
        (1 + draws at least as far from zero as the observed difference) / (1 + draws).
    """
    if parallel:  # one language with as many seeds as there are languages and seeds
        mine, theirs = (np.concatenate(side) for side in zip(*languages, strict=True))
        languages = [(mine, theirs)]
    generator = np.random.default_rng(seed)
    observed, drawn = 0.0, np.zeros(draws)
    for mine, theirs in languages:
        middle = (mine + theirs).sum(axis=1) / 2
        apart = (mine - theirs) / 2  # what is swapped adds this with the other sign
        observed += _difference(middle, apart.sum(axis=1)[None])[0] / len(languages)
        drawn += _difference(middle, _swapped_sums(apart, draws, generator)) / len(languages)
    as_far = np.abs(drawn) >= abs(observed) - 1e-9
    return (1 + int(as_far.sum())) / (1 + draws)


def _difference(
    middle: Float[np.ndarray, "seeds 2"], apart: Float[np.ndarray, "draws seeds 2"]
) -> Float[np.ndarray, " draws"]:
    """One system's score minus the other's, averaged over seeds, of sums that lie `apart`."""
    return (ratio(middle + apart) - ratio(middle - apart)).mean(axis=1)


def _swapped_sums(
    apart: Systems, draws: int, generator: np.random.Generator
) -> Float[np.ndarray, "draws seeds 2"]:
    """Sums over examples, each with a sign drawn for it."""
    seeds, examples, _ = apart.shape
    rows = apart.transpose(1, 0, 2).reshape(examples, -1)
    rows = rows[rows.any(axis=1)]  # where both systems say the same, nothing can be swapped
    first = rows[np.arange(len(rows)), (rows != 0).argmax(axis=1)]
    rows = (rows * np.sign(first)[:, None]).round(12)
    # The signs of n equal rows add up to 2 * Binomial(n, 1/2) - n: the same distribution as n
    # flips, and many examples are alike.
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    order = np.argsort(counts, kind="stable")  # those that are alone together: a flip is cheaper
    kinds, counts = kinds[order], counts[order]
    sums = np.zeros((draws, rows.shape[1]))
    for begin in range(0, len(kinds), _KINDS):
        many = counts[begin : begin + _KINDS]
        if many.max() == 1:
            swapped = generator.integers(0, 2, (draws, len(many)), dtype=np.int8)
        else:
            swapped = generator.binomial(many, 0.5, (draws, len(many)))
        sums += (2.0 * swapped - many) @ kinds[begin : begin + _KINDS]
    return sums.reshape(draws, seeds, 2)
