"""The numbers of the table: scores by seed for every row, task and place where it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.runs import Run, Sweep, all_languages, english, zero_shot
from alignreg_jax.reporting.sweeps.statistics import Interval, t_interval

ALL_LANGUAGES, ZERO_SHOT, ENGLISH = "all_languages", "zero_shot", "en"
STATISTICS = (ALL_LANGUAGES, ZERO_SHOT, ENGLISH)  # the first only of XGLUE's tasks: their score
AVERAGE = "avg"  # in the place of a task: the mean of that score over XGLUE's eight


class Place(NamedTuple):
    """Where a number stands: row, task (or `AVERAGE`), where it is read, and which score."""

    row: str
    task: str
    remaining: float
    statistic: str


@dataclass(frozen=True)
class Cell:
    """The scores of a place by seed, as fractions, and the fraction of weights they were at."""

    values: Mapping[int, float]
    measured: float

    @property
    def interval(self) -> Interval:
        """Mean and 95 % interval over the seeds."""
        return t_interval(list(self.values.values()))


Cells = dict[Place, Cell]


def read_cells(sweep: Sweep) -> Cells:
    """Every number that the runs give; a place without one is absent.

    The average is XGLUE's own, over the scores of its eight tasks, as the paper's is. It is there
    only when all of them are, each in all its languages, and has the seeds that every one has.
    """
    facts = sweep.facts
    averaged = paper.all_tasks(facts.tasks)
    found: Cells = {}
    for row in facts.rows:
        for remaining in facts.remaining:
            for statistic in STATISTICS:
                for task in facts.tasks:
                    cell = _cell(sweep, Place(row, task, remaining, statistic))
                    if cell is not None:
                        found[Place(row, task, remaining, statistic)] = cell
            places = [Place(row, task, remaining, ALL_LANGUAGES) for task in averaged]
            mean = _average([found.get(place) for place in places])
            if mean is not None:
                found[Place(row, AVERAGE, remaining, ALL_LANGUAGES)] = mean
    return found


def _cell(sweep: Sweep, place: Place) -> Cell | None:
    values, measured = {}, []
    for run in sweep.of(place.row, place.task):
        step = run.step_at(place.remaining)
        value = None if step is None else _score(sweep, run, step, place.statistic)
        if step is not None and value is not None:
            values[run.seed] = value
            measured.append(step["remaining"])
    return Cell(values, float(np.mean(measured))) if values else None


def _score(sweep: Sweep, run: Run, step: dict[str, Any], statistic: str) -> float | None:
    if statistic == ALL_LANGUAGES:
        return all_languages(step, paper.languages(run.task))
    if statistic == ENGLISH:
        return english(step)
    return zero_shot(step, sweep.languages[run.task])


def _average(cells: list[Cell | None]) -> Cell | None:
    known = [cell for cell in cells if cell is not None]
    if not known or len(known) < len(cells):
        return None
    seeds = sorted(set.intersection(*(set(cell.values) for cell in known)))
    if not seeds:
        return None
    values = {seed: float(np.mean([cell.values[seed] for cell in known])) for seed in seeds}
    return Cell(values, float(np.mean([cell.measured for cell in known])))
