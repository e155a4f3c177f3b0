#!/usr/bin/env python3
"""Print the figures of docs/statistics.md: how seeds spread, and what tests over seeds do.

    python tools/seed_statistics.py

First the spread between seeds in the sweeps under docs/results, with and without a block for each
seed. Then simulated sweeps in which no row differs from the baseline: the share of them in which a
rule finds a difference all the same. Last the smallest difference that the rule in use detects. Ten
seconds on one core; the same figures every time.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the package beside this file, installed or not

from alignreg_jax.reporting.sweeps import dunnett  # noqa: E402

TRIALS = 20_000
PENALTIES = ("l2-mbp", "cosine-mbp", "frobenius-mbp")
SWEEPS = (  # name, results.csv, metric, rows (none: all that are pruned)
    ("intents, all rows", "table1_demo", "accuracy", ()),
    ("intents, l2-mbp and the penalties", "table1_demo", "accuracy", PENALTIES),
    ("slots", "tags_demo/slots", "f1", ()),
    ("parts of speech", "tags_demo/ud_pos", "word_accuracy", ()),
)


def main() -> None:
    """Print all of it."""
    print("Spread between seeds in points: pooled, and with a block for each seed")
    for name, folder, metric, rows in SWEEPS:
        for at, scores in readings(ROOT / "docs/results" / folder / "results.csv", metric, rows):
            pooled, blocked = spread(scores), spread(scores, blocks=True)
            print(f"  {name:36} at {100 * at:3.0f} %: {pooled:.2f}  {blocked:.2f}")
    print("\nSweeps without a difference in which one is found, in %")
    print(f"  {'':52} pooled  in use  blocks")
    for seeds, groups in ((3, 4), (3, 14), (5, 4), (5, 14)):
        for name, scores in simulated(seeds, groups):
            shares = "".join(f"{100 * share:8.1f}" for share in false_findings(scores))
            print(f"  {seeds} seeds, {groups:2} rows, {name:32}{shares}")
    print("\nSmallest difference detected at 80 % power, in spreads between seeds")
    for seeds in (2, 3, 5, 10, 20):
        found = ", ".join(f"{dunnett.detectable(1.0, seeds, k):.2f} ({k})" for k in (1, 2, 3, 13))
        print(f"  {seeds:2} seeds (rows compared): {found}")


def readings(path: Path, metric: str, rows: tuple[str, ...]):
    """(remaining, scores in points [seeds, rows]) at every cut that all rows share."""
    table = pd.read_csv(path).query("split == 'test' and language != 'en' and metric == @metric")
    means = table.groupby(["method", "seed", table.remaining.round(2)]).value.mean()
    for at in sorted(set(means.index.get_level_values("remaining")) - {1.0}, reverse=True):
        scores = 100 * means.xs(at, level="remaining").unstack("method")
        scores = scores[[row for row in scores if not rows or row in rows]]
        if not scores.isna().any(axis=None):
            yield at, scores.to_numpy()


def spread(scores: np.ndarray, *, blocks: bool = False) -> float:
    """The pooled standard deviation of rows between seeds, less what the seeds have in common."""
    seeds, rows = scores.shape
    error = scores - scores.mean(axis=0)
    if blocks:
        error = error - error.mean(axis=1, keepdims=True)
    return float(np.sqrt((error**2).sum() / ((seeds - 1) * (rows - blocks))))


def simulated(seeds: int, groups: int):
    """Sweeps [trials, seeds, rows] whose rows have one mean; the first row is the baseline."""
    draw = np.random.default_rng(7)
    own = draw.standard_normal((TRIALS, seeds, groups))
    luck = draw.standard_normal((TRIALS, seeds, 1))
    together = np.sqrt(0.9) * luck + np.sqrt(0.1) * own
    wide, wide_baseline, mixed = own.copy(), own.copy(), together.copy()
    wide[..., -1] *= 3
    wide_baseline[..., 0] *= 3
    mixed[..., -(groups // 4) :] = own[..., -(groups // 4) :]
    both = mixed.copy()
    both[..., -1] *= 3
    yield "independent", own
    yield "seeds shared", together
    yield "seeds shared by three quarters", mixed
    yield "one spreads three times as wide", wide
    yield "both of these", both
    yield "the baseline three times as wide", wide_baseline


def false_findings(scores: np.ndarray) -> list[float]:
    """By the pooled spread alone, by the rule in use, and with a block for each seed."""
    _, seeds, groups = scores.shape
    rows = groups - 1
    means, squares = scores.mean(axis=1), scores.var(axis=1, ddof=1)
    difference = np.abs(means[:, 1:] - means[:, :1])
    common = 2 / seeds * squares.mean(axis=1, keepdims=True)
    own = (squares[:, 1:] + squares[:, :1]) / seeds
    welch = (seeds - 1) * (own * seeds) ** 2 / (squares[:, 1:] ** 2 + squares[:, :1] ** 2)
    bound = dunnett.critical((0.5,) * rows, groups * (seeds - 1))
    pooled = difference > bound * np.sqrt(common)
    used = difference > bound * np.sqrt(np.maximum(common, own))
    used &= difference > stats.t.ppf(0.975, welch) * np.sqrt(own)
    error = scores - means[:, None]
    error = error - error.mean(axis=2, keepdims=True)
    blocked = 2 / seeds * (error**2).sum(axis=(1, 2)) / (rows * (seeds - 1))
    blocks = (
        difference > dunnett.critical((0.5,) * rows, rows * (seeds - 1)) * np.sqrt(blocked)[:, None]
    )
    return [float(found.any(axis=1).mean()) for found in (pooled, used, blocks)]


if __name__ == "__main__":
    main()
