#!/usr/bin/env python3
"""Print the main table of docs/results/study: every row's scores with intervals, task by task.

    python tools/main_table.py docs/results/study/intents docs/results/study/slots

A folder holds results.csv of one task of configs/study.py. Of every row, at the size nearest to
each that --at names: the mean of the languages without labels, the mean of the worst fifth of them,
the worst one, and English, in percent; the mean over seeds and half of its 95 % interval (Student's
t). Which languages are the worst is seen run by run.
"""

import argparse
import collections
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from hypotheses import ANCHORS, NEAR, UNITS, named
from scipy import stats

SCORES = ("zero-shot", "worst fifth", "worst", "English")


def main() -> None:
    """A markdown table for every folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="with results.csv, of one task each")
    parser.add_argument("--at", type=float, nargs="+", default=[0.31, 0.1], help="sizes")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        found = scores(pd.read_csv(folder / "results.csv"))
        heads = [f"{score}, {100 * at:.0f} %" for at in arguments.at for score in SCORES]
        print(f"\n{folder.name}, {found.seed.nunique()} seeds\n")
        print("| | " + " | ".join(heads) + " |\n|---|" + "---|" * len(heads))
        for row, runs in in_order(found):
            line = []
            for at in arguments.at:
                near = runs[np.isclose(runs.left, at, rtol=0, atol=NEAR) & (runs.step > 0)]
                line += cells(near) if len(near) else ["–"] * len(SCORES)
            print(f"| {row} | " + " | ".join(line) + " |")
        for name, runs in dense(found):
            empty = ["–"] * len(SCORES) * (len(arguments.at) - 1)
            print(f"| {name}, dense | " + " | ".join([*cells(runs), *empty]) + " |")


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
    """The dense models that methods begin with: most have the same one."""
    models: dict[tuple[float, ...], tuple[list[str], pd.DataFrame]] = {}
    for _, runs in in_order(found[found.step == 0]):
        method = runs.method.iloc[0]
        runs = runs.sort_values("seed")
        names, _ = models.setdefault(tuple(runs["zero-shot"].round(6)), ([], runs))
        names += [] if method in names else [method]
    return [(", ".join(names), runs) for names, runs in models.values()]


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """A run at a step a line, with its scores in percent; rows in the table's order."""
    if table.metric.nunique() > 1:
        raise SystemExit(f"several metrics: {', '.join(table.metric.unique())}")
    lines, row = [], names(table.method.unique())
    keys = ["method", "seed", "prune_step", "remaining"]
    tested = table[table.split == "test"]
    for (label, seed, step, left), of in tested.groupby(keys, sort=False):
        known = 100 * of.set_index("language").value
        others = known.drop("en").sort_values()
        worst = others[: math.ceil(len(others) / 5)]
        lines.append(
            (label.partition("@")[0], row[label], seed, step, left,
             others.mean(), worst.mean(), others.iloc[0], known["en"])
        )  # fmt: skip
    return pd.DataFrame(lines, columns=["method", "row", "seed", "step", "left", *SCORES])


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
    """Each score's mean over seeds and half of its interval."""
    found = []
    for score in SCORES:
        values = runs[score]
        half = stats.t.ppf(0.975, len(values) - 1) * values.sem() if len(values) > 1 else np.nan
        found.append(f"{values.mean():.1f} ± {half:.1f}")
    return found


if __name__ == "__main__":
    main()
