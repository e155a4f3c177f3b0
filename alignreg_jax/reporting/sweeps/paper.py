"""Table 1 as the paper prints it (O'Neill, Dutta and Assem, arXiv 2204.01385), in percent.

XLM-R base on XGLUE at 31 % remaining weights, zero-shot from English. The caption calls them
"Overall XGLUE Score", and XGLUE's score of a task is the mean over all its languages, English
included. The paper itself says neither whether its means include English, nor over how many seeds
they are, nor whether they are of dev or test sets.
"""

import re
from collections.abc import Sequence

from alignreg_jax.data.tasks import get_task

REMAINING = 0.9**11
TOLERANCE = 0.01
"""How far a pruning step may be from where a table is read; 0.9**11 and 0.3138 are one point."""

AVERAGE = "avg"
"""In the place of a task: the mean of XGLUE's score over its eight."""
TASKS = ("xnli", "nc", "ner", "pawsx", "pos", "qam", "qadsm", "wpr")
"""Our names of the tasks, in the order of the paper's columns."""

# Our presets, what the paper calls them, percent for each of the tasks, and the average it prints
_TABLE = """
none           No Pruning       73.48  80.10  82.60  89.24  80.34  68.56  68.06  73.32  76.96
random         Random           51.22  70.19  38.19  57.37  52.57  53.85  52.34  70.69  55.80
random-global  Global-Random    50.97  69.88  38.30  56.74  53.02  54.02  53.49  69.11  55.69
l0-mbp         L0-MBP           64.75  78.98  56.22  72.09  71.38  59.31  53.35  71.70  65.97
l2-mbp         L2-MBP           64.30  78.79  54.43  77.99  70.68  59.24  60.33  71.52  67.16
l2-global-mbp  L2-Global-MBP    64.17  78.64  54.47  75.51  72.27  59.26  60.10  71.50  66.99
gradient-mbp   L2-Gradient-MBP  61.11  73.77  53.25  79.56  65.89  57.35  59.33  71.59  65.23
lookahead      Lookahead        60.84  79.18  54.44  71.05  68.76  55.94  53.41  71.26  64.36
lamp           LAMP             58.04  63.64  51.92  66.05  67.43  55.36  52.42  71.09  60.74
cosine-mbp     Cosine-MBP       66.20  79.15  55.62  78.45  71.62  57.56  61.37  72.51  67.81
frobenius-mbp  Frobenius-MBP    65.71  79.84  55.61  78.78  71.62  61.62  61.37  71.48  68.25
"""
_LINES = [re.split(r"\s{2,}", line) for line in _TABLE.strip().splitlines()]

ROWS: dict[str, str] = {row: name for row, name, *_ in _LINES}
"""Our presets -> the paper's rows, in its order."""

PRINTED: dict[str, tuple[float, ...]] = {
    row: tuple(map(float, numbers)) for row, _, *numbers in _LINES
}
"""Row -> percent for each of `TASKS`, then the average that is printed beside them."""

CLAIMS: dict[str, float] = {"cosine-mbp": 0.0065, "frobenius-mbp": 0.0109}
"""By how much the paper's averages lie above that of magnitude pruning (l2-mbp), as fractions."""


def value(row: str, task: str) -> float | None:
    """The paper's score of a row on a task as a fraction; None where it has none.

    A task's label may carry overrides (`pos@train.learning_rate=2e-5`): the paper, too, trains its
    tasks with their own settings. A row with overrides is another method than the paper's.
    """
    task = task.partition("@")[0]
    if row not in PRINTED or task not in TASKS:
        return None
    return PRINTED[row][TASKS.index(task)] / 100


def languages(task: str) -> tuple[str, ...]:
    """The languages that XGLUE's score of a task is the mean over; none for another task."""
    name = task.partition("@")[0]
    return (get_task(name).languages or ()) if name in TASKS else ()


def all_tasks(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels of XGLUE's tasks, in the paper's order; empty unless each is there once."""
    found = [[label for label in labels if label.partition("@")[0] == task] for task in TASKS]
    return tuple(label for (label,) in found) if all(len(f) == 1 for f in found) else ()


def average(row: str, tasks: Sequence[str]) -> float | None:
    """The mean of the paper's scores over some of its tasks; None if one is not in the table."""
    values = [found for task in tasks if (found := value(row, task)) is not None]
    return sum(values) / len(values) if values and len(values) == len(tasks) else None


def reading(remaining: Sequence[float]) -> float | None:
    """Where the table is read closest to the paper's 31 %; None if that is not the same point."""
    near = [at for at in remaining if abs(at - REMAINING) < TOLERANCE]
    return min(near, key=lambda at: abs(at - REMAINING), default=None)


def printed(row: str, task: str, tasks: Sequence[str]) -> float | None:
    """The paper's number beside XGLUE's score; of `AVERAGE` that over all of its tasks."""
    return average(row, all_tasks(tasks)) if task == AVERAGE else value(row, task)
