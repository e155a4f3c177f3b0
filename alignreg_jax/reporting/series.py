"""From what a run measured to the lines of its figures; plain data, no drawing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignreg_jax.reporting.results import Results
from alignreg_jax.reporting.tracking import Event

ENGLISH = "en"


@dataclass(frozen=True)
class Curve:
    """The score of one language against what remains of the prunable weights; both fractions."""

    language: str
    remaining: tuple[float, ...]
    values: tuple[float, ...]
    every_step: bool
    dense: float | None = None
    final: float | None = None

    @property
    def change(self) -> float | None:
        """Score after the last pruning step minus the dense one; None unless both were measured."""
        if self.dense is None or self.final is None:
            return None
        return self.final - self.dense


def curves(results: Results) -> list[Curve]:
    """One curve per language, English first, then those that lost most, last those not known.

    A language may have been left out of the dense evaluation, or of the last one.
    """
    steps = results["prune_steps"]
    found = []
    for language in {name: None for step in steps for name in step["languages"]}:
        points = [
            (step["remaining"], step["languages"][language])
            for step in steps
            if language in step["languages"]
        ]
        remaining, values = zip(*points, strict=True)
        dense = steps[0]["languages"].get(language) if steps[0]["prune_step"] == 0 else None
        final = steps[-1]["languages"].get(language)
        found.append(Curve(language, remaining, values, len(points) == len(steps), dense, final))

    def order(curve: Curve) -> tuple[bool, bool, float, str]:
        english, change = curve.language == ENGLISH, curve.change
        return not english, change is None, change or 0.0, curve.language

    return sorted(found, key=order)


def everywhere(results: Results) -> tuple[str, ...]:
    """The zero-shot languages that every pruning step evaluated, so that means can be compared."""
    return tuple(
        sorted(c.language for c in curves(results) if c.every_step and c.language != ENGLISH)
    )


def mean_curve(results: Results, languages: Sequence[str]) -> Curve | None:
    """The mean score over languages that every pruning step evaluated; None without any."""
    steps = results["prune_steps"]
    if not languages or not steps:
        return None
    means = [float(np.mean([step["languages"][name] for name in languages])) for step in steps]
    remaining = tuple(step["remaining"] for step in steps)
    return Curve("zero-shot mean", remaining, tuple(means), True)


def full_means(results: Results) -> Curve:
    """The mean over all zero-shot languages of the run, at the steps that evaluated all of them."""
    most = max(step["evaluated"] for step in results["prune_steps"])
    steps = [step for step in results["prune_steps"] if step["evaluated"] == most]
    steps = [step for step in steps if step["zero_shot_avg"] is not None]
    remaining = tuple(step["remaining"] for step in steps)
    return Curve("zero-shot mean", remaining, tuple(s["zero_shot_avg"] for s in steps), False)


@dataclass(frozen=True)
class Trace:
    """A quantity of training against the step, thinned to what a figure can show."""

    steps: np.ndarray
    values: np.ndarray


def trace(events: Sequence[Event], name: str, points: int = 400) -> Trace:
    """The means of a quantity over up to `points` equal runs of train events; gaps stay gaps."""
    found = [(e["step"], float(e[name])) for e in events if e["kind"] == "train" and name in e]
    if not found:
        return Trace(np.empty(0), np.empty(0))
    steps, values = np.array(found, dtype=np.float64).T
    groups = min(points, len(steps))
    return Trace(
        np.array([part.mean() for part in np.array_split(steps, groups)]),
        np.array([part.mean() for part in np.array_split(values, groups)]),
    )


def per_layer(events: Sequence[Event], name: str) -> list[tuple[Event, dict[str, np.ndarray]]]:
    """The evaluations that measured a quantity per module and layer, in order of pruning steps."""
    found = {
        event["phase"]: (event, {kernel: np.array(v, float) for kernel, v in event[name].items()})
        for event in events
        if event["kind"] == "eval" and event.get(name)
    }
    return [found[phase] for phase in sorted(found)]
