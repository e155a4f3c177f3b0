"""The sweep for programs: every score of every run, every cell, every comparison; fractions."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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


def results_csv(runs: Sequence[Run]) -> str:
    """All runs' results.csv in one, with method (the row's label), task and seed in front."""
    ordered = sorted(runs, key=lambda run: (run.row, run.task, run.seed))
    found = ([run.row, run.task, str(run.seed), *line] for run in ordered for line in run.scores)
    return _text(RESULTS_COLUMNS, found)


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
        interval = cell.interval
        tested = place.statistic == (ALL_LANGUAGES if place.task == AVERAGE else ZERO_SHOT)
        found.append(
            {
                "task": place.task,
                "row": place.row,
                "remaining": place.remaining,
                "statistic": place.statistic,
                "mean": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "seeds": interval.count,
                "measured": cell.measured,
                "change": changes.get((place.row, place.task, place.remaining)) if tested else None,
                "paper": _printed(facts, place),
            }
        )
    return _text(TABLE_COLUMNS, (_cells(TABLE_COLUMNS, row) for row in found))


def comparisons_csv(comparisons: Sequence[Comparison], powers: Sequence[Power]) -> str:
    """Every comparison with the baseline; what is not known is empty.

    `detectable` is the smallest true difference that its family finds at 80 % power.
    """
    smallest = {power.task: power.detectable for power in powers}
    found = (
        {
            **{name: getattr(comparison, name) for name in COMPARISON_COLUMNS[:-1]},
            "detectable": smallest.get(comparison.task) if comparison.tested else None,
        }
        for comparison in comparisons
    )
    return _text(COMPARISON_COLUMNS, (_cells(COMPARISON_COLUMNS, row) for row in found))


def _printed(facts: SweepFacts, place: Place) -> float | None:
    if place.statistic != ALL_LANGUAGES:
        return None
    if place.remaining != paper.reading(facts.remaining, TOLERANCE):
        return None
    if place.task == AVERAGE:
        return paper.average(place.row, paper.all_tasks(facts.tasks))
    return paper.value(place.row, place.task)


def _cells(columns: Sequence[str], row: Mapping[str, Any]) -> list[str]:
    return [_cell(row[name]) for name in columns]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _text(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()
