"""Small implementations of the metrics, written from their definitions and sharing no code."""

import math
from collections import Counter

import numpy as np


def spans(tags):
    """Entities in conlleval's lenient rule: {(type, first word, last word)}."""
    found, begin = set(), None
    for place, tag in enumerate([*tags, "O"]):
        letter, _, kind = tag.partition("-")
        before = tags[place - 1].partition("-")[2] if place else ""
        goes_on = letter == "I" and place and tags[place - 1] != "O" and before == kind
        if begin is not None and not goes_on:
            found.add((before, begin, place - 1))
            begin = None
        if letter != "O" and not goes_on:
            begin = place
    return found


def runs(tags):
    """Runs of equal tags; SCONJ and SYM stand alone, O is nothing."""
    found, begin = set(), 0
    for place, tag in enumerate(tags):
        if place and (tag != tags[place - 1] or tag in ("SCONJ", "SYM")):
            begin = place
        if place + 1 == len(tags) or tags[place + 1] != tag or tag in ("SCONJ", "SYM"):
            found.add((tag, begin, place))
    return {span for span in found if span[0] != "O"}


def counts(cut, gold, predicted):
    """(hits, predicted, right) over sentences."""
    pairs = [(cut(right), cut(said)) for right, said in zip(gold, predicted, strict=True)]
    hits = sum(len(right & said) for right, said in pairs)
    return hits, sum(len(said) for _, said in pairs), sum(len(right) for right, _ in pairs)


def entity_f1(gold, predicted):
    hits, said, right = counts(spans, gold, predicted)
    return 2 * hits / (said + right) if said + right else 0.0


def chunk_precision(gold, predicted):
    hits, said, _ = counts(runs, gold, predicted)
    return hits / said if said else 0.0


def ndcg_of_one(gains, scores):
    """Every row of a tied block gets the block's mean gain."""
    total, rank = 0.0, 0
    for score in sorted(set(scores), reverse=True):
        block = [gain for gain, other in zip(gains, scores, strict=True) if other == score]
        discounts = [1 / math.log2(rank + 2 + index) for index in range(len(block))]
        total += sum(block) / len(block) * sum(discounts)
        rank += len(block)
    ideal = sum(
        gain / math.log2(index + 2) for index, gain in enumerate(sorted(gains, reverse=True))
    )
    return total / ideal if ideal else 0.0


def ndcg(gold, predicted, queries):
    """The script's loop: a number a query, one that grows where the query changes."""
    number, last, groups = 0, "", {}
    for query, right, said in zip(queries, gold, predicted, strict=True):
        if query != last and last:
            number += 1
        last = query
        groups.setdefault(number, []).append((float(right), float(said)))
    scores = [
        ndcg_of_one(*map(list, zip(*rows, strict=True)))
        for rows in groups.values()
        if len(rows) > 1
    ]
    return sum(scores) / len(scores)


def matthews(gold, predicted):
    """The correlation of indicator matrices; 0 where one side has a single label."""
    labels = sorted({*gold, *predicted})

    def centred(side):
        indicators = np.array([[label == name for name in labels] for label in side], float)
        return indicators - indicators.mean(axis=0)

    right, said = centred(gold), centred(predicted)
    spread = math.sqrt((right * right).sum() * (said * said).sum())
    return (right * said).sum() / spread if spread > 1e-12 else 0.0


def by_tag(cut, gold, predicted):
    """Tag -> (hits, predicted, right)."""
    found = Counter(), Counter(), Counter()
    for right, said in zip(gold, predicted, strict=True):
        right, said = cut(right), cut(said)
        for counter, items in zip(found, (right & said, said, right), strict=True):
            counter.update(item[0] for item in items)
    tags = set(found[1]) | set(found[2])
    return {tag: tuple(counter[tag] for counter in found) for tag in tags}
