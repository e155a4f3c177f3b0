"""Scores of one language, as XGLUE's own script computes them; all are fractions.

scikit-learn and seqeval are imported where they are called: they take two seconds, which would be
half of the time until a run begins to train.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise
from typing import Any

import numpy as np

from alignreg_jax.errors import UserError

Answers = Sequence[Any]
"""A name a row, or in token tasks a list of tags a sentence."""

_NOTHING: dict[str, Any] = {"zero_division": 0}  # what nothing of nothing is


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
        UserError: a metric that is not in the table, or rows that it cannot score.
        ValueError: no rows, or sequences of different lengths.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise UserError(f"metric {metric!r}: not one of {', '.join(METRICS)}")
    if len(gold) != len(predicted) or len(gold) == 0:
        raise ValueError(f"{len(gold)} labels and {len(predicted)} predictions")
    return {metric: float(METRICS[metric](gold, predicted, queries)) for metric in metrics}


def accuracy(gold: Answers, predicted: Answers, queries: Answers) -> float:
    """Share of rows that are right: XNLI, PAWSX, NC, QAM, QADSM."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(gold, predicted))


def word_accuracy(gold: Answers, predicted: Answers, queries: Answers) -> float:
    """Share of words that are right; a lost word is wrong."""
    return accuracy([*chain(*gold)], [*chain(*predicted)], ())


def entity_f1(gold: Answers, predicted: Answers, queries: Answers) -> float:
    """Micro F1 over entities, exact span and type, in seqeval's lenient mode: NER.

    Lenient, because XGLUE's files mix IOB1 (English, German) and IOB2 (Spanish, Dutch).
    """
    from seqeval.metrics import f1_score

    with quiet():
        found: Any = f1_score([*gold], [*predicted], **_NOTHING)
        return float(found)


def chunk_precision(gold: Answers, predicted: Answers, queries: Answers) -> float:
    """What XGLUE calls the accuracy of POS: precision over runs of equal tags.

    Its script gives bare tags to seqeval 0.0.12, which reads their first letter as that of a
    scheme: those with an S stand alone, others merge while they are equal. A lost word is no
    prediction, so that precision does not see it.
    """
    from seqeval.metrics import precision_score

    with quiet():
        found: Any = precision_score(chunk_tags(gold), chunk_tags(predicted), **_NOTHING)
        return float(found)


def ndcg(gold: Answers, predicted: Answers, queries: Answers) -> float:
    """Mean nDCG over queries with two rows or more, the label as gain, ties averaged: WPR."""
    return float(np.mean(query_scores(gold, predicted, queries)))


def matthews(gold: Answers, predicted: Answers, queries: Answers) -> float:
    """Correlation of labels and predictions; no score of XGLUE, but what Figure 5 is said to be."""
    from sklearn.metrics import matthews_corrcoef

    with quiet():
        return float(matthews_corrcoef(gold, predicted))


def entities(tags: Sequence[str]) -> set[tuple]:
    """Spans of one sentence's IOB tags, (type, first, last), as seqeval reads them leniently."""
    from seqeval.metrics.sequence_labeling import get_entities

    return set(get_entities(list(tags)))


METRICS: dict[str, Callable[[Answers, Answers, Answers], float]] = {
    "accuracy": accuracy,
    "word_accuracy": word_accuracy,
    "f1": entity_f1,
    "pos_xglue": chunk_precision,
    "ndcg": ndcg,
    "mcc": matthews,
}


def query_scores(gold: Answers, predicted: Answers, queries: Answers) -> list[float]:
    """Of every query with two rows or more its nDCG; 0, and counted, where all labels are 0.

    Raises:
        UserError: there is no such query.
    """
    from sklearn.metrics import ndcg_score

    return [
        float(ndcg_score([_gains(gold[first:last])], [_gains(predicted[first:last])]))
        for first, last in query_spans(queries)
    ]


def query_spans(queries: Answers) -> list[tuple[int, int]]:
    """First row, and the one behind the last, of every query with two rows or more.

    Raises:
        UserError: there is no such query.
    """
    count = len(queries)
    starts = [*query_starts(queries), count]
    spans = [(first, last) for first, last in pairwise(starts) if last - first > 1]
    if not spans:
        raise UserError(f"metric ndcg: no query has two rows or more, in {count} rows")
    return spans


def query_starts(queries: Answers) -> list[int]:
    """The first row of every query; rows of one query stand together."""
    return [index for index in range(len(queries)) if index == 0 or _changes(queries, index)]


def _changes(queries: Answers, index: int) -> bool:
    """Whether a row begins another query; after an empty one XGLUE's script does not look."""
    return queries[index] != queries[index - 1] and len(queries[index - 1]) > 0


def _gains(labels: Answers) -> list[float]:
    return [float(label) for label in labels]


def chunk_tags(sentences: Answers) -> list[list[str]]:
    """Bare tags with the scheme's letter that seqeval 0.0.12 sees in them."""
    return [[_chunk_tag(tag) for tag in tags] for tags in sentences]


def _chunk_tag(tag: str) -> str:
    if tag == "O":
        return tag
    return ("S-" if tag in ("SCONJ", "SYM") else "I-") + tag


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the libraries remark about tags or labels that no row has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
