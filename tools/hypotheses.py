#!/usr/bin/env python3
"""Test the hypotheses of docs/results/study/README.md, as they were written down there.

    python tools/hypotheses.py docs/results/study/intents docs/results/study/slots

A folder holds results.csv of one task of configs/study.py. Of every comparison the differences of
the zero-shot mean at 31 % of the weights, in points: seed by seed averaged over the tasks, with the
interval that the study asks for (Student's t over the seeds, 95 % together over the comparisons of
a hypothesis), then each task alone, with an interval of its own. (d2) is about deployed models: the
table that tools/equal_time.py writes, --deployed.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from paired_rows import half_interval, results, scores

AT, NEAR = 0.31, 0.015  # whole units do not make 31 % exactly
TEXT = "distill.text"
ASKED = {"distill.teacher", TEXT, "pruning.epochs_per_step", "pruning.sizes"}
"""What the study sets of a row with text; one that sets more is none of the hypotheses'."""
AS_FAST = 1.05  # two models of one form differ by some 3 % from one measurement to the next
TASKS, SEEDS = 4, 5
ANCHORS, UNITS = (
    ("frobenius-mbp", "cosine-mbp"),
    ("structured-taylor", "structured-fisher", "elastic"),
)

Row = tuple[str, bool]
"""A method, and whether it had text."""
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
    seeds = set.intersection(*(set(table.dropna(axis=1).columns) for table in found.values()))
    whole = len(found) == TASKS and len(seeds) == SEEDS
    lacking = "" if whole else f": not yet the test, which has {TASKS} and {SEEDS}"
    print(
        f"{len(found)} task{'s' * (len(found) > 1)}, {len(seeds)} seeds that all rows have{lacking}"
    )
    if len(seeds) < 2:
        sys.exit("fewer than two such seeds tell no spread")
    for name, (claim, pairs) in HYPOTHESES.items():
        differences = [difference(found, *pair, sorted(seeds)) for pair in pairs]
        together = [interval(each.mean(axis=1), len(pairs)) for each in differences]
        print(f"\n({name}) {claim}: {verdict(together)}")
        for (one, other), each, bounds in zip(pairs, differences, together, strict=True):
            print(f"  {named(one)} - {named(other)}: {said(each.mean(axis=1), bounds)}")
            for task in each:
                print(f"    {task}: {said(each[task], interval(each[task]))}")
    if arguments.deployed:
        if not arguments.deployed.is_file() or not arguments.deployed.read_text().strip():
            sys.exit(f"{arguments.deployed}: tools/equal_time.py has written nothing there")
        at_equal_time(pd.read_csv(arguments.deployed), sorted(found), sorted(seeds))


def at_equal_time(table: pd.DataFrame, tasks: list[str], seeds: list[int]) -> None:
    """Print (d2): units that are no slower less single weights, both as they are served.

    There is no verdict where they are slower.
    """
    units = table.method.isin(UNITS)
    if (twice := table[table.assign(units=units).duplicated(["task", "seed", "units"])]).size:
        sys.exit(f"deployed twice: {twice.task.iloc[0]}, seed {twice.seed.iloc[0]}")

    def of(models: pd.Series, column: str) -> pd.DataFrame:
        found = table[models].pivot(index="seed", columns="task", values=column)
        return found.reindex(seeds, columns=tasks)

    apart = of(units, "zero_shot") - of(~units, "zero_shot")
    times = of(units, "ms") / of(~units, "ms")
    for task, seed in ((task, seed) for task in tasks for seed in seeds):
        if np.isnan(apart.loc[seed, task]):
            print(f"missing: deployed, {task}, seed {seed}")
    apart = apart.dropna()
    if len(apart) < 2:
        sys.exit("fewer than two seeds are deployed: they tell no spread")
    bounds = interval(apart.mean(axis=1))
    taken = ", ".join(
        f"{method} {100 * left:.0f} %"
        for method, left in table[units][["method", "left"]].round(2).drop_duplicates().to_numpy()
    )
    slowest = times.loc[apart.index].max(axis=None)
    told = verdict([bounds]) if slowest <= AS_FAST else "not told, units are slower"
    print(f"\n(d2) at equal milliseconds units win, all with text: {told}")
    print(f"  of l2-mbp's time they take {times.min(axis=None):.2f} to {slowest:.2f}")
    print(f"  {taken} - l2-mbp with text: {said(apart.mean(axis=1), bounds)}")
    for task in apart:
        print(f"    {task}: {said(apart[task], interval(apart[task]))}")


def zero_shot(table: pd.DataFrame) -> pd.DataFrame:
    """Zero-shot means at 31 %, in percent: a (method, with text) a line, a seed a column."""
    (metric,) = table.metric.unique()
    runs = scores(table, metric)
    runs = runs[np.isclose(runs["at"], AT, rtol=0, atol=NEAR)]
    set_by = runs.fields.map(lambda of: {each.partition("=")[0] for each in of.split("@")[1:]})
    text = set_by.map(lambda of: TEXT in of and of <= ASKED)
    runs = runs[text | (runs.fields == "")].assign(text=text)
    return runs.pivot(index=["method", "text"], columns="seed", values="mean_of_others")


def difference(
    found: dict[str, pd.DataFrame], one: Row, other: Row, seeds: list[int]
) -> pd.DataFrame:
    """By how much one row is ahead: a seed a line, a task a column."""
    apart = {
        task: (table.loc[one, seeds] - table.loc[other, seeds]).to_numpy(float)
        for task, table in found.items()
    }
    return pd.DataFrame(apart, index=seeds)


def interval(values: pd.Series, comparisons: int = 1) -> tuple[float, float]:
    """Of the mean, by Student's t; 95 % for all comparisons of a hypothesis together."""
    mean, half = float(values.mean()), half_interval(values, comparisons)
    return mean - half, mean + half


def verdict(intervals: list[tuple[float, float]]) -> str:
    """Holds, is refuted, or cannot be told, as the study says."""
    if all(low > 0 for low, _ in intervals):
        return "holds"
    return "is refuted" if all(high < 0 for _, high in intervals) else "cannot be told"


def said(values: pd.Series, bounds: tuple[float, float]) -> str:
    """Mean and interval."""
    return f"{values.mean():+.1f} ({bounds[0]:.1f} to {bounds[1]:.1f})"


def named(row: Row) -> str:
    """For a reader."""
    return f"{row[0]} with text" if row[1] else row[0]


if __name__ == "__main__":
    main()
