"""tools/hypotheses.py says of the study's hypotheses what its page fixed before the first run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tools_in_process
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


LANGUAGES = ("en", "de", "th", "sw", "fr", "hi", "ru")  # two of six are the worst fifth


def written(folder, seeds, metric, shift=0.0):
    """results.csv as a sweep has it, and the zero-shot means at 31 % that it tells of."""
    generator, lines, means = np.random.default_rng(int(shift) + len(seeds)), [], {}
    dense = {seed: generator.uniform(0.4, 0.5, len(LANGUAGES)) for seed in seeds}
    for row, level in LEVELS.items():
        for seed in seeds:
            for step, left in ((0, 1.0), (2, 0.3138), (3, 0.1)):
                noise = generator.normal(0, 0.8, len(LANGUAGES))
                found = 0.4 + (level + shift + noise) / 100
                if not step:  # the anchors train otherwise from the start
                    found = dense[seed] + 0.01 * row.startswith(("frobenius", "cosine"))
                if left == 0.3138:
                    left += 0.003 * row.startswith("structured-taylor")  # whole units
                    means[row, seed] = 100 * found[1:].mean()
                lines += [
                    (row, folder.name, seed, step, left, "test", name, metric, value)
                    for name, value in zip(LANGUAGES, found, strict=True)
                ]
    names = "method task seed prune_step remaining split language metric value".split()
    folder.mkdir()
    pd.DataFrame(lines, columns=names).to_csv(folder / "results.csv", index=False)
    return means


def printed(*folders):
    done = tools_in_process.run(TOOL, *folders)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


def main_table(folder):
    """What it prints, and by its first cell every line's other cells."""
    code, said, errors = tools_in_process.run(TOOL.with_name("main_table.py"), folder)
    assert code == 0, errors
    lines = [line.strip("| ").split(" | ") for line in said.splitlines() if line.startswith("| ")]
    return said, {first: rest for first, *rest in lines}


def scored(table):
    """The four scores of every run of one row at one step, as a column each."""
    runs = 100 * table.pivot(index="seed", columns="language", values="value")
    others = np.sort(runs[[*LANGUAGES[1:]]].to_numpy())
    return [others.mean(axis=1), others[:, :2].mean(axis=1), others[:, 0], runs["en"].to_numpy()]


def celled(scores):
    found = []
    for score in scores:
        low, high = stats.ttest_1samp(score, 0).confidence_interval(0.95)
        found.append(f"{score.mean():.1f} ± {(high - low) / 2:.1f}")
    return found


def test_the_main_table_has_every_score_with_its_interval(tmp_path):
    written(tmp_path / "slots", range(5), "f1")
    _, lines = main_table(tmp_path / "slots")
    table = pd.read_csv(tmp_path / "slots" / "results.csv")
    of = table[table.method == f"frobenius-mbp{TEXT}"]
    at_31, at_10 = (celled(scored(of[of.prune_step == step])) for step in (2, 3))
    assert lines["frobenius-mbp with text"] == at_31 + at_10
    assert [*lines][1:5] == [
        "l2-mbp", "l2-mbp with a teacher on English", "l2-mbp with text", "frobenius-mbp"
    ]  # fmt: skip
    names = [*lines][[*lines].index("dense") + 1 :]
    assert names == [
        "l2-mbp, structured-taylor, structured-fisher, elastic", "frobenius-mbp, cosine-mbp"
    ]  # fmt: skip
    assert lines[names[1]] == celled(scored(of[of.prune_step == 0]))


def test_rows_of_one_name_stay_apart_in_the_main_table(tmp_path):
    written(tmp_path / "slots", range(5), "f1")
    table = pd.read_csv(tmp_path / "slots" / "results.csv")
    more = table[table.method == "l2-mbp"].assign(method=f"l2-mbp@pruning.scope=output{TEXT}")
    pd.concat([table, more]).to_csv(tmp_path / "slots" / "results.csv", index=False)
    _, lines = main_table(tmp_path / "slots")
    assert {f"l2-mbp@pruning.scope=output{TEXT}", f"l2-mbp{TEXT}"} <= {*lines}
    assert "missing" not in printed(tmp_path / "slots"), "and it is none of the hypotheses'"


def test_a_row_of_the_main_table_that_lacks_seeds_says_so(tmp_path):
    written(tmp_path / "slots", range(3), "f1")
    table = pd.read_csv(tmp_path / "slots" / "results.csv")
    gone = (table.method == "cosine-mbp") & (table.seed > 0)
    table[~gone].to_csv(tmp_path / "slots" / "results.csv", index=False)
    said, lines = main_table(tmp_path / "slots")
    assert "slots, 3 seeds\n" in said
    mean = scored(table[(table.method == "cosine-mbp") & (table.prune_step == 2)])[0][0]
    assert lines["cosine-mbp (1 of 3 seeds)"][0] == f"{mean:.1f}", "one seed has no interval"
    assert "frobenius-mbp, cosine-mbp" in lines, "its dense model is that of the others"


@pytest.mark.parametrize("tool", ["main_table.py", "hypotheses.py", "paired_rows.py"])
def test_a_folder_without_results_is_told_in_a_line(tmp_path, tool):
    done = tools_in_process.run(TOOL.with_name(tool), tmp_path)
    assert (done.returncode, done.stderr) == (1, f"{tmp_path}/results.csv is not there\n")


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


@pytest.fixture
def deployed(tmp_path):
    """A table of deployed models over two tasks and five seeds, beside the folders of results."""
    generator, lines = np.random.default_rng(3), []
    for number, task in enumerate(("intents", "slots")):
        written(tmp_path / task, range(5), "accuracy", number)
        for seed in range(5):
            for method, left, time in (("l2-mbp", 0.3138, 6.0), ("structured-fisher", 0.56, 4.5)):
                score = 50 + 3 * (left > 0.5) + generator.normal(0, 0.5)
                lines.append((task, seed, method, left, time + seed / 10, score))
    return pd.DataFrame(lines, columns=["task", "seed", "method", "left", "ms", "zero_shot"])


def at_equal_time(folder, table):
    table.to_csv(folder / "deployed.csv", index=False)
    return printed(folder / "intents", folder / "slots", "--deployed", folder / "deployed.csv")


def test_what_is_deployed_is_compared_seed_by_seed_over_tasks(tmp_path, deployed):
    said = at_equal_time(tmp_path, deployed)
    scores = deployed.pivot(index=["task", "seed"], columns="method", values="zero_shot")
    apart = (scores["structured-fisher"] - scores["l2-mbp"]).unstack("task").mean(axis=1)
    bounds = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    assert "\n(d2) at equal milliseconds units win, all with text: holds\n" in said
    assert f"they take {4.5 / 6:.2f} to {4.9 / 6.4:.2f}\n" in said
    line = f"{apart.mean():+.1f} ({bounds.low:.1f} to {bounds.high:.1f})"
    assert f"  structured-fisher 56 % - l2-mbp with text: {line}\n" in said
    said = at_equal_time(tmp_path, deployed[(deployed.task == "intents") | (deployed.seed != 4)])
    assert "missing: deployed, slots, seed 4\n" in said
    apart = apart[:4]
    bounds = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    assert f"with text: {apart.mean():+.1f} ({bounds.low:.1f} to {bounds.high:.1f})\n" in said


def test_there_is_no_verdict_where_units_are_slower(tmp_path, deployed):
    slow = (deployed.seed == 2) & (deployed.task == "slots") & (deployed.method != "l2-mbp")
    deployed.loc[slow, "ms"] = 1.1 * 6.2
    said = at_equal_time(tmp_path, deployed)
    assert "units win, all with text: not told, units are slower\n" in said
    assert " to 1.10\n" in said


def test_a_table_of_deployed_models_that_cannot_be_read_is_told(tmp_path, deployed):
    def refused(content):
        (tmp_path / "deployed.csv").write_text(content)
        folders = (tmp_path / "intents", tmp_path / "slots")
        done = tools_in_process.run(TOOL, *folders, "--deployed", tmp_path / "deployed.csv")
        assert done.returncode == 1
        return done.stderr

    assert refused("").endswith("tools/equal_time.py has written nothing there\n")
    twice = pd.concat([deployed, deployed[-1:]]).to_csv(index=False)
    assert refused(twice) == "deployed twice: slots, seed 4\n"
