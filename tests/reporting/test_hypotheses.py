"""tools/hypotheses.py says of the study's hypotheses what its page fixed before the first run."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

TOOL = Path(__file__).parents[2] / "tools" / "hypotheses.py"
TEXT = "@distill.teacher=dense@distill.text=data@pruning.epochs_per_step=2"
SIZES = "@pruning.sizes=(1,0.3138,0.1)"
# Points above 40, of every row; each seed adds its own noise
LEVELS = {
    "l2-mbp": 5.0, "frobenius-mbp": 1.0, "cosine-mbp": 2.0,  # (a) is refuted
    f"l2-mbp{TEXT}": 9.0, f"frobenius-mbp{TEXT}": 12.0, f"cosine-mbp{TEXT}": 9.1,  # (c): only one
    f"structured-taylor{TEXT}": 1.0, f"structured-fisher{TEXT}": 3.0,
    f"elastic{SIZES}{TEXT}": 4.0,
    # Rows that no hypothesis names
    f"elastic{SIZES}": 30.0, "l2-mbp@distill.teacher=dense": 30.0,
}  # fmt: skip


def written(folder, seeds, metric, shift=0.0):
    """results.csv as a sweep has it, and the zero-shot means at 31 % that it tells of."""
    generator, lines, means = np.random.default_rng(int(shift) + len(seeds)), [], {}
    for row, level in LEVELS.items():
        for seed in seeds:
            for step, left in ((0, 1.0), (2, 0.3138), (3, 0.1)):
                found = 0.4 + (level + shift + generator.normal(0, 0.8, 3)) / 100
                if left == 0.3138:
                    left += 0.003 * row.startswith("structured-taylor")  # whole units
                    means[row, seed] = 100 * found[1:].mean()
                lines += [
                    (row, folder.name, seed, step, left, "test", name, metric, value)
                    for name, value in zip(("en", "de", "th"), found, strict=True)
                ]
    names = "method task seed prune_step remaining split language metric value".split()
    folder.mkdir()
    pd.DataFrame(lines, columns=names).to_csv(folder / "results.csv", index=False)
    return means


def printed(*folders):
    return subprocess.run(
        [sys.executable, TOOL, *folders], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("seeds", [range(5), range(4)])
def test_differences_are_averaged_over_tasks_and_tested_over_seeds(tmp_path, seeds):
    names = ("intents", "slots", "topics", "tags")
    known = {
        name: written(tmp_path / name, seeds, "f1" if name in ("slots", "tags") else "accuracy", n)
        for n, name in enumerate(names)
    }
    said = printed(*(tmp_path / name for name in names))
    assert ("not yet the test" in said) == (len(seeds) < 5)

    def apart(one, other):
        return np.array([[known[t][one, s] - known[t][other, s] for t in names] for s in seeds])

    wanted = [
        ("cosine-mbp", "l2-mbp", 2, "cosine-mbp - l2-mbp"),
        (f"frobenius-mbp{TEXT}", f"l2-mbp{TEXT}", 2, "frobenius-mbp with text - l2-mbp with text"),
        (f"l2-mbp{TEXT}", f"elastic{SIZES}{TEXT}", 3, "l2-mbp with text - elastic with text"),
    ]
    for one, other, comparisons, name in wanted:
        found = apart(one, other)
        level = 1 - 0.05 / comparisons
        bounds = stats.ttest_1samp(found.mean(axis=1), 0).confidence_interval(level)
        assert f"  {name}: {found.mean():+.1f} ({bounds.low:.1f} to {bounds.high:.1f})\n" in said
        alone = stats.ttest_1samp(found[:, 1], 0).confidence_interval(0.95)
        line = f"    slots: {found[:, 1].mean():+.1f} ({alone.low:.1f} to {alone.high:.1f})\n"
        assert line in said.split(f"  {name}:")[1]
    verdicts = dict(line[1:].split(") ", 1) for line in said.splitlines() if line.startswith("("))
    assert [line.rsplit(": ")[1] for line in verdicts.values()] == [
        "is refuted", "holds", "cannot be told", "holds"
    ]  # fmt: skip


def test_the_main_table_has_every_score_with_its_interval(tmp_path):
    written(tmp_path / "slots", range(5), "f1")
    tool = TOOL.with_name("main_table.py")
    said = subprocess.run(
        [sys.executable, tool, tmp_path / "slots"], capture_output=True, text=True, check=True
    ).stdout
    table = pd.read_csv(tmp_path / "slots" / "results.csv").query("prune_step == 2")
    runs = table[table.method == f"frobenius-mbp{TEXT}"].pivot(
        index="seed", columns="language", values="value"
    )
    others = runs[["de", "th"]]
    cells = []
    for score in (others.mean(axis=1), others.min(axis=1), others.min(axis=1), runs["en"]):
        low, high = stats.ttest_1samp(100 * score, 0).confidence_interval(0.95)
        cells.append(f"{100 * score.mean():.1f} ± {(high - low) / 2:.1f}")
    assert f"| frobenius-mbp with text | {' | '.join(cells)} | " in said
    rows = [line.split(" | ")[0].removeprefix("| ") for line in said.splitlines()[5:]]
    assert rows[:4] == [
        "l2-mbp", "l2-mbp with a teacher on English", "l2-mbp with text", "frobenius-mbp"
    ]  # fmt: skip
    assert rows[-1].endswith(", dense")
    table = pd.read_csv(tmp_path / "slots" / "results.csv")
    more = table[table.method == "l2-mbp"].assign(method=f"l2-mbp@pruning.scope=output{TEXT}")
    pd.concat([table, more]).to_csv(tmp_path / "slots" / "results.csv", index=False)
    said = subprocess.run(
        [sys.executable, tool, tmp_path / "slots"], capture_output=True, text=True, check=True
    ).stdout
    assert f"| l2-mbp@pruning.scope=output{TEXT} | " in said, "not one row with l2-mbp with text"
    assert f"| l2-mbp{TEXT} | " in said


def test_a_task_that_is_not_done_is_said(tmp_path):
    written(tmp_path / "intents", range(5), "accuracy")
    said = printed(tmp_path / "intents")
    assert said.startswith(
        "1 task, 5 seeds that all rows have: not yet the test, which has 4 and 5\n"
    )


def test_a_run_that_is_missing_is_told_and_its_seed_left_out(tmp_path):
    for number, task in enumerate(("intents", "slots", "topics", "tags")):
        written(tmp_path / task, range(5), "accuracy", number)
    table = pd.read_csv(tmp_path / "tags" / "results.csv")
    gone = (table.method == "frobenius-mbp") & (table.seed == 3)
    table[~gone].to_csv(tmp_path / "tags" / "results.csv", index=False)
    said = printed(*(tmp_path / task for task in ("intents", "slots", "topics", "tags")))
    first, second, *_ = said.splitlines()
    assert first == "missing: tags, frobenius-mbp, seed 3"
    assert second == "4 tasks, 4 seeds that all rows have: not yet the test, which has 4 and 5"


def test_what_is_deployed_is_compared_seed_by_seed_over_tasks(tmp_path):
    names, generator = ("intents", "slots"), np.random.default_rng(3)
    lines = []
    for number, task in enumerate(names):
        written(tmp_path / task, range(5), "accuracy", number)
        for seed in range(5):
            for method, left in (("l2-mbp", 0.3138), ("structured-fisher", 0.56)):
                score = 50 + 3 * (left > 0.5) + generator.normal(0, 0.5)
                lines.append((task, seed, method, left, score))
    table = pd.DataFrame(lines, columns=["task", "seed", "method", "left", "zero_shot"])
    table.to_csv(tmp_path / "deployed.csv", index=False)
    said = printed(*(tmp_path / task for task in names), "--deployed", tmp_path / "deployed.csv")
    scores = table.pivot(index=["task", "seed"], columns="method", values="zero_shot")
    apart = (scores["structured-fisher"] - scores["l2-mbp"]).unstack("task").mean(axis=1)
    bounds = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    assert "\n(d2) at equal milliseconds units win, all with text: holds\n" in said
    line = f"{apart.mean():+.1f} ({bounds.low:.1f} to {bounds.high:.1f})"
    assert f"  structured-fisher 56 % - l2-mbp with text: {line}\n" in said
    table[(table.task == "intents") | (table.seed != 4)].to_csv(tmp_path / "deployed.csv")
    said = printed(*(tmp_path / task for task in names), "--deployed", tmp_path / "deployed.csv")
    assert "missing: deployed, slots, seed 4\n" in said
    apart = apart[:4]
    bounds = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    assert f"with text: {apart.mean():+.1f} ({bounds.low:.1f} to {bounds.high:.1f})\n" in said
