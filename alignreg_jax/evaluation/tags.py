"""Scores of each tag of a token task: where English and the others lose what they lose."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from alignreg_jax.evaluation import metrics
from alignreg_jax.evaluation.metrics import Answers

TagScores = dict[str, dict[str, Any]]
"""Tag -> its precision, recall, F1 and support, which is how often it is right."""


def tag_scores(gold: Answers, predicted: Answers, *, entities: bool) -> TagScores:
    """Scores of every tag that is right or predicted somewhere, in alphabetical order.

    Args:
        gold: the tags of each sentence.
        predicted: likewise.
        entities: whether tags are IOB, so that what is found are spans of a type; else words.
    """
    support, said, hits = Counter(), Counter(), Counter()
    for right, guess in zip(gold, predicted, strict=True):
        expected, found = (_items(tags, entities) for tags in (right, guess))
        for counter, items in ((support, expected), (said, found), (hits, expected & found)):
            counter.update(kind for kind, *_ in items)
    return {
        tag: {
            "precision": hits[tag] / said[tag] if said[tag] else 0.0,
            "recall": hits[tag] / support[tag] if support[tag] else 0.0,
            "f1": 2 * hits[tag] / (support[tag] + said[tag]),
            "support": support[tag],
        }
        for tag in sorted(support | said)
    }


def _items(tags: list[str], entities: bool) -> set[tuple]:
    if not entities:
        return {(tag, place) for place, tag in enumerate(tags)}
    with metrics.quiet():
        return metrics.entities(tags)


def summarize(by_language: Mapping[str, TagScores]) -> dict[str, dict[str, dict | None]]:
    """Per tag the scores in English (`en`) and their means over the other languages (`zero_shot`).

    A mean is over the languages where the tag occurs, `languages` of them; its support is their
    sum. Tags come by support; one that occurs in no language is left out.
    """
    tags = {tag for scores in by_language.values() for tag in scores}
    found = {}
    for tag in tags:
        there = {
            language: scores[tag]
            for language, scores in by_language.items()
            if tag in scores and scores[tag]["support"]
        }
        if there:
            others = [scores for language, scores in there.items() if language != "en"]
            found[tag] = {"en": there.get("en"), "zero_shot": _mean(others)}
    return dict(sorted(found.items(), key=lambda item: (-_total(item[1].values()), item[0])))


def _mean(scores: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not scores:
        return None
    names = ("precision", "recall", "f1")
    means = {name: sum(found[name] for found in scores) / len(scores) for name in names}
    return {**means, "support": sum(s["support"] for s in scores), "languages": len(scores)}


def _total(scores: Iterable[dict | None]) -> int:
    return sum(found["support"] for found in scores if found)
