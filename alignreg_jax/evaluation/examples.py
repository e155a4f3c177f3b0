"""Scores taken apart by example, for tests that swap two systems' answers example by example.

Each of these metrics is one sum over examples divided by another. An example is what is drawn as a
whole: a row, in token tasks a sentence, in ranking a query.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float

from alignreg_jax.evaluation import metrics
from alignreg_jax.evaluation.metrics import Answers

Parts = Float[np.ndarray, "examples 2"]
"""What each example adds to the numerator and to the denominator."""


def ratio(sums: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch"]:
    """The score that sums over examples give; nothing of nothing is 0, as in `metrics`."""
    above, below = sums[..., 0], sums[..., 1]
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def aligned(languages: Sequence[Answers]) -> bool:
    """Whether row i is the same example in every language, as in test sets that were translated.

    Translations keep a row's place and its right answer. Where test sets only happen to agree in
    both, treating their rows as one example is still sound: it assumes less.
    """
    first, *others = (list(gold) for gold in languages)
    return bool(others) and all(gold == first for gold in others)


def _rows(gold: Answers, predicted: Answers, queries: Answers) -> Parts:
    return _array((right == said, 1) for right, said in zip(gold, predicted, strict=True))


def _words(gold: Answers, predicted: Answers, queries: Answers) -> Parts:
    return _array(
        (sum(right == said for right, said in zip(*tags, strict=True)), len(tags[0]))
        for tags in zip(gold, predicted, strict=True)
    )


def _entities(gold: Answers, predicted: Answers, queries: Answers) -> Parts:
    return _array(
        (2 * len(right & said), len(right) + len(said)) for right, said in _spans(gold, predicted)
    )


def _chunks(gold: Answers, predicted: Answers, queries: Answers) -> Parts:
    spans = _spans(metrics.chunk_tags(gold), metrics.chunk_tags(predicted))
    return _array((len(right & said), len(said)) for right, said in spans)


def _queries(gold: Answers, predicted: Answers, queries: Answers) -> Parts:
    return _array((score, 1) for score in metrics.query_scores(gold, predicted, queries))


PARTS: dict[str, Callable[[Answers, Answers, Answers], Parts]] = {
    "accuracy": _rows,
    "word_accuracy": _words,
    "f1": _entities,
    "pos_xglue": _chunks,
    "ndcg": _queries,
}
"""Metric -> (gold, predicted, queries) -> parts. A metric that is no such ratio has no row."""


def _spans(gold: Answers, predicted: Answers) -> Iterator[tuple[set, set]]:
    with metrics.quiet():
        for tags in zip(gold, predicted, strict=True):
            right, said = map(metrics.entities, tags)
            yield right, said


def _array(parts: Iterable[tuple[float, float]]) -> Parts:
    return np.array(list(parts), np.float64).reshape(-1, 2)
