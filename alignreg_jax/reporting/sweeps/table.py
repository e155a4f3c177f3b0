"""From numbers to the tables that are printed: which columns, what is best, what is marked."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.cells import (
    ALL_LANGUAGES,
    ENGLISH,
    STATISTICS,
    ZERO_SHOT,
    marked,
)
from alignreg_jax.reporting.sweeps.paper import AVERAGE
from alignreg_jax.reporting.sweeps.runs import Sweep
from alignreg_jax.reporting.tables import Entry, Table, percent, with_half

# What a score is called: over a column, and in the title of a table
_COLUMN = {ALL_LANGUAGES: "all languages", ZERO_SHOT: "zero-shot", ENGLISH: "en"}
_TITLE = {
    ALL_LANGUAGES: "mean of all languages",
    ZERO_SHOT: "zero-shot mean",
    ENGLISH: "English",
}


def grids(sweep: Sweep, cells: pd.DataFrame, comparisons: pd.DataFrame) -> list[Table]:
    """The tables to print.

    One task: a single table, where it is read side by side, zero-shot mean and English under each,
    before them the mean of all languages if the task is XGLUE's. More: a table of each of these for
    each place where it is read, a task a column. In that of the mean of all languages are XGLUE's
    tasks, and last the average, if all of them are there.
    """
    facts, known = sweep.facts, marked(cells, comparisons)
    # As many as tell the places apart
    digits = next((n for n in (0, 1) if len(_named(facts.remaining, n)) == len(facts.remaining)), 2)
    places = [
        (f"{percent(remaining, digits)} % remaining", task, remaining, statistic)
        for remaining in facts.remaining
        for statistic in STATISTICS
        for task in _columns(facts.tasks, statistic)
    ]
    if len(facts.tasks) == 1:
        (task,) = facts.tasks
        title = f"{facts.column(task)}: {sweep.metrics.get(task, 'score')} (%)"
        return [_grid(title, places, sweep, known)]
    tables: dict[tuple[str, float], list[tuple[str, str, float, str]]] = {}
    for name, task, remaining, statistic in places:
        title = f"{name}: {_TITLE[statistic]} (%)"
        tables.setdefault((title, remaining), []).append(("", task, remaining, statistic))
    return [_grid(title, columns, sweep, known) for (title, _), columns in tables.items()]


def _named(remaining: Sequence[float], digits: int) -> set[str]:
    return {percent(at, digits) for at in remaining}


def _columns(tasks: Sequence[str], statistic: str) -> list[str]:
    """The tasks that have a score, and the average where it belongs."""
    if statistic != ALL_LANGUAGES:
        return list(tasks)
    average = [AVERAGE] if paper.all_tasks(tasks) else []
    return [task for task in tasks if paper.languages(task)] + average


def _grid(
    title: str, places: Sequence[tuple[str, str, float, str]], sweep: Sweep, known: pd.DataFrame
) -> Table:
    """A column for each (group, task, remaining, statistic), and the paper's beside."""
    facts = sweep.facts
    header, groups, muted = [""], [""], []
    columns: list[list[str | Entry]] = [list(facts.rows)]
    for group, task, remaining, statistic in places:
        header.append(_COLUMN[statistic] if len(facts.tasks) == 1 else facts.column(task))
        groups.append(group)
        found = known.reindex([(row, task, remaining, statistic) for row in facts.rows])
        rivals = found["mean"].where(~np.isin(facts.rows, [*sweep.dense_rows]))
        best = rivals == rivals.max()  # ties all
        shown = zip(found["mean"], found.half, found.mark.fillna(""), best, strict=True)
        columns.append(
            [Entry(with_half(mean, half), mark, bool(first)) for mean, half, mark, first in shown]
        )
        if statistic == ALL_LANGUAGES and remaining == paper.reading(facts.remaining):
            printed = [paper.printed(row, task, facts.tasks) for row in facts.rows]
            if any(printed):
                muted.append(len(header))
                header.append("paper")
                groups.append(group)
                columns.append([Entry(percent(value, 2)) for value in printed])
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Table(header, rows, title=title, groups=groups if any(groups) else (), muted=muted)
