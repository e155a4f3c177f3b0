"""The sweep for programs: every score of every run, every cell, every comparison; fractions."""

from collections.abc import Sequence

import pandas as pd

from alignreg_jax.reporting.results import COLUMNS
from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.cells import (
    ALL_LANGUAGES,
    AVERAGE,
    ZERO_SHOT,
    Cells,
    Place,
)
from alignreg_jax.reporting.sweeps.comparisons import Comparison, Power
from alignreg_jax.reporting.sweeps.runs import TOLERANCE, Run, SweepFacts

RESULTS_COLUMNS = ("method", "task", "seed", *COLUMNS)
TABLE_COLUMNS = (
    *("task", "row", "remaining", "statistic", "mean", "low", "high", "seeds", "measured"),
    *("change", "paper"),
)
COMPARISON_COLUMNS = (
    *("row", "task", "remaining", "tested", "difference", "low", "high", "p_seeds", "p_examples"),
    *("differs", "seeds", "examples", "detectable"),
)
_LOWER = {True: "true", False: "false"}


def results_csv(runs: Sequence[Run]) -> str:
    """All runs' results.csv in one, with method (the row's label), task and seed in front."""
    ordered = sorted(runs, key=lambda run: (run.row, run.task, run.seed))
    found = [[run.row, run.task, run.seed, *line] for run in ordered for line in run.scores]
    return _text(pd.DataFrame(found, columns=pd.Index(RESULTS_COLUMNS), dtype=object))


def table_csv(facts: SweepFacts, cells: Cells, comparisons: Sequence[Comparison]) -> str:
    """Every cell in long form.

    `low` and `high` end the 95 % interval; `measured` is the mean fraction of weights that the
    score was measured at; `change` is "higher" or "lower" where the row differs significantly from
    the baseline; `paper` is the paper's printed number as a fraction, beside XGLUE's score.
    """
    changes = {
        (c.row, c.task, c.remaining): "higher" if c.difference > 0 else "lower"
        for c in comparisons
        if c.differs
    }
    found = []
    for place, cell in cells.items():
        mean, low, high = cell.interval.mean, cell.interval.low, cell.interval.high
        tested = place.statistic == (ALL_LANGUAGES if place.task == AVERAGE else ZERO_SHOT)
        change = changes.get((place.row, place.task, place.remaining)) if tested else None
        where = (place.task, place.row, place.remaining, place.statistic)
        seeds = cell.interval.count
        found.append(
            (*where, mean, low, high, seeds, cell.measured, change, _printed(facts, place))
        )
    return _text(pd.DataFrame(found, columns=pd.Index(TABLE_COLUMNS), dtype=object))


def comparisons_csv(comparisons: Sequence[Comparison], powers: Sequence[Power]) -> str:
    """Every comparison with the baseline; what is not known is empty.

    `detectable` is the smallest true difference that its family finds at 80 % power.
    """
    smallest = {power.task: power.detectable for power in powers}
    *names, _ = COMPARISON_COLUMNS
    found = [
        [*(getattr(one, name) for name in names), smallest.get(one.task) if one.tested else None]
        for one in comparisons
    ]
    frame = pd.DataFrame(found, columns=pd.Index(COMPARISON_COLUMNS), dtype=object)
    return _text(frame.replace({"tested": _LOWER, "differs": _LOWER}))


def _printed(facts: SweepFacts, place: Place) -> float | None:
    if place.statistic != ALL_LANGUAGES:
        return None
    if place.remaining != paper.reading(facts.remaining, TOLERANCE):
        return None
    if place.task == AVERAGE:
        return paper.average(place.row, paper.all_tasks(facts.tasks))
    return paper.value(place.row, place.task)


def _text(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")
