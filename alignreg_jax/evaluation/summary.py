"""The few numbers that sum up the scores of many languages.

A task's score is XGLUE's: the unweighted mean over its languages. English hides what the others
lose, so the mean without it stands beside it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def summarize(
    values: Mapping[str, float],
    dense: Mapping[str, float] | None,
    chance: float,
    languages: Sequence[str] | None = None,
    dense_low: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Sum up one metric over languages, and against the dense model.

    Args:
        values: language -> score, of the languages that were evaluated.
        dense: language -> score before pruning; None or missing languages: no retention there.
        chance: the score of guessing.
        languages: all languages the task has data for; None: those of `dense`, or of `values`.
        dense_low: language -> lower end of the interval of its dense score; None: those scores.

    Returns:
        `en`; `zero_shot_avg`, the mean without English; `avg`, with it; `worst`, the lowest
        {language, value}; `retention` with `en`, `zero_shot_avg`, `avg` (a ratio of means over the
        languages that both models were evaluated on) and `languages`; the same
        `retention_chance_corrected`, (value - chance) / (dense - chance); `evaluated`, the number
        of languages; `complete`, whether those are all. What is not defined is None: a mean over no
        language, a ratio to a dense model that is not above zero, or not clearly above chance: that
        is where the lower end of its interval is (of a mean, the mean of the lower ends).
    """
    dense = dense or {}
    everything = set(languages if languages is not None else dense or values)
    worst = min(sorted(values), key=values.__getitem__, default=None)
    shared = {language: value for language, value in values.items() if language in dense}
    baseline = {language: dense[language] for language in shared}
    return {
        **means(values),
        "worst": None if worst is None else {"language": worst, "value": values[worst]},
        "retention": _retention(shared, baseline, 0.0),
        "retention_chance_corrected": _retention(
            shared, baseline, chance, dense_low if chance and dense_low is not None else None
        ),
        "evaluated": len(values),
        "complete": bool(values) and everything <= set(values),
    }


def means(values: Mapping[str, float]) -> dict[str, float | None]:
    """`en`, `zero_shot_avg` and `avg`; None where there is no language."""
    others = [value for language, value in values.items() if language != "en"]
    return {
        "en": values.get("en"),
        "zero_shot_avg": math.fsum(others) / len(others) if others else None,
        "avg": math.fsum(values.values()) / len(values) if values else None,
    }


def _retention(
    values: Mapping[str, float],
    dense: Mapping[str, float],
    floor: float,
    lows: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    # A language without an interval is as good as at the floor.
    least = dense if lows is None else {name: lows.get(name, floor) for name in dense}
    before, lowest = means(dense), means(least)
    return {
        **{
            name: _ratio(value, before[name], lowest[name], floor)
            for name, value in means(values).items()
        },
        "languages": {
            name: _ratio(value, dense[name], least[name], floor) for name, value in values.items()
        },
    }


def _ratio(
    value: float | None, dense: float | None, lowest: float | None, floor: float
) -> float | None:
    # The margin: 3 / 10 and 0.1 * 3 differ in the last bit, which is no score above chance.
    if value is None or dense is None or lowest is None or lowest - floor < 1e-9:
        return None
    return (value - floor) / (dense - floor)
