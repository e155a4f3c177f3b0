"""The sweep for programs: every cell and every comparison as CSV; fractions, empty for unknown."""

import numpy as np
import pandas as pd

from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.cells import ALL_LANGUAGES, marked
from alignreg_jax.reporting.sweeps.runs import SweepFacts

TABLE_COLUMNS = (
    *("task", "row", "remaining", "statistic", "mean", "low", "high", "seeds", "measured"),
    *("change", "paper"),
)
COMPARISON_COLUMNS = (
    *("row", "task", "remaining", "tested", "difference", "low", "high", "p_seeds", "p_examples"),
    *("differs", "seeds", "examples", "detectable"),
)


def table_csv(facts: SweepFacts, cells: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """Every cell in long form.

    `low` and `high` end the 95 % interval; `measured` is the mean fraction of weights that the
    score was measured at; `change` is "higher" or "lower" where the row differs significantly from
    the baseline; `paper` is the paper's printed number as a fraction, beside XGLUE's score.
    """
    found = marked(cells, comparisons).reset_index()
    at = found.remaining == (paper.reading(facts.remaining) or -1)
    beside = at & (found.statistic == ALL_LANGUAGES)
    found["paper"] = [
        paper.printed(row, task, facts.tasks) if shown else None
        for row, task, shown in zip(found.row, found.task, beside, strict=True)
    ]
    found["change"] = found.mark.map({"↑": "higher", "↓": "lower"})
    return csv(found.reindex(columns=TABLE_COLUMNS))


def comparisons_csv(comparisons: pd.DataFrame, powers: pd.DataFrame) -> str:
    """Every comparison with the baseline.

    `detectable` is the smallest true difference that its family finds at 80 % power.
    """
    smallest = comparisons.task.map(powers.set_index("task").detectable)
    found = comparisons.assign(detectable=smallest.where(comparisons.tested.astype(bool)))
    for name in ("tested", "differs"):
        found[name] = np.where(found[name], "true", "false")
    return csv(found.reindex(columns=COMPARISON_COLUMNS))


def csv(frame: pd.DataFrame) -> str:
    """A table as text, with every digit."""
    return frame.to_csv(index=False, lineterminator="\n")
