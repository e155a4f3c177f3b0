"""From numbers to the grids that are printed: which columns, what is best, what is marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.cells import (
    ALL_LANGUAGES,
    AVERAGE,
    ENGLISH,
    STATISTICS,
    ZERO_SHOT,
    Cells,
    Place,
)
from alignreg_jax.reporting.sweeps.comparisons import Comparison
from alignreg_jax.reporting.sweeps.runs import TOLERANCE, Sweep
from alignreg_jax.reporting.tables import percent

# What a score is called: over a column, and in the title of a grid
_COLUMN = {ALL_LANGUAGES: "all languages", ZERO_SHOT: "zero-shot", ENGLISH: "en"}
_TITLE = {
    ALL_LANGUAGES: "mean of all languages",
    ZERO_SHOT: "zero-shot mean",
    ENGLISH: "English",
}


class Column(NamedTuple):
    """A column's name, and the name that neighbouring columns share above it ("" for none)."""

    group: str
    name: str
    paper: bool = False  # the paper's printed numbers, not ours


@dataclass(frozen=True)
class Entry:
    """What a place of the table shows, as fractions; nothing known is a dash."""

    value: float | None = None
    half: float | None = None
    digits: int = 1
    mark: str = ""
    best: bool = False

    @property
    def text(self) -> str:
        """Percent with its interval, without emphasis or mark."""
        shown = percent(self.value, self.digits)
        return shown if self.half is None else f"{shown} ± {percent(self.half, self.digits)}"


@dataclass(frozen=True)
class Grid:
    """A table of numbers with a name for each row."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[tuple[str, Sequence[Entry]]] = field(default_factory=tuple)


def grids(sweep: Sweep, cells: Cells, comparisons: Sequence[Comparison]) -> list[Grid]:
    """The tables to print.

    One task: a single grid, where it is read side by side, zero-shot mean and English under each,
    before them the mean of all languages if the task is XGLUE's. More: a grid of each of these for
    each place where it is read, a task a column. In that of the mean of all languages are XGLUE's
    tasks, and last the average, if all of them are there.
    """
    facts = sweep.facts
    if len(facts.tasks) == 1:
        (task,) = facts.tasks
        places = [
            (f"{percent(remaining, 0)} % remaining", task, remaining, statistic)
            for remaining in facts.remaining
            for statistic in STATISTICS
            if _columns(facts.tasks, statistic)
        ]
        title = f"{facts.column(task)}: {sweep.metrics.get(task, 'score')} (%)"
        return [_grid(title, places, sweep, cells, comparisons)]
    found = []
    for remaining in facts.remaining:
        for statistic in STATISTICS:
            tasks = _columns(facts.tasks, statistic)
            places = [(task, task, remaining, statistic) for task in tasks]
            title = f"{percent(remaining, 0)} % remaining: {_TITLE[statistic]} (%)"
            if places:
                found.append(_grid(title, places, sweep, cells, comparisons))
    return found


def _columns(tasks: Sequence[str], statistic: str) -> list[str]:
    """The tasks that have a score, and the average where it belongs."""
    if statistic != ALL_LANGUAGES:
        return list(tasks)
    average = [AVERAGE] if paper.all_tasks(tasks) else []
    return [task for task in tasks if paper.languages(task)] + average


def _grid(
    title: str,
    places: Sequence[tuple[str, str, float, str]],
    sweep: Sweep,
    cells: Cells,
    comparisons: Sequence[Comparison],
) -> Grid:
    """A grid with a column for each (group, task, remaining, statistic), and the paper's beside."""
    facts = sweep.facts
    marks = {(c.row, c.task, c.remaining): c.mark for c in comparisons}
    score = {AVERAGE: ALL_LANGUAGES}  # what a task's rows are tested on, if not the zero-shot mean
    columns: list[Column] = []
    entries: dict[str, list[Entry]] = {row: [] for row in facts.rows}
    for group, task, remaining, statistic in places:
        one_task = len(facts.tasks) == 1
        name = _COLUMN[statistic] if one_task else facts.column(task)
        columns.append(Column(group if one_task else "", name))
        found = {}
        for row in facts.rows:
            cell = cells.get(Place(row, task, remaining, statistic))
            if cell is None:
                found[row] = Entry()
                continue
            interval = cell.interval
            tested = statistic == score.get(task, ZERO_SHOT)
            mark = marks.get((row, task, remaining), "") if tested else ""
            found[row] = Entry(interval.mean, interval.half, mark=mark)
        for row, entry in _emphasised(found, sweep.dense_rows).items():
            entries[row].append(entry)
        printed = _printed(sweep, task, remaining) if statistic == ALL_LANGUAGES else {}
        if printed:
            columns.append(Column(columns[-1].group, "paper", paper=True))
            for row in facts.rows:
                entries[row].append(Entry(printed.get(row), digits=2))
    return Grid(title, tuple(columns), tuple((row, tuple(entries[row])) for row in facts.rows))


def _emphasised(entries: Mapping[str, Entry], dense_rows: frozenset[str]) -> dict[str, Entry]:
    """The same with the best of the column marked, ties all; what is not pruned does not count."""
    rivals = {row: entry.value for row, entry in entries.items() if row not in dense_rows}
    best = max((value for value in rivals.values() if value is not None), default=None)
    return {
        row: replace(entry, best=best is not None and rivals.get(row) == best)
        for row, entry in entries.items()
    }


def _printed(sweep: Sweep, task: str, remaining: float) -> dict[str, float]:
    """The paper's numbers for a column by row; empty where it has none."""
    if remaining != paper.reading(sweep.facts.remaining, TOLERANCE):
        return {}
    found = {
        row: paper.average(row, paper.all_tasks(sweep.facts.tasks))
        if task == AVERAGE
        else paper.value(row, task)
        for row in sweep.facts.rows
    }
    return {row: value for row, value in found.items() if value is not None}
