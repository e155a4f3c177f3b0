import csv
import dataclasses
import functools
import io
import json
import math
import re

import numpy as np
import pytest
import sweep_cases

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation.summary import summarize
from alignreg_jax.pruning.methods import PRESETS
from alignreg_jax.reporting import page, tables
from alignreg_jax.reporting.results import COLUMNS
from alignreg_jax.reporting.sweeps import paper, records, words
from alignreg_jax.reporting.sweeps.cells import (
    ALL_LANGUAGES,
    ENGLISH,
    PLACE,
    ZERO_SHOT,
    means,
    read_cells,
)
from alignreg_jax.reporting.sweeps.comparisons import compare, powers
from alignreg_jax.reporting.sweeps.paper import AVERAGE
from alignreg_jax.reporting.sweeps.runs import read_sweep
from alignreg_jax.reporting.sweeps.table import grids
from alignreg_jax.reporting.tables import Entry, Table

XGLUE = ("xnli", "pawsx")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """One task: (sweep, cells, comparisons, grids)."""
    return everything(sweep_cases.write_runs(tmp_path_factory.mktemp("one")))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two of the paper's tasks."""
    few = {"answers": functools.partial(sweep_cases.gold, examples=40)}
    runs = sweep_cases.write_runs(tmp_path_factory.mktemp("two"), tasks=XGLUE, **few)
    return everything(runs, tasks=XGLUE)


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """All of XGLUE's tasks, in an order of their own, and one more."""
    tasks = ("intents", *reversed(paper.TASKS))
    options = {"rows": ("none", "l2-mbp", "random"), "seeds": (0, 1), "tasks": tasks}
    folder = tmp_path_factory.mktemp("eight")
    runs = sweep_cases.write_runs(folder, **options, save=False, remaining=(1.0, 0.3138, 0.1))
    return everything(runs, **options)


def everything(runs, **changes):
    sweep = read_sweep(sweep_cases.facts(**changes), runs)
    cells = read_cells(sweep)
    found = compare(sweep, cells)
    return sweep, cells, found, grids(sweep, cells, found)


def told_of(sweep, cells, found):
    """What was tested, as text."""
    return " ".join(words.tests(sweep, found, powers(sweep, cells)))


def column(grid, index):
    """A column of numbers, by row; columns without the names are counted from 0."""
    return {row: entries[index] for row, *entries in grid.rows}


def names_of(grid):
    return grid.header[1:]


def seeds_of(cells, *place):
    """The numbers of a place by seed."""
    found = cells.set_index([*PLACE]).sort_index().loc[[place]]
    return dict(zip(found.seed, found.value, strict=True))


def html_grid(grid):
    return page.page("", "", [page.table(grid)], [])


def results(sweep, row, task):
    """results.json of the runs of a row, by seed."""
    return [
        json.loads((run.workdir / "results.json").read_text())
        for (of, on, _), run in sweep.sources.items()
        if (of, on) == (row, task)
    ]


# ---- The paper's numbers ----------------------------------------------------------------------


@pytest.mark.parametrize("row", paper.PRINTED)
def test_the_papers_row_averages_recompute(row):
    *values, printed = paper.PRINTED[row]
    assert len(values) == len(paper.TASKS) == 8
    assert f"{sum(values) / 8 + 1e-9:.2f}" == f"{printed:.2f}"
    assert 100 * paper.average(row, list(paper.TASKS)) == pytest.approx(sum(values) / 8)


def test_the_papers_rows_are_presets_and_its_columns_come_by_name():
    assert set(paper.ROWS) == set(paper.PRINTED) <= set(PRESETS)
    assert 100 * paper.value("lamp", "qadsm") == pytest.approx(52.42)
    assert 100 * paper.value("frobenius-mbp", "xnli") == pytest.approx(65.71)
    assert 100 * paper.value("none", "wpr") == pytest.approx(73.32)
    assert paper.value("lamp", "pos@train.learning_rate=2e-5") == paper.value("lamp", "pos")
    assert paper.value("lamp@regularizer.weight=1", "pos") is None
    assert paper.value("lamp", "intents") is None
    assert paper.average("lamp", ["xnli", "nc"]) == pytest.approx((0.5804 + 0.6364) / 2)
    assert paper.average("lamp", ["xnli", "intents"]) is None


def test_the_papers_numbers_stand_at_31_percent_only():
    assert paper.reading((0.5, 0.3138, 0.1)) == 0.3138
    assert paper.reading((0.5, 0.1)) is None
    assert paper.reading(()) is None


# ---- Cells ------------------------------------------------------------------------------------


def test_cells_hold_the_scores_of_the_step_that_is_read(one):
    sweep, cells, _, _ = one
    for remaining, step in ((0.3138, 2), (0.1, 4)):
        steps = [found["prune_steps"][step] for found in results(sweep, "l2-mbp", "intents")]
        cell = seeds_of(cells, "l2-mbp", "intents", remaining, ZERO_SHOT)
        assert list(cell.values()) == pytest.approx([s["zero_shot_avg"] for s in steps])
        assert list(cell) == [0, 1, 2]
        place = ("l2-mbp", "intents", remaining, ENGLISH)
        assert means(cells).loc[place].measured == pytest.approx(remaining)
        assert list(seeds_of(cells, *place).values()) == [step["en"] for step in steps]


def test_what_is_not_pruned_has_its_dense_score_everywhere(one):
    sweep, cells, _, _ = one
    dense = [found["prune_steps"][0]["en"] for found in results(sweep, "none", "intents")]
    for remaining in sweep_cases.READINGS:
        place = ("none", "intents", remaining, ENGLISH)
        assert list(seeds_of(cells, *place).values()) == dense
        assert means(cells).loc[place].measured == 1.0
    assert sweep.dense_rows == {"none"}


def test_xglues_score_is_the_mean_over_all_languages_english_among_them(two):
    sweep, cells, _, _ = two
    for task, count in zip(XGLUE, (15, 4), strict=True):
        steps = [found["prune_steps"][4] for found in results(sweep, "l2-mbp", task)]
        found = seeds_of(cells, "l2-mbp", task, 0.1, ALL_LANGUAGES)
        for seed, step in enumerate(steps):
            assert len(step["languages"]) == count
            assert found[seed] == pytest.approx(sum(step["languages"].values()) / count)
            assert found[seed] == pytest.approx(step["avg"]) != step["zero_shot_avg"]


def test_other_tasks_have_no_score_of_xglue(one):
    sweep, cells, found, _ = one
    assert {*cells.statistic} == {ZERO_SHOT, ENGLISH}
    assert "XGLUE" not in " ".join(words.below_table(sweep, cells, found))


def test_the_average_is_by_seed_over_the_scores_of_xglues_eight_tasks(eight):
    _, cells, comparisons, grids = eight
    tasks = [seeds_of(cells, "l2-mbp", task, 0.1, ALL_LANGUAGES) for task in paper.TASKS]
    mean = seeds_of(cells, "l2-mbp", AVERAGE, 0.1, ALL_LANGUAGES)
    for seed in (0, 1):
        assert mean[seed] == pytest.approx(np.mean([values[seed] for values in tasks]))
    averages = {*cells.statistic[cells.task == AVERAGE]}
    assert averages == {ALL_LANGUAGES}  # a mean of zero-shot means is not what the paper prints
    names = names_of(grids[0])
    assert names == [name for task in reversed(paper.TASKS) for name in (task, "paper")] + [
        *("avg", "paper")  # and no column for intents, which is not XGLUE's
    ]
    assert column(grids[0], -1)["none"].text == "76.96"
    assert names_of(grids[1]) == ["intents", *reversed(paper.TASKS)]
    text = " ".join(words.below_table(eight[0], cells, comparisons))
    assert "avg: mean of XGLUE’s score over its eight tasks." in text


def test_a_score_of_xglue_needs_every_language_and_the_average_every_score(tmp_path):
    options = {"seeds": (0,), "remaining": (1.0, 0.3138), "save": False}
    without = [name for name in paper.languages("pos") if name != "pt"]  # as in a copy on the Hub
    rows, tasks, runs = ("l2-mbp", "random"), tuple(paper.TASKS), []
    for row in rows:
        for task in tasks:
            fewer = {1: without} if (row, task) == ("random", "pos") else None
            one = {"rows": (row,), "tasks": (task,), "evaluated": fewer}
            runs += sweep_cases.write_runs(tmp_path, **one, **options)
    changes = {"rows": rows, "tasks": tasks, "seeds": (0,), "remaining": (0.3138,)}
    sweep, cells, found, (grid, *_) = everything(runs, **changes)
    places = means(cells).index
    assert ("random", "pos", 0.3138, ALL_LANGUAGES) not in places
    assert ("random", "pos", 0.3138, ZERO_SHOT) in places
    averages = column(grid, names_of(grid).index("avg"))
    assert averages["random"].text == "–" != averages["l2-mbp"].text
    told = [text for text in words.below_table(sweep, cells, found) if text.startswith("XGLUE’s")]
    assert told == [
        "XGLUE’s score on pos is over 18 languages, and missing where one was not evaluated (pt)."
    ]


def test_fewer_tasks_have_no_average(one, two):
    for _, cells, _, found in (one, two):
        assert not (cells.task == AVERAGE).any()
        assert not any("avg" in grid.header for grid in found)


def test_an_average_needs_every_task_once():
    tasks = tuple(paper.TASKS)
    assert paper.all_tasks(tasks[::-1]) == tasks
    own = ("pos@train.learning_rate=2e-5", *(task for task in tasks if task != "pos"))
    assert paper.all_tasks(own)[tasks.index("pos")] == own[0]
    assert paper.all_tasks(tasks[1:]) == ()
    assert paper.all_tasks((*tasks, own[0])) == ()  # which of the two?


def test_a_row_that_lacks_a_task_has_no_average(tmp_path):
    options = {"rows": ("l2-mbp",), "seeds": (0,), "tasks": tuple(paper.TASKS), "save": False}
    runs = sweep_cases.write_runs(tmp_path, remaining=(1.0, 0.3138), **options)
    del options["save"]
    _, cells, _, (grid, *_) = everything(runs[:-1], remaining=(0.3138,), **options)
    assert not (cells.task == AVERAGE).any()
    assert column(grid, -2)["l2-mbp"].text == "–"


def test_metrics_are_told_with_their_tasks(tmp_path):
    runs = sweep_cases.write_runs(tmp_path, rows=("l2-mbp",), seeds=(0,))
    tags = {"tasks": ("ner",), "answers": sweep_cases.gold_tags, "metric": "f1"}
    runs += sweep_cases.write_runs(tmp_path, rows=("l2-mbp",), seeds=(0,), **tags)
    changes = {"rows": ("l2-mbp",), "seeds": (0,), "tasks": ("intents", "ner")}
    sweep, cells, found, _ = everything(runs, **changes)
    (text, *_) = words.below_table(sweep, cells, found)
    assert text.startswith("Accuracy (intents), F1 (ner) in percent.")


def test_a_run_without_a_step_near_the_reading_has_no_cell(tmp_path):
    runs = sweep_cases.write_runs(tmp_path, rows=("none", "l2-mbp"))
    runs += sweep_cases.write_runs(tmp_path, rows=("random",), remaining=(1.0, 0.56, 0.324, 0.125))
    _, cells, found, (grid,) = everything(runs, rows=("none", "l2-mbp", "random"))
    assert "random" not in {*cells.row}  # 0.324 is more than 0.01 away
    assert [row for row in grid.rows if row[0] == "random"] == [["random", *[Entry("–")] * 4]]
    assert len(found) == 0


def test_only_means_over_the_same_languages_are_compared(tmp_path):
    few = {2: ("en", "de"), 4: ("en", "de", "th", "ru")}
    runs = sweep_cases.write_runs(tmp_path, rows=("none", "random"))
    runs += sweep_cases.write_runs(tmp_path, rows=("l2-mbp",), evaluated=few)
    sweep, cells, found, _ = everything(runs)
    assert sweep.languages == {"intents": ("de",)}
    assert sweep.left_out == {"intents": ("ru", "th")}
    for remaining, step in ((0.3138, 2), (0.1, 4)):
        german = [
            found["prune_steps"][step]["languages"]["de"]
            for found in results(sweep, "random", "intents")
        ]
        cell = seeds_of(cells, "random", "intents", remaining, ZERO_SHOT)
        assert list(cell.values()) == pytest.approx(german)
    text = " ".join(words.below_table(sweep, cells, found))
    assert "over the 1 zero-shot language that every run evaluated" in text
    assert "2 others were not evaluated everywhere" in text
    assert "1 zero-shot language that" in text


def test_missing_seeds_are_told(tmp_path):
    runs = sweep_cases.write_runs(tmp_path)
    runs = [run for run in runs if (run.row, run.seed) != ("random", 1)]
    failed = (("intents-random-s1", "loss is not finite"),)
    sweep, cells, found, _ = everything(runs, failed=failed, missing=4)
    assert len(seeds_of(cells, "random", "intents", 0.1, ZERO_SHOT)) == 2
    text = " ".join(words.below_table(sweep, cells, found))
    assert "Fewer seeds than the 3 asked for: random (2)." in text
    lines = words.not_in_table(sweep)
    assert lines[0] == "Failed: intents-random-s1: loss is not finite"
    assert "4 runs are missing" in lines[1]


def test_a_whole_sweep_has_nothing_to_tell_about_missing_runs(one):
    sweep, cells, found, _ = one
    assert words.not_in_table(sweep) == []
    assert "Fewer" not in " ".join(words.below_table(sweep, cells, found))


def test_one_seed_has_no_interval_and_says_so(tmp_path):
    runs = sweep_cases.write_runs(tmp_path, seeds=(0,))
    sweep, cells, found, (grid,) = everything(runs, seeds=(0,))
    assert all("±" not in entry.text for _, *entries in grid.rows for entry in entries)
    assert "One seed, so no interval" in " ".join(words.below_table(sweep, cells, found))
    assert "Over seeds: no test. It needs two seeds a row or more" in told_of(sweep, cells, found)
    assert words.finding(sweep, found, powers(sweep, cells)) == (
        "Nothing is tested: without a spread between seeds there is no test."
    )
    assert not found.differs.any()


def test_runs_that_do_not_fit_together_are_named(tmp_path):
    runs = sweep_cases.write_runs(tmp_path, rows=("l2-mbp",), seeds=(0, 1))
    with pytest.raises(UserError, match="is the same run: l2-mbp on intents, seed 0"):
        read_sweep(sweep_cases.facts(), [*runs, runs[0]])
    path = runs[1].workdir / "results.json"
    good = path.read_text()
    path.write_text(json.dumps(json.loads(good) | {"split": "dev"}))
    with pytest.raises(UserError, match="accuracy on dev, but other runs on intents have"):
        read_sweep(sweep_cases.facts(), runs)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", "{", "not valid JSON"),
        ("results.json", '{"prune_steps": []}', "no evaluation yet"),
        ("results.json", "[1]", "not the JSON of the workdir"),
        ("results.json", None, "no such file"),
        ("results.csv", "a,b\n1,2\n", "its columns are not prune_step,remaining"),
        ("results.csv", None, "no such file"),
    ],
)
def test_a_run_with_a_damaged_file_counts_as_failed(tmp_path, name, content, message):
    runs = sweep_cases.write_runs(tmp_path, rows=("l2-mbp",), seeds=(0, 1))
    path = runs[1].workdir / name
    path.unlink() if content is None else path.write_text(content)
    sweep = read_sweep(sweep_cases.facts(failed=(("another", "why"),)), runs)
    assert [seed for _, _, seed in sweep.sources] == [0]
    another, (run, line) = sweep.facts.failed
    assert another == ("another", "why")
    assert run == "l2-mbp on intents, seed 1"
    assert str(path) in line
    assert message in line


# ---- Grids ------------------------------------------------------------------------------------


def test_one_task_shows_zero_shot_and_english_under_each_reading(one):
    _, cells, _, (grid,) = one
    assert grid.header == ["", *["zero-shot", "en"] * 2]
    assert grid.groups == ["", *["31 % remaining"] * 2, *["10 % remaining"] * 2]
    assert [row for row, *_ in grid.rows] == list(sweep_cases.SKILL)
    interval = means(cells).loc["random", "intents", 0.1, ENGLISH]
    entry = column(grid, 3)["random"]
    assert entry.text == f"{100 * interval['mean']:.1f} ± {100 * interval.half:.1f}"


def test_more_tasks_have_a_grid_for_each_reading_and_score_with_the_paper_at_31(two):
    sweep, cells, _, found = two
    assert [grid.title for grid in found] == [
        f"{at} % remaining: {name} (%)"
        for at in (31, 10)
        for name in ("mean of all languages", "zero-shot mean", "English")
    ]
    names = [names_of(grid) for grid in found]
    assert names[0] == ["xnli", "paper", "pawsx", "paper"]
    assert all(name == ["xnli", "pawsx"] for name in names[1:])
    printed = {row: entry.text for row, entry in column(found[0], 1).items()}
    assert printed == {
        **{"none": "73.48", "random": "51.22", "l2-mbp": "64.30"},
        **{"cosine-mbp": "66.20", "frobenius-mbp": "65.71"},
    }
    text = " ".join(words.below_table(sweep, cells, two[2]))
    assert "the number printed in Table 1 of the paper" in text
    assert "the paper does not say whether its means include English" in text
    assert "In its words none is its No Pruning." in text


def test_one_task_of_xglue_shows_its_score_first_with_the_paper_beside_it(tmp_path):
    rows = ("none", "l2-mbp")
    changes = {"rows": rows, "tasks": ("pawsx",), "seeds": (0, 1)}
    runs = sweep_cases.write_runs(tmp_path, **changes, save=False)
    sweep, cells, found, (grid,) = everything(runs, **changes)
    names = names_of(grid)
    ours = ["all languages", "zero-shot", "en"]
    assert names == ["all languages", "paper", "zero-shot", "en", *ours]
    assert column(grid, 1)["l2-mbp"].text == "77.99"
    expected = means(cells).loc["l2-mbp", "pawsx", 0.3138, ALL_LANGUAGES]
    assert column(grid, 0)["l2-mbp"].text.startswith(f"{100 * expected['mean']:.1f}")
    assert not any(entry.mark for entry in column(grid, 0).values())
    shown = column(grid, 0)["l2-mbp"].text
    assert "31 % remaining all languages | 31 % remaining paper |" in tables.markdown_table(grid)
    assert f"| l2-mbp | **{shown}** | 77.99 |" in tables.markdown_table(grid)
    text = html_grid(grid)
    assert '<th scope="col">all languages</th>' in text
    assert f"<strong>{shown}" in text
    latex = tables.latex_table(grid, "one")
    assert "all languages & paper & zero-shot & en" in latex
    assert shown.replace(" ± ", r"\,$\pm$\,") in latex
    check_latex(latex)
    text = " ".join(words.below_table(sweep, cells, found))
    assert "All languages: mean over those of a task, English among them" in text


def test_rows_with_fewer_non_zero_weights_than_they_may_keep_are_told(tmp_path):
    rows = ("none", "l2-mbp", "random", "cosine-mbp")
    shares = {"none": 0.855, "l2-mbp": 1.0, "random": 0.3, "cosine-mbp": 0.96}
    runs = [
        run
        for row, share in shares.items()
        for run in sweep_cases.write_runs(
            tmp_path, rows=(row,), seeds=(0, 1), save=False, open_gates=share
        )
    ]
    path = runs[5].workdir / "results.csv"  # random, seed 1, at 31 %
    known = f",{0.3138 * 0.3},"
    assert known in path.read_text()
    path.write_text(path.read_text().replace(known, ",0.0712,"))
    changes = {"rows": rows, "seeds": (0, 1), "remaining": (1.0, 0.3138, 0.1)}
    sweep, cells, found, _ = everything(runs, **changes)
    assert words.below_table(sweep, cells, found)[-1] == (
        "Fewer non-zero weights than it may keep, by more than a twentieth: random"
        " (7.1 % at 31 % remaining, 3.0 % at 10 % remaining); of several seeds the one with the"
        " fewest."
    )


def test_best_is_the_best_row_that_is_pruned_in_every_column(two):
    _, cells, _, found = two
    statistics = [
        name for _ in sweep_cases.READINGS for name in (ALL_LANGUAGES, ZERO_SHOT, ENGLISH)
    ]
    readings = [at for at in sweep_cases.READINGS for _ in range(3)]
    for grid, statistic, at in zip(found, statistics, readings, strict=True):
        for index, heading in enumerate(names_of(grid)):
            best = [row for row, entry in column(grid, index).items() if entry.best]
            if heading == "paper":
                assert best == []
                continue
            known = means(cells)["mean"].xs((heading, at, statistic), level=[1, 2, 3])
            rivals = known.drop("none").to_dict()
            assert best == [row for row in rivals if rivals[row] == max(rivals.values())]


def test_marks_are_those_of_the_comparisons_on_the_zero_shot_mean(one):
    _, _, found, (grid,) = one
    for index, (group, heading) in enumerate(zip(grid.groups[1:], names_of(grid), strict=True)):
        remaining = 0.3138 if group.startswith("31") else 0.1
        marks = {c.row: c.mark for c in found.itertuples() if c.remaining == remaining}
        for row, entry in column(grid, index).items():
            assert entry.mark == (marks.get(row, "") if heading == "zero-shot" else "")
    assert any(entry.mark for _, *entries in grid.rows for entry in entries)


def test_what_differs_is_told_by_task_and_what_could_be_detected(two):
    runs = [*two[0].sources.values()]
    sweep, cells, found, _ = everything(runs, tasks=XGLUE, at=0.1)
    detects = powers(sweep, cells)
    text = words.finding(sweep, found, detects)
    for task in XGLUE:
        differ = found[(found.task == task) & found.differs]
        assert f"At 10 % remaining on {task}, {len(differ)} of 3 rows differ significantly" in text
    assert "lower: random" in text
    for power in detects.itertuples():
        assert f"{power.task} {100 * power.detectable:.1f} points" in text
        assert (power.rows, power.seeds) == (3, 3)
    assert "paper’s differences" not in text  # they are of the average over eight tasks


def test_the_average_is_a_family_with_the_papers_differences(eight):
    sweep, cells, found, _ = eight
    sweep = dataclasses.replace(
        sweep, facts=dataclasses.replace(sweep.facts, rows=("none", "l2-mbp", "cosine-mbp"))
    )
    assert {*found.task} == {*sweep.facts.tasks, AVERAGE}
    (mine,) = found[(found.task == AVERAGE) & found.tested].itertuples()
    means = {
        row: np.mean(list(seeds_of(cells, row, AVERAGE, 0.3138, ALL_LANGUAGES).values()))
        for row in ("random", "l2-mbp")
    }
    assert mine.difference == pytest.approx(means["random"] - means["l2-mbp"])
    known = powers(eight[0], cells)
    text = " ".join(words.detectable_notes(sweep, known[known.task == AVERAGE]))
    assert "The paper’s differences of 0.65 and 1.09 points would take" in text
    assert "avg" not in text


def test_a_baseline_that_spreads_wider_than_all_rows_is_told(one):
    sweep, cells, found, _ = one
    at = (cells.row == "l2-mbp") & (cells.remaining == 0.3138) & (cells.statistic == ZERO_SHOT)
    wide = cells.assign(value=cells.value.mask(at, 0.1 + 0.4 * cells.seed))
    assert "F-test" not in told_of(sweep, cells, found)
    assert "The seeds of l2-mbp spread wider than those of the other" in told_of(sweep, wide, found)


def test_what_is_damaged_takes_itself_away_and_not_the_table(one):
    sweep, cells, found, _ = one
    hurt = found.assign(trouble=["x.txt: gone", *[""] * (len(found) - 1)])
    assert "No test over examples for random: x.txt: gone." in told_of(sweep, cells, hurt)


def test_comparisons_without_predictions_are_counted(tmp_path):
    rows = ("l2-mbp", "cosine-mbp", "random")
    runs = sweep_cases.write_runs(tmp_path, rows=rows[:2])
    runs += sweep_cases.write_runs(tmp_path, rows=rows[2:], save=False)
    sweep, cells, found, _ = everything(runs, rows=rows)
    assert found.p_examples[found.tested].isna().tolist() == [False, True]
    assert "1 comparison had no predictions of both systems" in told_of(sweep, cells, found)


def test_a_sweep_without_finished_runs_is_a_table_of_dashes():
    sweep, cells, found, (grid,) = everything([], missing=15)
    assert len(cells) == 0
    assert {entry.text for _, *entries in grid.rows for entry in entries} == {"–"}
    assert "No comparisons" in told_of(sweep, cells, found)
    assert "15 runs are missing" in words.not_in_table(sweep)[0]


# ---- Text -------------------------------------------------------------------------------------

GRID = Table(
    ["", "a_b", "paper"],
    [
        ["cosine-mbp@regularizer.weight=1e+02", Entry("50.0 ± 1.0", "↑", best=True), Entry("–")],
        ["<script>|", Entry("25.0", "↓"), Entry("64.30")],
    ],
    title="odd & names_100% {of} $x$ \\ ~^#",
    groups=["", "31 %", "31 %"],
    muted=[2],
)


def test_markdown_is_a_table_with_emphasis_and_marks():
    lines = tables.markdown_table(GRID).splitlines()
    assert lines[0] == "|  | 31 % a_b | 31 % paper |"
    assert lines[2] == "| cosine-mbp@regularizer.weight=1e+02 | **50.0 ± 1.0** ↑ | – |"
    assert lines[3] == "| \\<script\\>\\| | 25.0 ↓ | 64.30 |"


def test_html_has_emphasis_marks_and_no_markup_from_names():
    text = html_grid(GRID)
    assert '<strong>50.0 <span class="half">± 1.0</span></strong>' in text
    assert "↑" in text
    assert "<script>|" not in text
    assert 'colspan="2"' in text
    assert len(re.findall("<tr", text)) == len(re.findall("</tr>", text)) == 4


def test_latex_escapes_and_balances():
    text = tables.latex_table(GRID, "Sweep 31 %")
    assert r"\textbf{50.0\,$\pm$\,1.0}$^{\uparrow}$ & --" in text
    assert r"cosine-mbp@regularizer.weight=1e+02 &" in text
    assert r"\textless{}script\textgreater{}\textbar{} &" in text
    assert r"odd \& names\_100\% \{of\} \$x\$ \textbackslash{} \textasciitilde{}" in text
    assert r"\label{tab:sweep-31}" in text
    assert r"\multicolumn{2}{c}{31 \%}" in text
    assert r"\cmidrule(lr){2-3}" in text
    check_latex(text)


def test_a_wide_table_shrinks_to_the_page():
    wide = [["row", *[Entry("50.0")] * 12]]
    text = tables.latex_table(Table(["", *map(str, range(12))], wide, title="wide"), "w")
    assert text.count(r"\resizebox{\textwidth}{!}{%") == 1
    assert r"\end{tabular}}" in text
    assert r"\end{table*}" in text
    check_latex(text)


def test_the_whole_sweep_is_latex(one, two):
    for _, _, _, found in (one, two):
        for grid in found:
            check_latex(tables.latex_table(grid, grid.title))


def check_latex(text):
    """Environments nest, braces and dollars balance, every line has as many cells, all is ASCII."""
    assert text.isascii()
    bare = re.sub(r"\\[\\{}$%&#_]", "", text)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", text):
        assert kind == "begin" or opened.pop() == name
        opened += [name] if kind == "begin" else []
    assert opened == []
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1])
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert body
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in body} == {columns}


# ---- Records ----------------------------------------------------------------------------------


def parsed(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_results_csv_is_every_runs_with_its_place_in_front(two):
    sweep = two[0]
    text = records.csv(sweep.records)
    found = parsed(text)
    assert tuple(found[0]) == ("method", "task", "seed", *COLUMNS)
    places = [(line["method"], line["task"], int(line["seed"])) for line in found]
    assert places == sorted(places)
    for place, run in sweep.sources.items():
        mine = [line for line, at in zip(found, places, strict=True) if at == place]
        theirs = parsed((run.workdir / "results.csv").read_text())
        assert [{name: line[name] for name in COLUMNS} for line in mine] == theirs


def test_table_csv_keeps_every_digit_of_every_cell(two):
    sweep, cells, found, _ = two
    lines = parsed(records.table_csv(sweep.facts, cells, found))
    assert tuple(lines[0]) == records.TABLE_COLUMNS
    assert len(lines) == len(means(cells)) == 5 * 2 * 2 * 3
    changes = {(c.row, c.task, c.remaining): c for c in found.itertuples()}
    for line in lines:
        place = (line["row"], line["task"], float(line["remaining"]), line["statistic"])
        interval = means(cells).loc[place]
        assert float(line["mean"]) == interval["mean"]
        for name in ("low", "high"):
            assert line[name] == ("" if np.isnan(interval[name]) else str(interval[name]))
        assert int(line["seeds"]) == 3
        comparison = changes.get(place[:3])
        differs = place[3] == ZERO_SHOT and comparison is not None and comparison.differs
        assert bool(line["change"]) == differs
        printed = place[3] == ALL_LANGUAGES and place[2] == 0.3138
        assert bool(line["paper"]) == printed
    xnli = next(line for line in lines if (line["row"], line["task"]) == ("l2-mbp", "xnli"))
    assert math.isclose(float(xnli["paper"]), 0.6430)


def test_comparisons_csv_is_the_comparisons(one):
    sweep, cells, found, _ = one
    (power,) = powers(sweep, cells).itertuples()
    lines = parsed(records.comparisons_csv(found, powers(sweep, cells)))
    assert tuple(lines[0]) == records.COMPARISON_COLUMNS
    for line, comparison in zip(lines, found.itertuples(), strict=True):
        assert (line["row"], float(line["remaining"])) == (comparison.row, comparison.remaining)
        for name in ("difference", "low", "high"):
            assert float(line[name]) == getattr(comparison, name)
        for name in ("p_seeds", "p_examples"):
            assert line[name] == ("" if not comparison.tested else str(getattr(comparison, name)))
        assert line["differs"] == str(comparison.differs).lower()
        assert line["detectable"] == (str(power.detectable) if comparison.tested else "")


def test_the_zero_shot_mean_is_that_of_the_metrics(one):
    sweep, cells, _, _ = one
    step = results(sweep, "cosine-mbp", "intents")[1]["prune_steps"][4]
    expected = summarize(step["languages"], None, 0.0)["zero_shot_avg"]
    found = seeds_of(cells, "cosine-mbp", "intents", 0.1, ZERO_SHOT)[1]
    assert found == pytest.approx(expected, abs=1e-15)
    assert np.isfinite(found)
