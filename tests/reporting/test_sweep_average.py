"""The numbers that the paper prints, and a sweep's average over XGLUE's eight tasks."""

import dataclasses

import numpy as np
import pytest
import sweep_cases
from table_cases import (
    column,
    everything,
    names_of,
    seeds_of,
)

from alignreg_jax.pruning.methods import PRESETS
from alignreg_jax.reporting.sweeps import paper, words
from alignreg_jax.reporting.sweeps.cells import (
    ALL_LANGUAGES,
    ZERO_SHOT,
    means,
)
from alignreg_jax.reporting.sweeps.comparisons import powers
from alignreg_jax.reporting.sweeps.paper import AVERAGE


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """All of XGLUE's tasks, in an order of their own, and one more."""
    tasks = ("intents", *reversed(paper.TASKS))
    options = {"rows": ("none", "l2-mbp", "random"), "seeds": (0, 1), "tasks": tasks}
    folder = tmp_path_factory.mktemp("eight")
    runs = sweep_cases.write_runs(folder, **options, save=False, remaining=(1.0, 0.3138, 0.1))
    return everything(runs, **options)


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


# ---- The average ------------------------------------------------------------------------------


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
