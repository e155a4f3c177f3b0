#!/usr/bin/env python3
"""Print what the README of docs/results/distillation_demo says beside its tables.

    python tools/paired_rows.py docs/results/distillation_demo/intents

Of every row and place the zero-shot mean, English and the worst language, in percent, means over
seeds. Then for each set of fields behind a method's name (l2-mbp@distill.teacher=dense) its pairs:
runs of one method and seed with these fields and without any, by how much their zero-shot means
differ, and English (with the 95 % interval of Student's t, which means something where the pairs
are of one method: --method). Last of every row how far its zero-shot mean is from that of its own
dense model, and by how much more that mean fell than English.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from scipy import stats

SCORES = ("mean_of_others", "english", "worst")


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="with results.csv, of one task")
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--seeds", type=int, nargs="+", help="these alone")
    parser.add_argument("--method", help="its rows alone, such as l2-mbp")
    parser.add_argument("--languages", help="English and these alone, such as de,fr")
    arguments = parser.parse_args()
    table = results(arguments.folder)
    if arguments.seeds:
        table = table[table.seed.isin(arguments.seeds)]
    if arguments.languages:
        table = table[table.language.isin(["en", *arguments.languages.split(",")])]
    runs = scores(table, arguments.metric)
    if arguments.method:
        runs = runs[runs.method == arguments.method]
    print("Means over seeds")
    means = runs.groupby(["at", "method", "fields"], sort=False)[[*SCORES]].mean()
    for at, method, fields, *found in means.reset_index().itertuples(index=False):
        print(f"  {100 * at:3.0f} %  {' '.join(map('{:5.1f}'.format, found))}  {method}{fields}")
    plain = runs[runs.fields == ""].drop(columns="fields")
    pairs = runs[runs.fields != ""].merge(plain, on=["method", "seed", "at"])
    print("\nPairs: difference of the zero-shot mean: mean, deviation, how many above 0")
    for at, fields, apart in differences(pairs, "mean_of_others"):
        above = f"{(apart > 0).sum()} of {len(apart)}"
        print(f"  {100 * at:3.0f} %  {apart.mean():+.1f}  {apart.std():4.1f}  {above}  {fields}")
    print("\nPairs: difference of English: mean, interval")
    for at, fields, apart in differences(pairs, "english"):
        print(f"  {100 * at:3.0f} %  {with_interval(apart)}  {fields}")
    print("\nZero-shot mean less that of the dense model: mean, interval")
    keys = ["method", "fields", "seed"]
    dense = scores(table[table.prune_step == 0], arguments.metric)
    to_dense = runs.merge(dense, on=keys, suffixes=("_x", "_y"))
    to_dense = to_dense[to_dense.at_x < 1].rename(columns={"at_x": "at"})
    to_dense["fields"] = to_dense.method + to_dense.fields
    for at, row, apart in differences(to_dense, "mean_of_others"):
        print(f"  {100 * at:3.0f} %  {with_interval(apart)}  {row}")
    print("\nWhat the zero-shot mean lost more than English since the dense model: mean, interval")
    for side in ("x", "y"):
        to_dense[f"gap_{side}"] = to_dense[f"english_{side}"] - to_dense[f"mean_of_others_{side}"]
    for at, row, apart in differences(to_dense, "gap"):
        print(f"  {100 * at:3.0f} %  {with_interval(apart)}  {row}")


def results(folder: Path) -> pd.DataFrame:
    """results.csv of a folder."""
    file = folder / "results.csv"
    if not file.is_file():
        raise SystemExit(f"{file} is not there")
    return pd.read_csv(file)


def half_interval(values: pd.Series, comparisons: int = 1) -> float:
    """Half of the interval of a mean by Student's t, 95 % for all of some comparisons together."""
    return float(stats.t.ppf(1 - 0.025 / comparisons, len(values) - 1) * values.sem())


def with_interval(values: pd.Series) -> str:
    """Mean and the 95 % interval of Student's t."""
    mean, half = values.mean(), half_interval(values)
    return f"{mean:+.1f}  ({mean - half:.1f} to {mean + half:.1f})"


def differences(pairs: pd.DataFrame, score: str) -> Iterator[tuple[float, str, pd.Series]]:
    """By place and fields, how much higher a score is with them than without any."""
    apart = pairs[f"{score}_x"] - pairs[f"{score}_y"]
    for (at, fields), found in apart.groupby([pairs["at"], pairs.fields], sort=False):
        yield at, fields, found


def scores(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A run at a place a line: method, the fields behind it, seed, and its scores in percent."""
    known = table.query("split == 'test' and metric == @metric")
    names = known.method.str.partition("@")
    known = known.assign(method=names[0], fields=names[1] + names[2], at=known.remaining.round(2))
    keys = ["method", "fields", "seed", "at"]
    # A model of every size is whole twice: before it is trained for all of them, and after
    known = known.sort_values("prune_step").drop_duplicates([*keys, "language"], keep="last")
    by_language = 100 * known.pivot(index=keys, columns="language", values="value")
    others = by_language.drop(columns="en")
    found = {
        "mean_of_others": others.mean(axis=1),
        "english": by_language["en"],
        "worst": others.min(axis=1),
        "worst_fifth": others.apply(mean_of_worst, axis=1),
    }
    return pd.DataFrame(found).reset_index().sort_values("at", ascending=False, kind="stable")


def mean_of_worst(values: pd.Series) -> float:
    """The mean of the worst fifth of them, one at least."""
    return float(values.sort_values()[: math.ceil(len(values) / 5)].mean())


if __name__ == "__main__":
    main()
