"""The sweep for programs: every score of every run, every cell, every comparison; fractions."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alignreg_jax.errors import UserError
from alignreg_jax.reporting.results import COLUMNS
from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.cells import (
    ALL_LANGUAGES,
    AVERAGE,
    ZERO_SHOT,
    Cells,
    Place,
)
from alignreg_jax.reporting.sweeps.comparisons import Comparison
from alignreg_jax.reporting.sweeps.runs import TOLERANCE, Run, SweepFacts

RESULTS_COLUMNS = ("method", "task", "seed", *COLUMNS)
TABLE_COLUMNS = (
    *("task", "row", "remaining", "statistic", "mean", "low", "high", "seeds", "measured"),
    *("change", "paper"),
)
COMPARISON_COLUMNS = (
    *("row", "task", "remaining", "difference", "low", "high", "p_seeds", "p_seeds_holm"),
    *("p", "p_holm", "survives", "seeds", "examples"),
)


def results_csv(runs: Sequence[Run]) -> str:
    """All runs' results.csv in one, with method (the row's label), task and seed in front.

    Raises:
        UserError: a run has no results.csv, or one with other columns.
    """
    found = []
    for run in sorted(runs, key=lambda run: (run.row, run.task, run.seed)):
        path = run.source.workdir / "results.csv"
        try:
            lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; is this the workdir of a run?") from None
        if not lines or tuple(lines[0]) != COLUMNS:
            raise UserError(f"{path}: its columns are not {','.join(COLUMNS)}")
        found += [[run.row, run.task, str(run.seed), *line] for line in lines[1:]]
    return _text(RESULTS_COLUMNS, found)


def table_csv(facts: SweepFacts, cells: Cells, comparisons: Sequence[Comparison]) -> str:
    """Every cell in long form.

    `low` and `high` end the 95 % interval; `measured` is the mean fraction of weights that the
    score was measured at; `change` is "higher" or "lower" where the difference to the baseline
    survives both tests; `paper` is the paper's printed number as a fraction, beside XGLUE's score.
    """
    changes = {
        (c.row, c.task, c.remaining): "higher" if c.difference > 0 else "lower"
        for c in comparisons
        if c.survives
    }
    found = []
    for place, cell in cells.items():
        interval = cell.interval
        tested = place.statistic == ZERO_SHOT
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


def comparisons_csv(comparisons: Sequence[Comparison]) -> str:
    """Every comparison with the baseline; what is not known is empty."""
    found = (
        {name: getattr(comparison, name) for name in COMPARISON_COLUMNS}
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
