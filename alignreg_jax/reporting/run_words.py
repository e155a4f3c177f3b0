"""Sentences on one run, from templates/run_words.txt: how it was trained, what its scores show."""

from collections.abc import Mapping, Sequence
from typing import Any

from alignreg_jax.reporting.metric_names import first_word, metric_name
from alignreg_jax.reporting.rendering import sentences
from alignreg_jax.reporting.tables import count, percent

_WORDS = {"percent": percent, "count": count, "first_word": first_word}


def notes(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of the scores has to know of the training, by the run's events.

    By whom it was taught, and about which text; what learned masks had left before the last cut, if
    that is not what the cut left.
    """
    first = {event.get("kind"): event for event in reversed(events)}
    cut = {event.get("kind"): event for event in events}.get("prune", {})
    apart = abs(cut.get("kept_before_cut", 0) - cut.get("kept", 0)) / cut.get("prunable", 1)
    known = {"teach": first.get("teach"), "cut": cut, "apart": apart}
    return sentences("run_words.txt", "taught", known | _WORDS)


def said(place: str, results: Mapping[str, Any], **known: Any) -> list[str]:
    """The paragraphs of another place of a run's report or card."""
    steps, metric = results["prune_steps"], metric_name(results["metric"])
    known |= {"results": results, "last": steps[-1], "steps": len(steps) - 1, "metric": metric}
    known |= {"kept": kept(results, steps[-1])}
    return sentences("run_words.txt", place, known | {"any_size": serves_sizes(results)} | _WORDS)


def kept(results: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, float | None]:
    """Shares of dense scores that are left at a step: of `en`, `zero_shot_avg`, and each language.

    None where the dense score is not clearly above chance: what is divided by is noise.
    """
    ratios, above = step["retention"], step["retention_chance_corrected"]
    found = {**ratios["languages"], **{name: ratios[name] for name in ("en", "zero_shot_avg")}}
    known = above["languages"] | above
    noise = {name for name in found if results["chance"] and known.get(name) is None}
    return {name: None if name in noise else ratio for name, ratio in found.items()}


def serves_sizes(results: Mapping[str, Any]) -> bool:
    """Whether a run trained one model for every size."""
    return "size" in results["prune_steps"][-1]
