"""tools/hypotheses.py says of the study's hypotheses what its page fixed before the first run."""

import runpy
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


NAMES = ("intents", "slots", "topics", "tags")


def tasks_with(tmp_path, seeds):
    """What is known of tasks that have so many seeds, by name."""
    return {
        name: written(tmp_path / name, range(many), "f1" if number % 2 else "accuracy", number)
        for number, (name, many) in enumerate(zip(NAMES, seeds, strict=False))
    }


@pytest.mark.parametrize("seeds", [(5, 5, 3, 3), (5, 5, 3, 2), (5, 4)])
def test_means_of_tasks_are_averaged_and_each_has_its_own_spread(tmp_path, seeds):
    """Of two tasks SciPy's Welch interval of one's differences less the other's with their sign."""
    known = tasks_with(tmp_path, seeds)
    said = printed(*(tmp_path / name for name in known))
    assert ("not the test" in said) == (seeds != (5, 5, 3, 3))
    assert said.startswith("seeds that all rows have: intents 5, slots ")
    wanted = [
        ("cosine-mbp", "l2-mbp", 2, "cosine-mbp - l2-mbp"),
        (f"frobenius-mbp{TEXT}", f"l2-mbp{TEXT}", 2, "frobenius-mbp with text - l2-mbp with text"),
        (f"l2-mbp{TEXT}", f"elastic{SIZES}{TEXT}", 3, "l2-mbp with text - elastic with text"),
    ]
    for one, other, comparisons, name in wanted:
        found = [
            np.array([means[one, seed] - means[other, seed] for seed in range(many)])
            for many, means in zip(seeds, known.values(), strict=True)
        ]
        level, mean = 1 - 0.05 / comparisons, np.mean([values.mean() for values in found])
        lines = said.split(f"  {name}: ")[1].split("\n")
        lines = [line for line in lines if "in the test about" not in line]
        assert lines[0].startswith(f"{mean:+.1f} (")
        if len(seeds) == 2:
            welch = stats.ttest_ind(found[0], -found[1], equal_var=False)
            low, high = np.array(welch.confidence_interval(level)) / 2
            assert lines[0] == f"{mean:+.1f} ({low:.1f} to {high:.1f})"
        shared = min(seeds)
        by_seed = np.mean([values[:shared] for values in found], axis=0)
        bounds = stats.ttest_1samp(by_seed, 0).confidence_interval(level)
        first = f"{by_seed.mean():+.1f} ({bounds.low:.1f} to {bounds.high:.1f})"
        assert lines[1] == f"    by the first rule, {shared} seeds: {first}"
        alone = stats.ttest_1samp(found[1], 0).confidence_interval(0.95)
        spoken = f"{found[1].mean():+.1f} ({alone.low:.1f} to {alone.high:.1f})"
        assert lines[3] == f"    slots: {spoken}"
    if len(seeds) > 2:
        verdicts = [line.rsplit(": ")[1] for line in said.splitlines() if line.startswith("(")]
        assert verdicts == ["is refuted", "holds", "cannot be told", "holds"]


def test_four_tasks_alike_are_as_one_with_the_degrees_of_freedom_of_all(tmp_path):
    """Half of one task's standard error, and four times its degrees of freedom."""
    for name in NAMES:
        means = written(tmp_path / name, range(5), "accuracy")
    said = printed(*(tmp_path / name for name in NAMES))
    apart = np.array([means["cosine-mbp", seed] - means["l2-mbp", seed] for seed in range(5)])
    mean, half = apart.mean(), stats.t.ppf(0.9875, 16) * stats.sem(apart) / 2
    assert f"  cosine-mbp - l2-mbp: {mean:+.1f} ({mean - half:.1f} to {mean + half:.1f})\n" in said


def test_what_the_test_will_tell_is_said_before_it_is_whole(tmp_path, monkeypatch):
    """By what is known it is the interval of those tasks, where these are all."""
    known = tasks_with(tmp_path, (5, 5))
    monkeypatch.syspath_prepend(TOOL.parent)
    tool = runpy.run_path(str(TOOL))
    apart = {
        task: pd.Series([means["cosine-mbp", n] - means["l2-mbp", n] for n in range(5)])
        for task, means in known.items()
    }
    monkeypatch.setitem(tool["expected"].__globals__, "SEEDS", {"intents": 5, "slots": 5})
    _, low, high = tool["over_tasks"](apart, 2)
    assert tool["expected"](apart, 2) == pytest.approx((high - low) / 2)
    monkeypatch.setitem(tool["expected"].__globals__, "SEEDS", dict.fromkeys("abcd", 5))
    alike = np.mean([values.var() for values in apart.values()])
    half = stats.t.ppf(0.9875, 16) * np.sqrt(alike / 5) / 2
    assert tool["expected"](apart, 2) == pytest.approx(half)
    assert "    in the test about ± " in printed(tmp_path / "intents", tmp_path / "slots")


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
        "seeds that all rows have: intents 5; not the test, which has intents 5, slots 5,"
        " topics 3, tags 3\n"
    )
    assert "by the first rule" not in said, "of one task it is the same"


def test_a_run_that_is_missing_is_told_and_its_seed_left_out(tmp_path):
    for number, task in enumerate(("intents", "slots", "topics", "tags")):
        written(tmp_path / task, range(5), "accuracy", number)
    table = pd.read_csv(tmp_path / "tags" / "results.csv")
    gone = (table.method == "frobenius-mbp") & (table.seed == 3)
    table[~gone].to_csv(tmp_path / "tags" / "results.csv", index=False)
    said = printed(*(tmp_path / task for task in ("intents", "slots", "topics", "tags")))
    first, second, *_ = said.splitlines()
    assert first == "missing: tags, frobenius-mbp, seed 3"
    assert second.startswith("seeds that all rows have: intents 5, slots 5, topics 5, tags 4; not")
    assert "by the first rule, 4 seeds" in said


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


def test_what_is_deployed_is_compared_task_by_task(tmp_path, deployed):
    def line(table):
        scores = table.pivot(index=["task", "seed"], columns="method", values="zero_shot")
        apart = scores["structured-fisher"] - scores["l2-mbp"]
        intents, slots = (apart[task].to_numpy() for task in ("intents", "slots"))
        mean = (intents.mean() + slots.mean()) / 2
        welch = stats.ttest_ind(intents, -slots, equal_var=False)
        low, high = np.array(welch.confidence_interval(0.95)) / 2
        return f"{mean:+.1f} ({low:.1f} to {high:.1f})"

    said = at_equal_time(tmp_path, deployed)
    assert "\n(d2) at equal milliseconds units win, all with text: holds\n" in said
    assert f"they take {4.5 / 6:.2f} to {4.9 / 6.4:.2f}\n" in said
    assert f"  structured-fisher 56 % - l2-mbp with text: {line(deployed)}\n" in said
    fewer = deployed[(deployed.task == "intents") | (deployed.seed != 4)]
    said = at_equal_time(tmp_path, fewer)
    assert "missing: deployed, slots, seed 4\n" in said
    assert f"with text: {line(fewer)}\n" in said


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
