"""Every row against the baseline: over seeds with a pooled error, and over test examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scipy import stats

from alignreg_jax.errors import UserError
from alignreg_jax.reporting.sweeps.cells import (
    ALL_LANGUAGES,
    AVERAGE,
    ZERO_SHOT,
    Cell,
    Cells,
    Place,
)
from alignreg_jax.reporting.sweeps.dunnett import (
    SIGNIFICANT,
    Contrast,
    contrasts,
    detectable,
    pooled,
    single_intervals,
)
from alignreg_jax.reporting.sweeps.example_scores import ExampleScores, by_language
from alignreg_jax.reporting.sweeps.runs import Run, Sweep
from alignreg_jax.reporting.sweeps.statistics import holm, randomisation_test

_WIDE = 0.01


@dataclass(frozen=True)
class Comparison:
    """A row's mean over seeds minus the baseline's: of zero-shot means, or of XGLUE's average.

    Attributes:
        row: label of the row.
        task: label of the task, or `cells.AVERAGE`.
        remaining: where the table is read.
        tested: it belongs to the family that the sweep tests; others are shown and claim nothing.
        difference: a fraction.
        low: lower end of its 95 % interval, which in a family holds for all of its rows together;
            None without a spread over seeds.
        high: upper end.
        p_seeds: over seeds, corrected for the family (`dunnett.contrasts`).
        p_examples: of the randomisation test over examples, corrected for the family by Holm's
            rule; None where there is none.
        seeds: how many the row has.
        examples: test examples (sentences in token tasks, queries in ranking): over all languages,
            or of one where they are the same in all; 0 without a test over examples.
        parallel: the test over examples took a row of all languages as one example.
        trouble: why there is no test over examples although there are predictions.
    """

    row: str
    task: str
    remaining: float
    tested: bool
    difference: float
    low: float | None = None
    high: float | None = None
    p_seeds: float | None = None
    p_examples: float | None = None
    seeds: int = 1
    examples: int = 0
    parallel: bool = False
    trouble: str = ""

    @property
    def differs(self) -> bool:
        """Whether p is below 0.05 over seeds, and over examples where that was tested."""
        if not self.tested or self.p_seeds is None:
            return False
        return max(self.p_seeds, self.p_examples or 0.0) < SIGNIFICANT

    @property
    def mark(self) -> str:
        """An arrow up or down where the row differs."""
        return "" if not self.differs else "↑" if self.difference > 0 else "↓"


@dataclass(frozen=True)
class Power:
    """What a family of comparisons can detect, from its own spread between seeds.

    Attributes:
        task: label of the task, or `cells.AVERAGE`.
        remaining: where the table is read.
        rows: how many are compared with the baseline.
        seeds: the fewest that one of them or the baseline has.
        spread: pooled standard deviation between seeds, a fraction.
        detectable: the smallest true difference that is found in 80 % of such sweeps.
        wide_baseline: the baseline's own seeds spread so much wider than the rows' that p is too
            small.
    """

    task: str
    remaining: float
    rows: int
    seeds: int
    spread: float
    detectable: float
    wide_baseline: bool


def compare(sweep: Sweep, cells: Cells) -> list[Comparison]:
    """Compare every pruned row with the baseline on every task, wherever the table is read.

    A family is what `facts.compared` names, on one task at `facts.tested_at`. The rest is shown
    without a test, and so claims nothing.
    """
    facts, found = sweep.facts, []
    examples = ExampleScores(sweep)
    for remaining in facts.remaining:
        for task in (*facts.tasks, AVERAGE):
            base, tested, others = _family(sweep, cells, task, remaining)
            if base is None:
                continue
            over_seeds = contrasts(list(base.values.values()), _values(tested))
            compared = [
                _comparison(row, task, remaining, cell, contrast, tested=True)
                for (row, cell), contrast in zip(tested.items(), over_seeds, strict=True)
            ]
            if task != AVERAGE:
                compared = _over_examples(compared, sweep, examples)
            single = single_intervals(list(base.values.values()), _values(others))
            compared += [
                _comparison(row, task, remaining, cell, contrast, tested=False)
                for (row, cell), contrast in zip(others.items(), single, strict=True)
            ]
            found += compared
    return found


def powers(sweep: Sweep, cells: Cells) -> list[Power]:
    """What each family can detect; none for a family whose seeds tell no spread."""
    facts, found = sweep.facts, []
    for task in (*facts.tasks, AVERAGE):
        base, tested, _ = _family(sweep, cells, task, facts.tested_at)
        if base is None or not tested:
            continue
        baseline, rows = list(base.values.values()), _values(tested)
        error, seeds = pooled([baseline, *rows]), min(map(len, (baseline, *rows)))
        if error is not None and seeds > 1:
            smallest = detectable(error.spread, seeds, len(rows))
            wide = _wider(baseline, rows)
            place = (task, facts.tested_at, len(rows), seeds)
            found.append(Power(*place, error.spread, smallest, wide))
    return found


def _family(
    sweep: Sweep, cells: Cells, task: str, remaining: float
) -> tuple[Cell | None, dict[str, Cell], dict[str, Cell]]:
    """The baseline's cell, those of the rows that are tested, and those of the others."""
    facts = sweep.facts
    statistic = ALL_LANGUAGES if task == AVERAGE else ZERO_SHOT
    found = {
        row: cell
        for row in facts.rows
        if row not in sweep.dense_rows
        and (cell := cells.get(Place(row, task, remaining, statistic)))
    }
    base = found.pop(facts.baseline, None)
    chosen = facts.compared if remaining == facts.tested_at else ()
    tested = {row: cell for row, cell in found.items() if row in chosen}
    return base, tested, {row: cell for row, cell in found.items() if row not in tested}


def _values(cells: Mapping[str, Cell]) -> list[list[float]]:
    return [list(cell.values.values()) for cell in cells.values()]


def _wider(baseline: Sequence[float], rows: Sequence[Sequence[float]]) -> bool:
    """Whether an F-test at 1 % says that the baseline spreads wider than the rows do."""
    mine, theirs = pooled([baseline]), pooled(rows)
    if mine is None or theirs is None:
        return False
    ratio_of_squares = (mine.spread / theirs.spread) ** 2
    return float(stats.f.sf(ratio_of_squares, mine.freedom, theirs.freedom)) < _WIDE


def _comparison(
    row: str, task: str, remaining: float, cell: Cell, contrast: Contrast, *, tested: bool
) -> Comparison:
    low = high = None
    if contrast.half is not None:
        low, high = contrast.difference - contrast.half, contrast.difference + contrast.half
    seeds = len(cell.values)
    place = (row, task, remaining, tested, contrast.difference)
    return Comparison(*place, low, high, contrast.p, seeds=seeds)


# ---- Over examples ----------------------------------------------------------------------------


def _over_examples(
    compared: Sequence[Comparison], sweep: Sweep, examples: ExampleScores
) -> list[Comparison]:
    """The same with the test over examples, corrected for their number."""
    found = [_tested_over_examples(comparison, sweep, examples) for comparison in compared]
    known = [comparison.p_examples for comparison in found if comparison.p_examples is not None]
    corrected = iter(holm(known))
    return [
        comparison
        if comparison.p_examples is None
        else replace(comparison, p_examples=next(corrected))
        for comparison in found
    ]


def _tested_over_examples(
    comparison: Comparison, sweep: Sweep, examples: ExampleScores
) -> Comparison:
    base, other = (
        _readings(sweep, row, comparison.task, comparison.remaining)
        for row in (sweep.facts.baseline, comparison.row)
    )
    pairs = [(other[seed], base[seed]) for seed in base if seed in other]
    if not pairs:
        return comparison
    try:
        mine, theirs = (
            by_language([examples.parts(*reading) for reading in side])
            for side in zip(*pairs, strict=True)
        )
    except UserError as error:
        return replace(comparison, trouble=str(error))
    if not mine or not theirs:
        return comparison
    parallel = examples.parallel(comparison.task)
    p = randomisation_test(list(zip(mine, theirs, strict=True)), parallel=parallel)
    counts = [parts.shape[1] for parts in mine]
    count = counts[0] if parallel else sum(counts)
    return replace(comparison, p_examples=p, examples=count, parallel=parallel)


Reading = tuple[Run, dict[str, Any]]


def _readings(sweep: Sweep, row: str, task: str, remaining: float) -> dict[int, Reading]:
    """By seed, the run and its evaluation where the table is read."""
    steps = ((run, run.step_at(remaining)) for run in sweep.of(row, task))
    return {run.seed: (run, step) for run, step in steps if step is not None}
