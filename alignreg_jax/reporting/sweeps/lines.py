"""From the runs of a sweep to the lines of its figures; plain data, no drawing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from alignreg_jax.pruning.methods import PRESETS, REGULARIZERS
from alignreg_jax.reporting.series import common_languages, mean_over
from alignreg_jax.reporting.sweeps.runs import Sweep
from alignreg_jax.reporting.sweeps.statistics import intervals

MEAN = "zero-shot mean"
Lines = dict[str, pd.DataFrame]
"""By row, in the order of the table: `remaining`, `mean`, `low` and `high` of each point."""


def row_lines(sweep: Sweep, task: str) -> dict[str, Lines]:
    """Scores against what remains: by language, and of `MEAN`, a line a row.

    The mean is over the languages that every evaluation of every run has. A point is a pruning step
    at which every seed of the row has the score. Its interval, NaN with one seed, is cut to [0, 1],
    where scores are. The mean comes first, then English, then the languages whose
    baseline loses most.
    """
    scores = sweep.evaluations[task]
    whole = scores.assign(**{MEAN: mean_over(scores, common_languages(scores))})
    long = whole.melt(ignore_index=False, var_name="language").dropna().reset_index()
    groups = long.groupby(["language", "row", "prune_step"])
    found = intervals(groups.value).assign(remaining=groups.remaining.mean())
    seeds = scores.index.to_frame().groupby(level="row").seed.nunique()
    found = found[found.seeds == found.index.get_level_values("row").map(seeds)]
    found = found.assign(low=found.low.clip(lower=0.0), high=found.high.clip(upper=1.0))
    lines: dict[str, Lines] = {}
    for name, panel in found.groupby(level="language"):
        rows = dict(list(panel.groupby(level="row")))
        lines[str(name)] = {row: rows[row] for row in sweep.facts.rows if row in rows}

    def loss(name: str) -> tuple[bool, bool, float, str]:
        line = lines[name].get(sweep.facts.baseline, next(iter(lines[name].values())))["mean"]
        return name != MEAN, name != "en", line.iloc[-1] - line.iloc[0], name

    return {name: lines[name] for name in sorted(lines, key=loss)}


class Family(NamedTuple):
    """Rows that are one config field at several values: field, and by method (value, row) each."""

    field: str
    methods: dict[str, list[tuple[float, str]]]

    def default(self, method: str) -> float:
        """The value that a multiple of 1 stands for: the method's own weight, else 1."""
        if self.field != "regularizer.weight":
            return 1.0
        return REGULARIZERS.get(str(PRESETS.get(method, {}).get("regularizer.name")), 0.0) or 1.0


def family(rows: Sequence[str]) -> Family | None:
    """Read labels such as `cosine-mbp@regularizer.weight=10`; None if they are no such family.

    Every label with an @ must override the same single field with a number, and one method at
    least must have two values. Labels without @ are left out: they are what to compare with.
    """
    fields, methods = set(), {}
    for row in rows:
        method, at, override = row.partition("@")
        if not at:
            continue
        name, equals, text = override.partition("=")
        try:
            value = float(text)
        except ValueError:
            return None
        if not equals or not np.isfinite(value) or value < 0:
            return None
        fields.add(name)
        methods.setdefault(method, []).append((value, row))
    if len(fields) != 1 or max(map(len, methods.values())) < 2:
        return None
    return Family(fields.pop(), {method: sorted(found) for method, found in methods.items()})
