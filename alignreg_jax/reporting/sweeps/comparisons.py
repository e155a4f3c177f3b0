"""Every row against the baseline: over seeds with a pooled error, and over test examples."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from alignreg_jax.errors import UserError
from alignreg_jax.reporting.sweeps.cells import tested_statistic
from alignreg_jax.reporting.sweeps.dunnett import SIGNIFICANT, contrasts, detectable, pooled
from alignreg_jax.reporting.sweeps.example_scores import ExampleScores
from alignreg_jax.reporting.sweeps.paper import AVERAGE
from alignreg_jax.reporting.sweeps.runs import Sweep
from alignreg_jax.reporting.sweeps.statistics import holm, randomisation_test

_WIDE = 0.01
_COLUMNS = (
    *("row", "task", "remaining", "tested", "difference", "low", "high", "p_seeds", "seeds"),
    *("p_examples", "examples", "parallel", "trouble"),
)


def compare(sweep: Sweep, cells: pd.DataFrame) -> pd.DataFrame:
    """Compare every pruned row with the baseline on every task, wherever the table is read.

    A family is what `facts.compared` names, on one task at `facts.tested_at`. The rest is shown
    without a test, and so claims nothing. A line of the result is a row's mean over seeds minus the
    baseline's, of zero-shot means or of XGLUE's average:

    - `tested`: it belongs to the family that the sweep tests.
    - `difference`: a fraction. `low`, `high`: the ends of its 95 % interval, which in a family
      holds for all of its rows together; NaN without a spread over seeds.
    - `p_seeds`: over seeds, corrected for the family (`dunnett.contrasts`).
    - `p_examples`: of the randomisation test over examples, corrected for the family by Holm's
      rule; NaN where there is none.
    - `seeds`: how many the row has.
    - `examples`: test examples (sentences in token tasks, queries in ranking): over all languages,
      or of one where they are the same in all; 0 without a test over examples.
    - `parallel`: the test over examples took a row of all languages as one example.
    - `trouble`: why there is no test over examples although there are predictions.
    - `differs`: p is below 0.05 over seeds, and over examples where that was tested.
    - `mark`: an arrow up or down where it differs.
    """
    facts, found = sweep.facts, []
    examples = ExampleScores(sweep)
    for remaining in facts.remaining:
        for task in (*facts.tasks, AVERAGE):
            base, *families = _family(sweep, cells, task, remaining)
            if base is None:
                continue
            for rows, tested in zip(families, (True, False), strict=True):
                results = contrasts(base, [*rows.values()], together=tested)
                for (row, values), (difference, half, p) in zip(rows.items(), results, strict=True):
                    place, over = (row, task, remaining), (np.nan, 0, False, "")
                    if tested and task != AVERAGE:
                        over = _over_examples(examples, *place) or over
                    ends = (difference - half, difference + half)
                    found.append((*place, tested, difference, *ends, p, len(values), *over))
    compared = pd.DataFrame(found, columns=pd.Index(_COLUMNS))
    for _, family in compared.groupby(["task", "remaining"]):
        compared.loc[family.index, "p_examples"] = holm(family.p_examples.tolist())
    return judged(compared)


def judged(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The comparisons with what their tests say: `differs` and `mark`."""
    largest = comparisons[["p_seeds", "p_examples"]].max(axis=1)
    differs = comparisons.tested & comparisons.p_seeds.notna() & (largest < SIGNIFICANT)
    arrow = np.where(comparisons.difference > 0, "↑", "↓")
    return comparisons.assign(differs=differs, mark=np.where(differs, arrow, ""))


def powers(sweep: Sweep, cells: pd.DataFrame) -> pd.DataFrame:
    """What each family can detect, a line each; none for one whose seeds tell no spread.

    `rows` are compared with the baseline; one of them or the baseline has as few as `seeds`;
    `spread` is the pooled standard deviation between seeds; `detectable` the smallest true
    difference that is found in 80 % of such sweeps; `wide_baseline` says that the baseline's own
    seeds spread so much wider than the rows' that p is too small.
    """
    found = []
    for task in (*sweep.facts.tasks, AVERAGE):
        base, tested, _ = _family(sweep, cells, task, sweep.facts.tested_at)
        if base is None or not tested:
            continue
        groups = [base, *tested.values()]
        error, seeds = pooled(groups), min(map(len, groups))
        if error is not None and seeds > 1:
            smallest = detectable(error.spread, seeds, len(tested))
            wide = _wider(base, groups[1:])
            found.append((task, len(tested), seeds, error.spread, smallest, wide))
    names = ("task", "rows", "seeds", "spread", "detectable", "wide_baseline")
    return pd.DataFrame(found, columns=pd.Index(names))


def _family(
    sweep: Sweep, cells: pd.DataFrame, task: str, remaining: float
) -> tuple[list[float] | None, Mapping[str, list[float]], Mapping[str, list[float]]]:
    """The baseline's scores by seed, those of the rows that are tested, and of the others."""
    facts = sweep.facts
    at = (cells.task == task) & (cells.remaining == remaining)
    at &= cells.statistic == tested_statistic(task)
    groups = cells[at & ~cells.row.isin(sweep.dense_rows)].groupby("row", sort=False).value
    found = {row: values.tolist() for row, values in groups}
    base = found.pop(facts.baseline, None)
    chosen = facts.compared if remaining == facts.tested_at else ()
    tested = {row: values for row, values in found.items() if row in chosen}
    return base, tested, {row: found[row] for row in found if row not in tested}


def _wider(baseline: Sequence[float], rows: Sequence[Sequence[float]]) -> bool:
    """Whether an F-test at 1 % says that the baseline spreads wider than the rows do."""
    mine, theirs = pooled([baseline]), pooled(rows)
    if mine is None or theirs is None:
        return False
    ratio_of_squares = (mine.spread / theirs.spread) ** 2
    return float(stats.f.sf(ratio_of_squares, mine.freedom, theirs.freedom)) < _WIDE


def _over_examples(
    examples: ExampleScores, row: str, task: str, remaining: float
) -> tuple[float, int, bool, str] | None:
    """The test over examples, not yet corrected; None where there are no predictions of both."""
    try:
        sides = examples.pairs(row, task, remaining)
    except UserError as error:
        return np.nan, 0, False, str(error)
    if sides is None:
        return None
    parallel = examples.parallel(task)
    counts = [mine.shape[1] for mine, _ in sides]
    many = counts[0] if parallel else sum(counts)
    return randomisation_test(sides, parallel=parallel), many, parallel, ""
