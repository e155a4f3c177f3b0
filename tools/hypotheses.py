#!/usr/bin/env python3
"""Test the hypotheses of docs/results/study/README.md, as they were written down there.

    python tools/hypotheses.py docs/results/study/intents docs/results/study/slots

A folder holds results.csv of one task of configs/study.py. Of every comparison the differences of
the zero-shot mean at 31 % of the weights, in points: the mean over tasks of each task's mean over
its seeds, with the interval that the study asks for (Welch's, 95 % together over the comparisons
of a hypothesis), what the study's first rule would say (differences averaged over the tasks seed
by seed), then each task alone, with an interval of its own. (d2) is about deployed models: the
table that tools/equal_time.py writes, --deployed.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from paired_rows import half_interval, results, scores
from scipy import stats

AT, NEAR = 0.31, 0.015  # whole units do not make 31 % exactly
TEXT = "distill.text"
ASKED = {"distill.teacher", TEXT, "pruning.epochs_per_step", "pruning.sizes"}
"""What the study sets of a row with text; one that sets more is none of the hypotheses'."""
AS_FAST = 1.05  # two models of one form differ by some 3 % from one measurement to the next
SEEDS = {"intents": 5, "slots": 5, "topics": 3, "tags": 3}
"""By task what the test has."""
ANCHORS, UNITS = (
    ("frobenius-mbp", "cosine-mbp"),
    ("structured-taylor", "structured-fisher", "elastic"),
)

Row = tuple[str, bool]
"""A method, and whether it had text."""
Interval = tuple[float, float, float]
"""A mean, and the ends of its interval."""
HYPOTHESES: dict[str, tuple[str, list[tuple[Row, Row]]]] = {
    "a": (
        "the anchors beat magnitude without a teacher",
        [((anchor, False), ("l2-mbp", False)) for anchor in ANCHORS],
    ),
    "b": (
        "magnitude with text beats every anchor without it",
        [(("l2-mbp", True), (anchor, False)) for anchor in ANCHORS],
    ),
    "c": (
        "anchors add something beside text",
        [((anchor, True), ("l2-mbp", True)) for anchor in ANCHORS],
    ),
    "d1": (
        "at equal weights units lose to weights, all with text",
        [(("l2-mbp", True), (units, True)) for units in UNITS],
    ),
}
"""By name what is claimed, and the pairs whose first row should be ahead."""


def main() -> None:
    """Print every hypothesis with its comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="with results.csv, of one task each")
    parser.add_argument("--deployed", type=Path, help="what tools/equal_time.py wrote: (d2), too")
    arguments = parser.parse_args()
    folders = arguments.folders
    found = {folder.name: zero_shot(results(folder)) for folder in folders}
    rows = sorted({row for _, pairs in HYPOTHESES.values() for pair in pairs for row in pair})
    found = {task: table.reindex(rows) for task, table in found.items()}
    for task, table in found.items():
        for row, seed in zip(*np.nonzero(table.isna().to_numpy()), strict=True):
            print(f"missing: {task}, {named(rows[row])}, seed {table.columns[seed]}")
    whole = {task: table.dropna(axis=1) for task, table in found.items()}
    seeds = {task: len(table.columns) for task, table in whole.items()}
    lacking = seeds != SEEDS
    print(
        f"seeds that all rows have: {counted(seeds)}"
        + f"; not the test, which has {counted(SEEDS)}" * lacking
    )
    if min(seeds.values()) < 2:
        sys.exit("fewer than two such seeds of a task tell no spread")
    for name, (claim, pairs) in HYPOTHESES.items():
        differences = [difference(whole, *pair) for pair in pairs]
        together = [over_tasks(each, len(pairs)) for each in differences]
        print(f"\n({name}) {claim}: {verdict(together)}")
        for (one, other), each, bounds in zip(pairs, differences, together, strict=True):
            print(f"  {named(one)} - {named(other)}: {said(bounds)}")
            if lacking:
                print(f"    in the test about ± {expected(each, len(pairs)):.1f}")
            by_seed = pd.DataFrame(each).dropna().mean(axis=1)
            if len(each) > 1 < len(by_seed):
                first = interval(by_seed, len(pairs))
                print(f"    by the first rule, {len(by_seed)} seeds: {said(first)}")
            for task, values in each.items():
                print(f"    {task}: {said(interval(values))}")
    if arguments.deployed:
        if not arguments.deployed.is_file() or not arguments.deployed.read_text().strip():
            sys.exit(f"{arguments.deployed}: tools/equal_time.py has written nothing there")
        at_equal_time(
            pd.read_csv(arguments.deployed), {task: [*each] for task, each in whole.items()}
        )


def at_equal_time(table: pd.DataFrame, seeds: Mapping[str, list[int]]) -> None:
    """Print (d2): units that are no slower less single weights, both as they are served.

    There is no verdict where they are slower. `seeds` are those of each task.
    """
    units = table.method.isin(UNITS)
    if (twice := table[table.assign(units=units).duplicated(["task", "seed", "units"])]).size:
        sys.exit(f"deployed twice: {twice.task.iloc[0]}, seed {twice.seed.iloc[0]}")

    def of(models: pd.Series, column: str, task: str) -> pd.Series:
        found = table[models & (table.task == task)].set_index("seed")[column]
        return found.reindex(seeds[task])

    apart = {task: of(units, "zero_shot", task) - of(~units, "zero_shot", task) for task in seeds}
    times = pd.concat([of(units, "ms", task) / of(~units, "ms", task) for task in seeds])
    for task, values in apart.items():
        for seed in values.index[values.isna()]:
            print(f"missing: deployed, {task}, seed {seed}")
    apart = {task: values.dropna() for task, values in apart.items()}
    if min(map(len, apart.values())) < 2:
        sys.exit("fewer than two seeds of a task are deployed: they tell no spread")
    bounds = over_tasks(apart)
    taken = ", ".join(
        f"{method} {100 * left:.0f} %"
        for method, left in table[units][["method", "left"]].round(2).drop_duplicates().to_numpy()
    )
    told = verdict([bounds]) if times.max() <= AS_FAST else "not told, units are slower"
    print(f"\n(d2) at equal milliseconds units win, all with text: {told}")
    print(f"  of l2-mbp's time they take {times.min():.2f} to {times.max():.2f}")
    print(f"  {taken} - l2-mbp with text: {said(bounds)}")
    for task, values in apart.items():
        print(f"    {task}: {said(interval(values))}")


def zero_shot(table: pd.DataFrame) -> pd.DataFrame:
    """Zero-shot means at 31 %, in percent: a (method, with text) a line, a seed a column."""
    (metric,) = table.metric.unique()
    runs = scores(table, metric)
    runs = runs[np.isclose(runs["at"], AT, rtol=0, atol=NEAR)]
    set_by = runs.fields.map(lambda of: {each.partition("=")[0] for each in of.split("@")[1:]})
    text = set_by.map(lambda of: TEXT in of and of <= ASKED)
    runs = runs[text | (runs.fields == "")].assign(text=text)
    return runs.pivot(index=["method", "text"], columns="seed", values="mean_of_others")


def difference(found: Mapping[str, pd.DataFrame], one: Row, other: Row) -> dict[str, pd.Series]:
    """By how much one row is ahead: by task, a seed each."""
    return {task: table.loc[one] - table.loc[other] for task, table in found.items()}


def over_tasks(apart: Mapping[str, pd.Series], comparisons: int = 1) -> Interval:
    """Of the mean over tasks of each one's mean over seeds; 95 % for all comparisons together.

    Tasks spread differently and may have different numbers of seeds: Welch's interval, with
    Satterthwaite's degrees of freedom.
    """
    mean = float(np.mean([values.mean() for values in apart.values()]))
    spreads = [(float(values.var()), len(values)) for values in apart.values()]
    half = half_of_welch(spreads, comparisons)
    return mean, mean - half, mean + half


def expected(apart: Mapping[str, pd.Series], comparisons: int) -> float:
    """Half of the test's interval, if tasks that are not done spread as those that are."""
    known = {task: float(values.var()) for task, values in apart.items()}
    usual = float(np.mean([*known.values()]))
    spreads = [(known.get(task, usual), seeds) for task, seeds in SEEDS.items()]
    return half_of_welch(spreads, comparisons)


def half_of_welch(spreads: Sequence[tuple[float, int]], comparisons: int) -> float:
    """Half of an interval of the mean over tasks, from each one's variance and number of seeds."""
    variances, sizes = np.array(spreads).T
    errors = variances / sizes
    freedom = errors.sum() ** 2 / (errors**2 / (sizes - 1)).sum()
    quantile = stats.t.ppf(1 - 0.025 / comparisons, freedom)
    return float(quantile * math.sqrt(errors.sum()) / len(sizes))


def interval(values: pd.Series, comparisons: int = 1) -> Interval:
    """Of the mean, by Student's t; 95 % for all comparisons of a hypothesis together."""
    mean, half = float(values.mean()), half_interval(values, comparisons)
    return mean, mean - half, mean + half


def verdict(intervals: list[Interval]) -> str:
    """Holds, is refuted, or cannot be told, as the study says."""
    if all(low > 0 for _, low, _ in intervals):
        return "holds"
    return "is refuted" if all(high < 0 for *_, high in intervals) else "cannot be told"


def said(interval: Interval) -> str:
    """For a reader."""
    mean, low, high = interval
    return f"{mean:+.1f} ({low:.1f} to {high:.1f})"


def counted(seeds: Mapping[str, int]) -> str:
    """For a reader."""
    return ", ".join(f"{task} {number}" for task, number in seeds.items())


def named(row: Row) -> str:
    """For a reader."""
    return f"{row[0]} with text" if row[1] else row[0]


if __name__ == "__main__":
    main()
