"""From predicted numbers to label names, and to the scores of every language."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from alignreg_jax.data.schema import Split, Texts
from alignreg_jax.data.tasks import Task
from alignreg_jax.evaluation import metrics

LOST = "O"
"""What counts as predicted for a word that was cut off, as in XGLUE's own evaluation."""


def names(split: Split, numbers: np.ndarray, labels: Sequence[str]) -> Texts:
    """Label names of a split's rows, or in token tasks of each sentence's words.

    Args:
        split: the rows.
        numbers: of labels, one a row or word; -1 is a lost word.
        labels: their names.
    """
    found = [labels[number] if number >= 0 else LOST for number in numbers]
    if not split.in_words:
        return found
    words = iter(found)
    return [list(islice(words, count)) for count in split.words]


def score(
    task: Task,
    labels: Sequence[str],
    gold: Mapping[tuple[str, str], Split],
    predictions: Mapping[tuple[str, str], np.ndarray],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scores {split: {language: {metric: value}}} and row counts {split: {language: n}}."""
    scores: dict[str, Any] = {}
    examples: dict[str, Any] = {}
    for (split, language), numbers in predictions.items():
        rows = gold[split, language]
        scores.setdefault(split, {})[language] = metrics.score(
            task.metrics,
            names(rows, rows.labels, labels),
            names(rows, numbers, labels),
            queries=rows.text_a,
        )
        examples.setdefault(split, {})[language] = rows.rows
    return scores, examples
