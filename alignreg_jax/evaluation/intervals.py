"""95 % intervals of scores over test examples: of one model, whose training is what it is.

What is drawn as a whole is resampled as a whole: a row, in token tasks a sentence, in ranking a
query. docs/statistics.md has which interval is used where.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from alignreg_jax.evaluation.examples import PARTS, aligned, ratio
from alignreg_jax.evaluation.metrics import Answers

LEVEL = 0.95
DRAWS = 1000
_SEED = 19270101  # fixed, so that the same predictions give the same interval
_Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)

Interval = list[float]  # low, high: as JSON holds it
Drawn = Float[np.ndarray, " draws"]


class Scored(NamedTuple):
    """The right answers of one language, what was said, and in ranking what each row answers."""

    gold: Answers
    said: Answers
    queries: Answers = ()


def wilson(value: float, examples: int) -> Interval:
    """Wilson's interval (1927) of an accuracy over so many examples."""
    weight = 1 + _Z**2 / examples
    middle = (value + _Z**2 / (2 * examples)) / weight
    half = _Z / weight * np.sqrt(value * (1 - value) / examples + _Z**2 / (4 * examples**2))
    return [float(max(0.0, middle - half)), float(min(1.0, middle + half))]


def score_intervals(
    metrics: Sequence[str], languages: Mapping[str, Scored]
) -> tuple[dict[str, dict[str, Interval]], dict[str, Interval]]:
    """Intervals of every language's scores, and of the means of the first metric.

    Args:
        metrics: names in `metrics.METRICS`.
        languages: of one split.

    Returns:
        language -> metric -> interval; and of `en`, `zero_shot_avg` and `avg` those that are means
        over several languages. Resampling that never changes a score gives no interval.
    """
    found: dict[str, dict[str, Interval]] = {language: {} for language in languages}
    means: dict[str, Interval] = {}
    for metric in metrics:
        drawn = _drawn(metric, languages)
        for language, (gold, said, _) in languages.items():
            if metric == "accuracy":
                right = sum(a == b for a, b in zip(gold, said, strict=True))
                found[language][metric] = wilson(right / len(gold), len(gold))
            elif (interval := _percentiles(drawn[language])) is not None:
                found[language][metric] = interval
        if metric == metrics[0]:
            means = _means(drawn, {name: found[name].get(metric) for name in languages})
    return found, means


def _means(
    drawn: Mapping[str, Drawn], single: Mapping[str, Interval | None]
) -> dict[str, Interval]:
    found = {}
    for name, chosen in (
        ("zero_shot_avg", [language for language in drawn if language != "en"]),
        ("avg", list(drawn)),
    ):
        if not chosen:
            continue
        if len(chosen) == 1:
            interval = single[chosen[0]]
        else:
            interval = _percentiles(np.mean([drawn[language] for language in chosen], axis=0))
        if interval is not None:
            found[name] = interval
    return found


def _percentiles(drawn: Drawn) -> Interval | None:
    if np.ndim(drawn) == 0 or np.ptp(drawn) < 1e-12:
        return None
    return [float(end) for end in np.quantile(drawn, (0.5 - LEVEL / 2, 0.5 + LEVEL / 2))]


def _drawn(metric: str, languages: Mapping[str, Scored]) -> dict[str, Drawn]:
    """By language the scores of resampled examples; of rows that line up the same in all."""
    if metric not in PARTS:
        return {name: _correlations(*scored[:2]) for name, scored in languages.items()}
    parts = {name: PARTS[metric](*scored) for name, scored in languages.items()}
    if aligned([scored.gold for scored in languages.values()]):
        scores = _ratios(np.stack(list(parts.values()), axis=1), 0)
        return dict(zip(parts, scores.T, strict=True))
    return {
        name: _ratios(found[:, None], place)[:, 0]
        for place, (name, found) in enumerate(parts.items())
    }


def _ratios(
    parts: Float[np.ndarray, "examples languages 2"], stream: int
) -> Float[np.ndarray, "draws languages"]:
    """Scores of examples drawn with replacement. Examples that are alike are drawn together."""
    examples, languages, _ = parts.shape
    kinds, counts = np.unique(parts.reshape(examples, -1), axis=0, return_counts=True)
    sums = _multinomial(counts, stream) @ kinds
    return ratio(sums.reshape(DRAWS, languages, 2))


def _multinomial(counts: np.ndarray, stream: int) -> Float[np.ndarray, "draws kinds"]:
    examples = int(counts.sum())
    generator = np.random.default_rng([_SEED, stream])
    return generator.multinomial(examples, counts / examples, DRAWS).astype(np.float64)


def _correlations(gold: Answers, said: Answers) -> Drawn:
    """Matthews' correlations of resampled rows, from counts of (right, said)."""
    names = sorted({*gold, *said})
    place = {name: number for number, name in enumerate(names)}
    pairs = np.array([(place[a], place[b]) for a, b in zip(gold, said, strict=True)])
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    drawn, one_hot = _multinomial(counts, 0), np.eye(len(names))
    right, guessed = (drawn @ one_hot[kinds[:, side]] for side in (0, 1))
    total, hits = len(gold), drawn @ (kinds[:, 0] == kinds[:, 1])
    above = hits * total - (right * guessed).sum(axis=1)
    below = np.prod([total**2 - (side**2).sum(axis=1) for side in (right, guessed)], axis=0)
    return np.divide(above, np.sqrt(below), out=np.zeros(DRAWS), where=below > 0)
