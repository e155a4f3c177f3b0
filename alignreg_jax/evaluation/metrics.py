"""Scores of one language, and the few numbers that sum up many.

All scores are fractions. Definitions are XGLUE's: a task's score is the unweighted mean over its
languages. English hides what the others lose, so the mean without it stands beside it.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from seqeval.metrics import f1_score, precision_score
from sklearn.metrics import accuracy_score, matthews_corrcoef, ndcg_score

from alignreg_jax.errors import UserError

Answers = Sequence[Any]  # a name a row, or in token tasks a list of tags a sentence


def score(
    metrics: Sequence[str], gold: Answers, predicted: Answers, queries: Sequence[Any] = ()
) -> dict[str, float]:
    """Return scores of predictions as fractions, by metric.

    Args:
        metrics: names in `METRICS`.
        gold: label names in file order, one a row; of token tasks a list of tags a sentence.
        predicted: likewise.
        queries: of a ranking task, what each row answers.

    Raises:
        UserError: a metric that is not in the table.
        ValueError: no rows, or sequences of different lengths.
    """
    for metric in metrics:
        _check(metric)
    if len(gold) != len(predicted) or len(gold) == 0:
        raise ValueError(f"{len(gold)} labels and {len(predicted)} predictions")
    return {metric: float(METRICS[metric](gold, predicted, queries)) for metric in metrics}


def _check(metric: str) -> None:
    if metric not in METRICS:
        raise UserError(f"metric {metric!r}: not one of {', '.join(METRICS)}")


def accuracy(gold: Answers, predicted: Answers, queries: Answers) -> float:
    """Share of rows that are right: XNLI, PAWSX, NC, QAM, QADSM."""
    return float(accuracy_score(gold, predicted))


def word_accuracy(gold: Answers, predicted: Answers, queries: Answers) -> float:
    """Share of words that are right; a lost word is wrong."""
    return float(accuracy_score([*_flat(gold)], [*_flat(predicted)]))


def entity_f1(gold: Answers, predicted: Answers, queries: Answers) -> float:
    """Micro F1 over entities, exact span and type, in seqeval's lenient mode: NER.

    Lenient, because XGLUE's files mix IOB1 (English, German) and IOB2 (Spanish, Dutch).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tags that no file has
        return float(f1_score(gold, predicted, zero_division=0))


def chunk_precision(gold: Answers, predicted: Answers, queries: Answers) -> float:
    """What XGLUE calls the accuracy of POS: precision over runs of equal tags.

    Its script gives bare tags to seqeval 0.0.12, which reads their first letter as that of a
    scheme: those with an S stand alone, others merge while they are equal. A lost word is no
    prediction, so that precision does not see it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chunks = [[[_chunk_tag(tag) for tag in tags] for tags in side] for side in (gold, predicted)]
        return float(precision_score(*chunks, zero_division=0))


def ndcg(gold: Answers, predicted: Answers, queries: Answers) -> float:
    """Mean nDCG over queries with two rows or more, the label as gain, ties averaged: WPR."""
    starts = [0, *(index for index in range(1, len(gold)) if _changes(queries, index)), len(gold)]
    scores = [
        ndcg_score(
            [[float(label) for label in gold[first:last]]],
            [[float(label) for label in predicted[first:last]]],
        )
        for first, last in pairwise(starts)
        if last - first > 1
    ]
    return math.fsum(scores) / len(scores) if scores else math.nan


METRICS: dict[str, Callable[[Answers, Answers, Answers], float]] = {
    "accuracy": accuracy,
    "word_accuracy": word_accuracy,
    "f1": entity_f1,
    "pos_xglue": chunk_precision,
    "ndcg": ndcg,
    "mcc": lambda gold, predicted, queries: float(matthews_corrcoef(gold, predicted)),
}


def _flat(sentences: Answers) -> list[Any]:
    return [tag for tags in sentences for tag in tags]


def _chunk_tag(tag: str) -> str:
    if tag == "O":
        return tag
    return ("S-" if tag in ("SCONJ", "SYM") else "I-") + tag


def _changes(queries: Answers, index: int) -> bool:
    """Whether a row begins another query; after an empty one XGLUE's script does not look."""
    return queries[index] != queries[index - 1] and len(queries[index - 1]) > 0


def chance(metric: str, num_labels: int) -> float:
    """Return the score of guessing among the labels uniformly: 1 / num_labels for accuracy.

    The majority class's share is not taken: it differs from language to language, and a model
    that has collapsed picks any class, not the one most frequent in a test set it never saw.
    """
    _check(metric)
    return 1.0 / num_labels if metric.endswith("accuracy") else 0.0


def summarize(
    values: Mapping[str, float],
    dense: Mapping[str, float] | None,
    chance: float,
    languages: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Sum up one metric over languages, and against the dense model.

    Args:
        values: language -> score, of the languages that were evaluated.
        dense: language -> score before pruning; None or missing languages: no retention there.
        chance: the score of guessing.
        languages: all languages the task has data for; None: those of `dense`, or of `values`.

    Returns:
        `en`; `zero_shot_avg`, the mean without English; `avg`, with it; `worst`, the lowest
        {language, value}; `retention` with `en`, `zero_shot_avg`, `avg` (a ratio of means over the
        languages that both models were evaluated on) and `languages`; the same
        `retention_chance_corrected`, (value - chance) / (dense - chance); `evaluated`, the number
        of languages; `complete`, whether those are all. What is not defined is None: a mean over no
        language, a ratio to a dense model that is not above zero, or not above chance.
    """
    dense = dense or {}
    everything = set(languages if languages is not None else dense or values)
    worst = min(sorted(values), key=values.__getitem__, default=None)
    shared = {language: value for language, value in values.items() if language in dense}
    baseline = {language: dense[language] for language in shared}
    return {
        **_means(values),
        "worst": None if worst is None else {"language": worst, "value": values[worst]},
        "retention": _retention(shared, baseline, 0.0),
        "retention_chance_corrected": _retention(shared, baseline, chance),
        "evaluated": len(values),
        "complete": bool(values) and everything <= set(values),
    }


def _means(values: Mapping[str, float]) -> dict[str, float | None]:
    others = [value for language, value in values.items() if language != "en"]
    return {
        "en": values.get("en"),
        "zero_shot_avg": math.fsum(others) / len(others) if others else None,
        "avg": math.fsum(values.values()) / len(values) if values else None,
    }


def _retention(
    values: Mapping[str, float], dense: Mapping[str, float], floor: float
) -> dict[str, Any]:
    before = _means(dense)
    return {
        **{name: _ratio(value, before[name], floor) for name, value in _means(values).items()},
        "languages": {name: _ratio(value, dense[name], floor) for name, value in values.items()},
    }


def _ratio(value: float | None, dense: float | None, floor: float) -> float | None:
    # The margin: 3 / 10 and 0.1 * 3 differ in the last bit, which is no score above chance.
    if value is None or dense is None or dense - floor < 1e-9:
        return None
    return (value - floor) / (dense - floor)
