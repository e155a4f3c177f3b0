"""The table of a whole sweep of one task or two: its cells, grids, words and records."""

import csv
import functools
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import sweep_cases
from table_cases import (
    check_latex,
    column,
    everything,
    html_grid,
    names_of,
    results,
    seeds_of,
    told_of,
)

from alignreg_jax.evaluation.summary import summarize
from alignreg_jax.reporting import tables
from alignreg_jax.reporting.results import COLUMNS
from alignreg_jax.reporting.sweeps import records, words
from alignreg_jax.reporting.sweeps.cells import (
    ALL_LANGUAGES,
    ENGLISH,
    ZERO_SHOT,
    means,
)
from alignreg_jax.reporting.sweeps.comparisons import powers
from alignreg_jax.reporting.sweeps.paper import AVERAGE
from alignreg_jax.reporting.sweeps.table import grids

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


def test_fewer_tasks_have_no_average(one, two):
    for _, cells, _, found in (one, two):
        assert not (cells.task == AVERAGE).any()
        assert not any("avg" in grid.header for grid in found)


def test_metrics_are_told_with_their_tasks(tmp_path):
    runs = sweep_cases.write_runs(tmp_path, rows=("l2-mbp",), seeds=(0,))
    tags = {"tasks": ("ner",), "answers": sweep_cases.gold_tags, "metric": "f1"}
    runs += sweep_cases.write_runs(tmp_path, rows=("l2-mbp",), seeds=(0,), **tags)
    changes = {"rows": ("l2-mbp",), "seeds": (0,), "tasks": ("intents", "ner")}
    sweep, cells, found, _ = everything(runs, **changes)
    (text, *_) = words.below_table(sweep, cells, found)
    assert text.startswith("Accuracy (intents), F1 (ner) in percent.")


def test_a_whole_sweep_has_nothing_to_tell_about_missing_runs(one):
    sweep, cells, found, _ = one
    assert words.not_in_table(sweep) == []
    assert "Fewer" not in " ".join(words.below_table(sweep, cells, found))


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


def test_readings_that_round_to_one_per_cent_have_grids_of_their_own(two):
    sweep, cells, compared, _ = two
    near = replace(sweep, facts=replace(sweep.facts, remaining=(0.125, 0.118)))
    found = grids(near, cells, compared)
    titles = [grid.title.split(":")[0] for grid in found]
    assert list(dict.fromkeys(titles)) == ["12.5 % remaining", "11.8 % remaining"]
    assert len(found) == 6


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


def test_the_whole_sweep_is_latex(one, two):
    for _, _, _, found in (one, two):
        for grid in found:
            check_latex(tables.latex_table(grid, grid.title))


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
