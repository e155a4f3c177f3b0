"""The numbers of the table: scores by seed for every row, task and place where it is read."""

import numpy as np
import pandas as pd

from alignreg_jax.reporting.series import ENGLISH, mean_over
from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.paper import AVERAGE
from alignreg_jax.reporting.sweeps.runs import Sweep
from alignreg_jax.reporting.sweeps.statistics import intervals

ALL_LANGUAGES, ZERO_SHOT = "all_languages", "zero_shot"
STATISTICS = (ALL_LANGUAGES, ZERO_SHOT, ENGLISH)  # the first only of XGLUE's tasks: their score
PLACE = ("row", "task", "remaining", "statistic")
"""Where a number stands: row, task (or `AVERAGE`), where it is read, and which score."""


def read_cells(sweep: Sweep) -> pd.DataFrame:
    """Every number that the runs give, by `PLACE` and seed: its value, a fraction, and `measured`.

    `measured` is the fraction of weights that it was measured at. The average is XGLUE's own, over
    the scores of its eight tasks, as the paper's is. It is there only when all of them are, each in
    all its languages, and has the seeds that every one has.
    """
    facts, parts = sweep.facts, []
    columns = [*PLACE, "seed", "value", "measured"]
    for statistic in STATISTICS:
        for task in sweep.tasks:
            of = {ALL_LANGUAGES: paper.languages(task), ENGLISH: (ENGLISH,)}
            values = mean_over(sweep.readings[task], of.get(statistic, sweep.languages[task]))
            if len(values):
                names = {"remaining": "measured", "at": "remaining"}
                found = values.rename_axis(index=names).reset_index(name="value")
                parts.append(found.assign(task=task, statistic=statistic)[columns])
    if not parts:
        return pd.DataFrame(columns=pd.Index(columns))
    cells = pd.concat(parts)
    if averaged := paper.all_tasks(facts.tasks):
        scores = cells.loc[cells.statistic == ALL_LANGUAGES]
        scores = scores.pivot(index=["row", "remaining", "seed"], columns="task")
        means = {
            name: scores[name].reindex(columns=averaged).mean(axis=1, skipna=False)
            for name in ("value", "measured")
        }
        average = pd.DataFrame(means).dropna().reset_index()
        average = average.assign(task=AVERAGE, statistic=ALL_LANGUAGES)
        cells = pd.concat([cells, average[columns]])
    rows, readings = (list(names) for names in (facts.rows, facts.remaining))
    order = np.lexsort([cells.remaining.map(readings.index), cells.row.map(rows.index)])
    return cells.iloc[order].reset_index(drop=True)


def tested_statistic(task: str) -> str:
    """The score of a task, or of the average, that rows are compared by."""
    return ALL_LANGUAGES if task == AVERAGE else ZERO_SHOT


def means(cells: pd.DataFrame) -> pd.DataFrame:
    """Of every place the mean over seeds with its interval, and `measured`; by `PLACE`."""
    groups = cells.groupby([*PLACE], sort=False)
    return intervals(groups.value).assign(measured=groups.measured.mean())


def marked(cells: pd.DataFrame, comparisons: pd.DataFrame) -> pd.DataFrame:
    """`means`, each with the `mark` of what was compared there."""
    compared = comparisons.assign(statistic=comparisons.task.map(tested_statistic))
    found = means(cells)
    return found.assign(mark=compared.set_index([*PLACE]).mark.reindex(found.index, fill_value=""))
