"""From what a run measured to the lines of its figures; plain data, no drawing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import pandas as pd

from alignreg_jax.reporting.results import Results
from alignreg_jax.reporting.tracking import Event

ENGLISH = "en"


def ends(results: Results) -> pd.DataFrame:
    """By language its `dense` score, the `final` one and the `change`; NaN where not measured.

    English first, then those that lost most, last those whose change is not known. A language may
    have been left out of the dense evaluation, or of the last one.
    """
    first, last = results["prune_steps"][0], results["prune_steps"][-1]
    dense = first["languages"] if first["prune_step"] == 0 else {}
    names = {name for step in results["prune_steps"] for name in step["languages"]}
    found = pd.DataFrame(
        {"dense": pd.Series(dense, dtype=float), "final": pd.Series(last["languages"])},
        index=sorted(names, key=lambda name: (name != ENGLISH, name)),
    )
    found = found.assign(change=found.final - found.dense, other=found.index != ENGLISH)
    return found.sort_values(["other", "change"], kind="stable").drop(columns="other")


def scores(results: Results) -> pd.DataFrame:
    """A pruning step a line, by the fraction that remains; a language a column, as in `ends`."""
    steps = results["prune_steps"]
    remaining = pd.Index([step["remaining"] for step in steps], name="remaining")
    found = pd.DataFrame([step["languages"] for step in steps], index=remaining, dtype=float)
    return found.reindex(columns=ends(results).index)


def common_languages(evaluations: pd.DataFrame) -> tuple[str, ...]:
    """The languages other than English that all evaluations have, so that means can be compared."""
    return tuple(sorted({*evaluations.dropna(axis=1)} - {ENGLISH}))


def mean_over(evaluations: pd.DataFrame, languages: Sequence[str]) -> pd.Series:
    """The mean score over the given languages, of those evaluations that have all of them."""
    if not languages:
        return pd.Series(dtype=float, index=evaluations.index[:0])
    found = evaluations.reindex(columns=list(languages))
    # In the order of their names, so that equal scores have equal means to the last bit
    total = reduce(add, (found.loc[:, name] for name in languages))
    return (total / len(languages)).dropna()


def full_means(results: Results) -> pd.Series:
    """The mean over all zero-shot languages of the run, at the steps that evaluated all of them."""
    most = max(step["evaluated"] for step in results["prune_steps"])
    whole = [step for step in results["prune_steps"] if step["evaluated"] == most]
    remaining = [step["remaining"] for step in whole]
    means = [step["zero_shot_avg"] for step in whole]
    return pd.Series(means, index=remaining, dtype=float).dropna()


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
