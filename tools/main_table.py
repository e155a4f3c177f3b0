#!/usr/bin/env python3
"""Print the main table of docs/results/study: every row's scores with intervals, task by task.

    python tools/main_table.py docs/results/study/intents docs/results/study/slots

A folder holds results.csv of one task of configs/study.py. Of every row, at the step that is
nearest to each size that --at names: the mean of the languages without labels, the mean of the
worst fifth of them, the worst one, and English, in percent; the mean over seeds and half of its
95 % interval (Student's t). Which languages are the worst is seen run by run. Then the same of the
dense models that the rows begin with.
"""

import argparse
import collections
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from hypotheses import ANCHORS, NEAR, UNITS, named
from paired_rows import half_interval, results
from paired_rows import scores as of_runs

SCORES = {
    "zero-shot": "mean_of_others", "worst fifth": "worst_fifth", "worst": "worst",
    "English": "english",
}  # fmt: skip


def main() -> None:
    """Two markdown tables for every folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="with results.csv, of one task each")
    parser.add_argument("--at", type=float, nargs="+", default=[0.31, 0.1], help="sizes")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        table = results(folder)
        pruned, whole = scores(table[table.prune_step > 0]), scores(table[table.prune_step == 0])
        seeds = whole.seed.nunique()
        heads = [f"{score}, {100 * at:.0f} %" for at in arguments.at for score in SCORES]
        print(f"\n{folder.name}, {seeds} seeds\n")
        print("| | " + " | ".join(heads) + " |\n|---|" + "---|" * len(heads))
        for row, runs in in_order(pruned):
            line = [cell for at in arguments.at for cell in cells(nearest(runs, at))]
            print(f"| {row}{lacking(runs, seeds)} | " + " | ".join(line) + " |")
        print("\n| dense | " + " | ".join(SCORES) + " |\n|---|" + "---|" * len(SCORES))
        for name, runs in dense(whole):
            print(f"| {name}{lacking(runs, seeds)} | " + " | ".join(cells(runs)) + " |")


def nearest(runs: pd.DataFrame, at: float) -> pd.DataFrame:
    """Of every run its step that is nearest to a size, if it is near."""
    away = (runs["at"] - at).abs()
    near = runs[away.round(6) <= NEAR].assign(away=away).sort_values("away")
    return near.drop_duplicates("seed")


def lacking(runs: pd.DataFrame, seeds: int) -> str:
    """How many seeds a row has, where others have more."""
    found = runs.seed.nunique()
    return "" if found == seeds else f" ({found} of {seeds} seeds)"


def in_order(found: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows as the study lists them, others behind, each with its text after it without."""
    first = ("l2-mbp", *ANCHORS, *UNITS)
    groups = [(str(row), runs) for row, runs in found.groupby("row")]
    return sorted(
        groups,
        key=lambda group: (
            first.index(name) if (name := group[1].method.iloc[0]) in first else len(first),
            group[0],
        ),
    )


def dense(found: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The dense models that rows begin with: most have the same one.

    Two are the same if they are in all seeds that both have. One is named by its methods, and by
    its rows where a method has several.
    """
    models: list[tuple[list[str], list[str], pd.DataFrame]] = []
    for row, runs in in_order(found):
        means, method = runs.set_index("seed").mean_of_others, runs.method.iloc[0]
        for rows, methods, known in models:
            both = pd.concat([means, known.set_index("seed").mean_of_others], axis=1).dropna()
            if len(both) and np.allclose(both.iloc[:, 0], both.iloc[:, 1], rtol=0, atol=1e-6):
                rows.append(row)
                methods.append(method)
                break
        else:
            models.append(([row], [method], runs))
    several = collections.Counter(method for _, methods, _ in models for method in {*methods})
    named_by = [
        dict.fromkeys(
            row if several[method] > 1 else method
            for row, method in zip(rows, methods, strict=True)
        )
        for rows, methods, _ in models
    ]
    return [(", ".join(of), model[2]) for of, model in zip(named_by, models, strict=True)]


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """A run at a size a line, with its scores in percent and its row's name."""
    if table.metric.nunique() > 1:
        raise SystemExit(f"several metrics: {', '.join(table.metric.unique())}")
    row = names(table.method.unique())
    found = of_runs(table, table.metric.iloc[0])
    return found.assign(row=(found.method + found.fields).map(row))


def names(labels: Sequence[str]) -> dict[str, str]:
    """For a reader: whether there was a teacher, and on what; the label where that fits two."""
    found = {}
    for label in labels:
        method, _, fields = label.partition("@")
        text = "distill.text=" in fields
        english = " with a teacher on English" if "distill.teacher=dense" in fields else ""
        found[label] = named((method, True)) if text else method + english
    counts = collections.Counter(found.values())
    return {label: name if counts[name] == 1 else label for label, name in found.items()}


def cells(runs: pd.DataFrame) -> list[str]:
    """Each score's mean over seeds and half of its interval, which one seed does not have."""
    if runs.empty:
        return ["–"] * len(SCORES)
    means = [f"{runs[score].mean():.1f}" for score in SCORES.values()]
    if len(runs) == 1:
        return means
    halves = [half_interval(runs[score]) for score in SCORES.values()]
    return [f"{mean} ± {half:.1f}" for mean, half in zip(means, halves, strict=True)]


if __name__ == "__main__":
    main()
