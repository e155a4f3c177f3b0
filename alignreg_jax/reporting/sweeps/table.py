"""From numbers to the tables that are printed: which columns, what is best, what is marked."""

from collections.abc import Mapping, Sequence

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
from alignreg_jax.reporting.tables import Entry, Table, percent

# What a score is called: over a column, and in the title of a table
_COLUMN = {ALL_LANGUAGES: "all languages", ZERO_SHOT: "zero-shot", ENGLISH: "en"}
_TITLE = {
    ALL_LANGUAGES: "mean of all languages",
    ZERO_SHOT: "zero-shot mean",
    ENGLISH: "English",
}


def grids(sweep: Sweep, cells: Cells, comparisons: Sequence[Comparison]) -> list[Table]:
    """The tables to print.

    One task: a single table, where it is read side by side, zero-shot mean and English under each,
    before them the mean of all languages if the task is XGLUE's. More: a table of each of these for
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
            places = [("", t, remaining, statistic) for t in _columns(facts.tasks, statistic)]
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
) -> Table:
    """A column for each (group, task, remaining, statistic), and the paper's beside."""
    facts = sweep.facts
    marks = {(c.row, c.task, c.remaining): c.mark for c in comparisons}
    score = {AVERAGE: ALL_LANGUAGES}  # what a task's rows are tested on, if not the zero-shot mean
    header, groups, muted = [""], [""], []
    rows: dict[str, list[str | Entry]] = {row: [row] for row in facts.rows}
    for group, task, remaining, statistic in places:
        header.append(_COLUMN[statistic] if len(facts.tasks) == 1 else facts.column(task))
        groups.append(group)
        tested = statistic == score.get(task, ZERO_SHOT)
        found = {
            row: cell.interval
            for row in facts.rows
            if (cell := cells.get(Place(row, task, remaining, statistic)))
        }
        rivals = [one.mean for row, one in found.items() if row not in sweep.dense_rows]
        for row, entries in rows.items():
            interval = found.get(row)
            if interval is None:
                entries.append(Entry("–"))
                continue
            text = percent(interval.mean)
            text += "" if interval.half is None else f" ± {percent(interval.half)}"
            best = row not in sweep.dense_rows and interval.mean == max(rivals)  # ties all
            mark = marks.get((row, task, remaining), "") if tested else ""
            entries.append(Entry(text, mark, best))
        printed = _printed(sweep, task, remaining) if statistic == ALL_LANGUAGES else {}
        if printed:
            muted.append(len(header))
            header.append("paper")
            groups.append(group)
            for row, entries in rows.items():
                entries.append(Entry(percent(printed.get(row), 2)))
    named = groups if any(groups) else ()
    return Table(header, [*rows.values()], title=title, groups=named, muted=muted)


def _printed(sweep: Sweep, task: str, remaining: float) -> Mapping[str, float]:
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
