"""Whether a smaller model may be served: how many answers differ, language by language.

A mean, and English above all, hides what a language loses. Answers that differ need no labels, and
their share is known far more closely than a difference of two scores.

Every language is a test of its own, and all of them together are one more: that one sees what is
too much a little everywhere. So that a good model is not refused by chance because there are many
languages, each test has its share of the 5 % (Bonferroni).
"""

from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import betaincinv

MAX_FLIPS = 2.0
"""Per cent of a language's answers that may be others."""

TOGETHER = "all languages"
"""Name of the test over the answers of all languages."""

_ERROR = 0.05  # how often a model is refused that changes just as many answers as it may
_TWO_SIDED = NormalDist().inv_cdf(1 - _ERROR / 2)

Answers = Int[np.ndarray, " rows_or_words"]
"""The number of the label of every row or word; -1: none."""


class Judged(NamedTuple):
    """What a language's answers became.

    Attributes:
        language: its name.
        answers: rows or words that either model has an answer for.
        flips: answers that are others than before.
        labelled: answers whose right one is known.
        right: how many of these were right, and are.
        gained: answers that are right and were not.
        batch: rows at once.
        tests: languages that are judged along with this one, all of them together as one more.
    """

    language: str
    answers: int
    flips: int
    labelled: int
    right: tuple[int, int]
    gained: int
    batch: int
    tests: int = 1

    @property
    def share(self) -> float:
        """Per cent of the answers that are others."""
        return 100 * self.flips / max(self.answers, 1)

    @property
    def surely(self) -> float:
        """Per cent that are others at the least."""
        return lower_bound(self.flips, self.answers, self.tests)

    @property
    def scores(self) -> tuple[float, float] | None:
        """Per cent that were right, and are; None without labels."""
        before, after = (100 * each / max(self.labelled, 1) for each in self.right)
        return (before, after) if self.labelled else None

    @property
    def difference(self) -> tuple[float, float] | None:
        """Interval of 95 % for the points that it gained; None without labels."""
        lost = self.right[0] - (self.right[1] - self.gained)
        return paired_interval(self.gained, lost, self.labelled) if self.labelled else None


def answers(logits: Float[np.ndarray, "rows_or_words labels"]) -> Answers:
    """The label with the largest logit; none where a logit is not a number."""
    finite = np.asarray(np.isfinite(logits).all(axis=-1))
    return np.where(finite, np.where(finite[:, None], logits, 0).argmax(axis=-1), -1)


def nearest(vectors: Float[np.ndarray, "rows hidden"]) -> Answers:
    """Which other row every row is most like, by the cosine: what a model without a head answers.

    None where a value is not a number, or there is no other row; of equals the first.
    """
    wide = np.asarray(vectors, np.float64)
    finite = np.asarray(np.isfinite(wide).all(axis=-1))
    wide = np.where(finite[:, None], wide, 0)
    lengths = np.linalg.norm(wide, axis=-1, keepdims=True)
    wide = wide / np.where(lengths > 0, lengths, 1)
    alike = np.where(finite[None, :], wide @ wide.T, -np.inf)
    np.fill_diagonal(alike, -np.inf)
    found = alike.argmax(axis=-1)
    there = finite & np.isfinite(alike.max(axis=-1))
    return np.where(there, found, -1)


def judge(
    before: Mapping[str, Answers],
    after: Mapping[int, Mapping[str, Answers]],
    gold: Mapping[str, Answers],
) -> list[Judged]:
    """Compare a model's answers with those of the one that it is made of.

    Args:
        before: the original's answers, by language.
        after: by rows in a batch, which decide over the scales of eight-bit activations. Of each
            language the batch counts in which most answers differ.
        gold: right answers, -1 where they are not known.
    """
    return [
        max(
            (_judged(language, old, each[language], gold[language], batch)
             for batch, each in after.items()),
            key=lambda found: found.flips,
        )._replace(tests=tests(len(before)))
        for language, old in before.items()
    ]  # fmt: skip


def tests(languages: int) -> int:
    """How many questions are asked of a model: of every language, and of several together."""
    return languages + 1 if languages > 1 else 1


def failed(judged: list[Judged], most: float) -> list[Judged]:
    """Those languages in which surely more than `most` per cent of the answers are others.

    All of them together come last, if that holds of their answers taken together.
    """
    found = [each for each in judged if each.surely > most]
    if len(judged) < 2:
        return found
    total, flips = (sum(getattr(each, name) for each in judged) for name in ("answers", "flips"))
    everywhere = Judged(TOGETHER, total, flips, 0, (0, 0), 0, 0, tests(len(judged)))
    return [*found, *([everywhere] if everywhere.surely > most else [])]


def lower_bound(count: int, total: int, tests: int = 1) -> float:
    """One-sided lower bound of a share, in per cent (Wilson 1927).

    Args:
        count: answers that are others.
        total: answers.
        tests: bounds that are to hold all at once in 95 % of cases.
    """
    if not count:
        return 0.0
    deviations = NormalDist().inv_cdf(1 - _ERROR / tests)
    share, extra = count / total, deviations**2 / total
    spread = deviations * np.sqrt(share * (1 - share) / total + extra / (4 * total))
    return float(100 * (share + extra / 2 - spread) / (1 + extra))


def noticed(total: int, tests: int, most: float, power: float = 0.8) -> float:
    """How many other answers a language must have, in per cent, to be refused with `power`.

    Args:
        total: its answers.
        tests: as of `lower_bound`.
        most: per cent that are allowed.
        power: share of cases in which it is refused.

    Returns:
        100 if not even that is noticed: too few answers.
    """
    refused = [count for count in range(total + 1) if lower_bound(count, total, tests) > most]
    if not refused:
        return 100.0
    # Clopper and Pearson's bound: the share at which so many or more are met with `power`
    return float(100 * betaincinv(refused[0], total - refused[0] + 1, power))


def paired_interval(gained: int, lost: int, total: int) -> tuple[float, float]:
    """Interval of 95 % of a difference of two shares of the same rows, in points.

    After Agresti and Min (2005), with half a row more in each of the four cells.

    Args:
        gained: rows that only the second gets right.
        lost: rows that only the first gets right.
        total: rows.
    """
    rows = total + 2
    middle = (gained - lost) / rows
    spread = np.sqrt((gained + lost + 1) / rows - middle**2) / np.sqrt(rows)
    return (
        float(100 * (middle - _TWO_SIDED * spread)),
        float(100 * (middle + _TWO_SIDED * spread)),
    )


def _judged(language: str, old: Answers, new: Answers, gold: Answers, batch: int) -> Judged:
    known = gold >= 0
    was, now = (known & (each == gold) for each in (old, new))
    return Judged(
        language,
        int(np.count_nonzero((old >= 0) | (new >= 0))),
        int(np.count_nonzero(old != new)),
        int(np.count_nonzero(known)),
        (int(np.count_nonzero(was)), int(np.count_nonzero(now))),
        int(np.count_nonzero(now & ~was)),
        batch,
    )
