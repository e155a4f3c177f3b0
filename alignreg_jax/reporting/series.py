"""From what a run measured to the lines of its figures; plain data, no drawing."""

from collections.abc import Sequence
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
    columns = pd.Index(["remaining", "evaluated", "zero_shot_avg"])
    steps = pd.DataFrame(results["prune_steps"], columns=columns).set_index("remaining")
    whole = steps.evaluated == steps.evaluated.max()
    return steps.zero_shot_avg[whole].astype(float).dropna()


def trace(events: Sequence[Event], name: str, points: int = 400) -> pd.Series:
    """A quantity of training by its step, thinned to what a figure can show; gaps stay gaps.

    A point is the mean over one of up to `points` equal runs of train events.
    """
    found = [(e["step"], float(e[name])) for e in events if e["kind"] == "train" and name in e]
    parts = np.array_split(np.array(found), min(points, len(found))) if found else []
    means = {part[:, 0].mean(): part[:, 1].mean() for part in parts}
    return pd.Series(means, dtype=float)


def per_layer(events: Sequence[Event], name: str) -> list[tuple[int, pd.DataFrame]]:
    """What evaluations measured of each layer, in order: pruning step, and a module a column."""
    found = {e["phase"]: e[name] for e in events if e["kind"] == "eval" and e.get(name)}
    return [(step, pd.DataFrame(of).astype(float)) for step, of in sorted(found.items())]
