"""Whether a smaller model may be served: how many answers differ, language by language.

A mean, and English above all, hides what a language loses. Answers that differ need no labels, and
their share is known far more closely than a difference of two scores.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

MAX_FLIPS = 2.0
"""Per cent of a language's answers that may be others."""

_ONE_SIDED, _TWO_SIDED = 1.6448536269514722, 1.959963984540054  # of the normal, 95 %

Answers = Int[np.ndarray, " rows_or_words"]
"""The number of the label of every row or word; -1: none."""


class Judged(NamedTuple):
    """What a language's answers became.

    Attributes:
        language: its name.
        answers: rows or words.
        flips: answers that are others than before.
        labelled: answers whose right one is known.
        right: how many of these were right, and are.
        gained: answers that are right and were not.
        batch: rows at once.
    """

    language: str
    answers: int
    flips: int
    labelled: int
    right: tuple[int, int]
    gained: int
    batch: int

    @property
    def share(self) -> float:
        """Per cent of the answers that are others."""
        return 100 * self.flips / self.answers

    @property
    def surely(self) -> float:
        """Per cent that are others at the least: the lower bound of 95 %."""
        return lower_bound(self.flips, self.answers)

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
    finite = np.isfinite(logits).all(axis=-1)
    return np.where(finite, np.where(finite[:, None], logits, 0).argmax(axis=-1), -1)


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
        )
        for language, old in before.items()
    ]  # fmt: skip


def failed(judged: list[Judged], most: float) -> list[Judged]:
    """Those languages in which surely more than `most` per cent of the answers are others."""
    return [each for each in judged if each.surely > most]


def lower_bound(count: int, total: int) -> float:
    """One-sided lower bound of 95 % of a share, in per cent (Wilson 1927)."""
    if not count:
        return 0.0
    share, extra = count / total, _ONE_SIDED**2 / total
    spread = _ONE_SIDED * np.sqrt(share * (1 - share) / total + extra / (4 * total))
    return float(100 * (share + extra / 2 - spread) / (1 + extra))


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
        len(old),
        int(np.count_nonzero(old != new)),
        int(np.count_nonzero(known)),
        (int(np.count_nonzero(was)), int(np.count_nonzero(now))),
        int(np.count_nonzero(now & ~was)),
        batch,
    )
