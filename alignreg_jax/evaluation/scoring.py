"""From predicted numbers to label names, and to the scores of every language."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from alignreg_jax.data.schema import Split, Texts
from alignreg_jax.data.tasks import Task
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import metrics
from alignreg_jax.evaluation.intervals import Scored, score_intervals
from alignreg_jax.evaluation.tags import tag_scores

LOST = "O"
"""What counts as predicted for a word that was cut off, as in XGLUE's own evaluation."""

ENTITIES = "f1"
"""The metric whose tasks have tags that begin and continue something (IOB)."""


def names(split: Split, numbers: np.ndarray, labels: Sequence[str]) -> Texts:
    """Label names of a split's rows, or in token tasks of each sentence's words.

    Args:
        split: the rows.
        numbers: of labels, one a row or word; -1 is a lost word.
        labels: their names.
    """
    found = [labels[int(number)] if number >= 0 else LOST for number in numbers]
    if not split.in_words:
        return found
    words = iter(found)
    return [list(islice(words, count)) for count in split.words]


def score(
    task: Task,
    labels: Sequence[str],
    gold: Mapping[tuple[str, str], Split],
    predictions: Mapping[tuple[str, str], np.ndarray],
) -> dict[str, Any]:
    """What an eval event says of predictions.

    Returns:
        `scores` {split: {language: {metric: value}}}; `examples` {split: {language: rows}}; in
        token tasks `tags` {split: {language: {tag: its scores}}}; `intervals` {split: {language:
        {metric: [low, high]}}} and `mean_intervals` {split: {name of the mean: [low, high]}}, over
        test examples.
    """
    found: dict[str, Any] = {"scores": {}, "examples": {}}
    answers: dict[str, dict[str, Scored]] = {}
    for (split, language), numbers in predictions.items():
        rows = gold[split, language]
        right, said = names(rows, rows.labels, labels), names(rows, numbers, labels)
        scores = metrics.score(task.metrics, right, said, queries=rows.text_a)
        values = {"scores": scores, "examples": rows.rows}
        queries = rows.text_a if "ndcg" in task.metrics else ()
        answers.setdefault(split, {})[language] = Scored(right, said, queries)
        if task.kind == "token":
            values["tags"] = tag_scores(right, said, entities=task.metric == ENTITIES)
        for name, value in values.items():
            found.setdefault(name, {}).setdefault(split, {})[language] = value
    for split, languages in answers.items():
        single, means = score_intervals(task.metrics, languages)
        found.setdefault("intervals", {})[split] = single
        found.setdefault("mean_intervals", {})[split] = means
    return found


def check(task: Task, gold: Mapping[tuple[str, str], Split]) -> None:
    """Raise UserError unless `score` can score the rows, whatever is predicted.

    Called before predictions are made, which takes long.

    Args:
        task: says which metrics.
        gold: the rows that will be scored, by split and language.

    Raises:
        UserError: names the file and language.
    """
    if "ndcg" not in task.metrics:
        return
    for (_, language), rows in gold.items():
        try:
            metrics.query_spans(rows.text_a)
        except UserError as error:
            raise UserError(f"{rows.origin} ({language}): {error}") from None


def units(task: Task, rows: Split) -> Sequence[int] | None:
    """Where each query begins, of tasks whose score is over queries; None: every row counts alone.

    For whoever takes some of the rows: half a query is another one.
    """
    return metrics.query_starts(rows.text_a) if "ndcg" in task.metrics else None


def chance(task: Task, labels: Sequence[str], gold: Mapping[str, Split]) -> float:
    """The score of a model that knows nothing, by the task's metric.

    Accuracy: 1 / labels, a guess among them. The majority's share is not taken: it differs from
    language to language, and a model that has collapsed picks any class, not the one most frequent
    in a test set it never saw. nDCG: the mean over languages of what the same grade for every row
    scores, about 0.7, because a list in any order is most of the best one. The others: 0. That is
    exact for the correlation; guessed tags hit a whole entity, or a whole run of tags, too rarely
    to matter, and how often depends on the texts.

    Args:
        task: says which metric.
        labels: of the classifier.
        gold: by language, the rows that are scored; `check` has passed them.
    """
    if task.metric.endswith("accuracy"):
        return 1.0 / len(labels)
    if task.metric != "ndcg":
        return 0.0
    return float(np.mean([_constant(rows, labels) for rows in gold.values()]))


def _constant(rows: Split, labels: Sequence[str]) -> float:
    right = names(rows, rows.labels, labels)
    return metrics.score(["ndcg"], right, [labels[0]] * len(right), queries=rows.text_a)["ndcg"]
