"""A sweep's rows against its baseline: families, marks, and the examples that are swapped."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
import sweep_cases

from alignreg_jax.reporting.sweeps import comparisons, dunnett, statistics, words
from alignreg_jax.reporting.sweeps.cells import read_cells
from alignreg_jax.reporting.sweeps.runs import read_sweep


def compared_runs(facts, runs):
    sweep = read_sweep(facts, runs)
    return list(comparisons.compare(sweep, read_cells(sweep)).itertuples())


def compare(folder, facts=None, **options):
    runs = sweep_cases.write_runs(folder, **options)
    return runs, compared_runs(facts or sweep_cases.facts(), runs)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    return compare(tmp_path_factory.mktemp("sweep"))


def test_every_rival_is_compared_wherever_the_table_is_read(compared):
    _, found = compared
    rivals = ("random", "cosine-mbp", "frobenius-mbp")  # neither the baseline nor the dense row
    assert [(c.remaining, c.row) for c in found] == list(
        itertools.product(sweep_cases.READINGS, rivals)
    )
    assert {c.seeds for c in found} == {3}
    assert [c.tested for c in found] == [True] * 3 + [False] * 3
    assert [c.examples for c in found] == [3 * 120] * 3 + [0] * 3


def test_differences_are_dunnetts_over_the_rows_of_the_family(compared):
    runs, found = compared
    scores = {}
    for run in runs:
        steps = json.loads((run.workdir / "results.json").read_text())["prune_steps"]
        scores.setdefault(run.row, []).append(steps[min(2, len(steps) - 1)]["zero_shot_avg"])
    base = scores.pop("l2-mbp")
    del scores["none"]
    for comparison, contrast in zip(
        found[:3], dunnett.contrasts(base, list(scores.values())), strict=True
    ):
        assert comparison.row in scores
        assert comparison.difference == pytest.approx(contrast.difference)
        assert comparison.p_seeds == pytest.approx(contrast.p)
        assert comparison.high - comparison.difference == pytest.approx(contrast.half)


def test_what_differs_is_marked_and_what_is_not_tested_is_not(tmp_path):
    _, found = compare(tmp_path, sweep_cases.facts(at=0.1))
    marks = {(c.row, c.remaining): c.mark for c in found}
    assert marks["random", 0.1] == "↓"
    assert marks["frobenius-mbp", 0.1] == "↑"
    assert marks["cosine-mbp", 0.1] == ""
    assert {mark for (_, at), mark in marks.items() if at != 0.1} == {""}


def test_the_family_is_the_users(tmp_path):
    runs, everything = compare(tmp_path)
    facts = sweep_cases.facts(comparisons=("frobenius-mbp",), at=0.1)
    found = compared_runs(facts, runs)
    assert [(c.row, c.remaining) for c in found if c.tested] == [("frobenius-mbp", 0.1)]
    assert len(found) == len(everything)
    assert all(np.isnan([c.p_seeds, c.p_examples]).all() for c in found if not c.tested)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, True),
        ({"p_examples": 0.05}, False),
        ({"p_seeds": 0.05}, False),
        ({"p_seeds": np.nan}, False),
        ({"p_examples": np.nan}, True),
        ({"tested": False}, False),
        ({"difference": -0.1, "low": -0.2, "high": -0.01}, True),
    ],
)
def test_a_row_differs_only_if_every_test_that_there_is_says_so(changes, differs):
    sure = {"tested": True, "difference": 0.1, "p_seeds": 0.01, "p_examples": 0.01}
    (changed,) = comparisons.judged(pd.DataFrame([sure | changes])).itertuples()
    assert changed.differs == differs
    assert changed.mark == ("" if not differs else "↑" if changed.difference > 0 else "↓")


def test_p_is_of_the_answers_in_the_files_averaged_over_seeds(compared):
    runs, found = compared
    right = sweep_cases.gold("intents")

    def scores(run, language):
        path = run.workdir / "predictions" / "2" / f"{language}.test.txt"
        return np.array(path.read_text().split()) == np.array(right["test", language])

    def by_language(row):
        mine = [run for run in runs if run.row == row]
        found = [np.stack([scores(run, name) for run in mine]) for name in ("de", "ru", "th")]
        return [np.stack([right, np.ones_like(right)], axis=-1).astype(float) for right in found]

    p_values = []
    for comparison in found[:3]:
        pairs = zip(by_language(comparison.row), by_language("l2-mbp"), strict=True)
        p_values.append(statistics.randomisation_test(list(pairs)))
    assert [c.p_examples for c in found[:3]] == statistics.holm(p_values)


def test_a_rival_that_answers_like_the_baseline_does_not_differ(tmp_path):
    runs = sweep_cases.write_runs(tmp_path, rows=("l2-mbp", "random"), seeds=(0,))
    base, other = (run.workdir for run in runs)
    for name in ("results.json", "results.csv"):
        (other / name).write_text((base / name).read_text())
    for path in base.glob("predictions/*/*.txt"):
        (other / path.relative_to(base)).write_text(path.read_text())
    facts = sweep_cases.facts(rows=("l2-mbp", "random"), seeds=(0,))
    found = [c for c in compared_runs(facts, runs) if c.tested]
    assert [(c.difference, c.p_examples) for c in found] == [(0.0, 1.0)]
    assert np.isnan([found[0].low, found[0].p_seeds]).all()


def test_rows_may_have_different_numbers_of_seeds(tmp_path):
    runs = sweep_cases.write_runs(tmp_path)
    runs = [run for run in runs if (run.row, run.seed) != ("random", 1)]
    found = compared_runs(sweep_cases.facts(), runs)
    assert {c.row: c.seeds for c in found} == {"random": 2, "cosine-mbp": 3, "frobenius-mbp": 3}
    assert not any(np.isnan([c.p_seeds, c.p_examples]).any() for c in found if c.tested)


def test_a_row_of_other_seeds_than_the_baselines_has_no_test_over_examples(tmp_path):
    runs = sweep_cases.write_runs(tmp_path, rows=("l2-mbp",), seeds=(0, 1))
    runs += sweep_cases.write_runs(tmp_path, rows=("random",), seeds=(2, 3))
    facts = sweep_cases.facts(rows=("l2-mbp", "random"), seeds=(0, 1, 2, 3))
    (found,) = [c for c in compared_runs(facts, runs) if c.tested]
    assert found.p_seeds < 0.5
    assert np.isnan(found.p_examples)


def test_without_predictions_there_is_no_test_over_examples(tmp_path):
    _, found = compare(tmp_path, save=False)
    assert len(found) == 6
    assert {(str(c.p_examples), c.examples) for c in found} == {("nan", 0)}
    assert all(c.low < c.difference < c.high for c in found)


def test_without_a_baseline_there_is_nothing_to_compare(tmp_path):
    runs = sweep_cases.write_runs(tmp_path, rows=("random", "cosine-mbp"))
    assert compared_runs(sweep_cases.facts(), runs) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), r"de.test.txt: no such file, though .*predictions/2 exists"),
        (lambda path: path.write_text("go\n"), r"de.test.txt: 1 lines for 120 examples"),
        (lambda path: path.write_text("line\nbreak\n" * 120), r"240 lines for 120 examples"),
        (lambda path: path.write_bytes(b"\xff\n" * 120), r"predictions/2: .*codec can't decode"),
        (
            lambda path: path.write_text("never\n" * 120),
            r"de.test.txt: gives 0.000000, but results.csv has 0",
        ),
    ],
)
def test_predictions_that_do_not_fit_take_one_comparison_away_and_are_told(
    tmp_path, damage, message
):
    runs = sweep_cases.write_runs(tmp_path, rows=("l2-mbp", "random", "cosine-mbp"))
    path = runs[3].workdir / "predictions" / "2" / "de.test.txt"
    assert runs[3].row == "random"
    damage(path)
    facts = sweep_cases.facts(rows=("l2-mbp", "random", "cosine-mbp"))
    random, cosine = [c for c in compared_runs(facts, runs) if c.tested]
    assert re.search(message, random.trouble)
    assert cosine.trouble == ""
    known = [random.p_examples, random.p_seeds, cosine.p_examples]
    assert np.isnan(known).tolist() == [True, False, False]


# ---- Sentences and queries --------------------------------------------------------------------


TAGGERS = {"rows": ("l2-mbp", "cosine-mbp", "frobenius-mbp"), "seeds": (0, 1)}


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    options = {"tasks": ("ner",), "answers": sweep_cases.gold_tags, "metric": "f1"}
    facts = sweep_cases.facts(tasks=("ner",), at=0.1, **TAGGERS)
    return compare(tmp_path_factory.mktemp("ner"), facts, **TAGGERS, **options)


def test_sentences_are_the_examples_of_a_token_task(tagged):
    _, found = tagged
    assert {c.examples for c in found if c.tested} == {3 * 60}
    p_values = {(c.row, c.remaining): c.p_examples for c in found}
    assert p_values["frobenius-mbp", 0.1] < 0.001
    assert p_values["cosine-mbp", 0.1] > 0.05


def test_the_difference_is_that_of_f1(tagged):
    runs, found = tagged
    last = found[-1]
    means = {row: [] for row in ("l2-mbp", last.row)}
    for run in runs:
        if run.row in means:
            step = json.loads((run.workdir / "results.json").read_text())["prune_steps"][4]
            means[run.row].append(step["zero_shot_avg"])
    assert last.difference == pytest.approx(np.mean(means[last.row]) - np.mean(means["l2-mbp"]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text + "\nO\n", r"de.test.txt: 61 sentences for 60 examples"),
        (lambda text: "O\n" + text, r"de.test.txt: \d tags for \d words, sentence 1$"),
        (
            lambda text: text.replace("PER", "LOC"),
            r"de.test.txt: gives 0.\d+, but results.csv has",
        ),
    ],
)
def test_tags_that_do_not_fit_are_named(tmp_path, damage, message):
    options = {"tasks": ("ner",), "answers": sweep_cases.gold_tags, "metric": "f1"}
    fixed = {"rows": ("l2-mbp", "random"), "seeds": (0,)}
    runs = sweep_cases.write_runs(tmp_path, **fixed, **options)
    path = runs[0].workdir / "predictions" / "2" / "de.test.txt"
    path.write_text(damage(path.read_text()))
    found = compared_runs(sweep_cases.facts(tasks=("ner",), **fixed), runs)
    assert re.search(message, found[0].trouble)


def grades(task):
    random = np.random.default_rng(8)
    keys = [("test", name) for name in sweep_cases.LANGUAGES]
    return {key: [str(grade) for grade in random.integers(0, 5, 45)] for key in keys}


def test_queries_are_the_examples_of_ranking(tmp_path):
    queries = {key: [f"q{row // 3}" for row in range(45)] for key in grades("wpr")}
    options = {"tasks": ("wpr",), "answers": grades, "metric": "ndcg", "queries": queries}
    options["remaining"] = (1.0, 0.3138, 0.1)
    fixed = {"rows": ("l2-mbp", "random"), "seeds": (0, 1)}
    facts = sweep_cases.facts(tasks=("wpr",), at=0.1, **fixed)
    _, found = compare(tmp_path, facts, **fixed, **options)
    assert [(c.examples, c.p_examples < 0.05) for c in found if c.tested] == [(3 * 15, True)]


def test_a_score_that_is_no_ratio_of_sums_has_no_test_over_examples(tmp_path):
    options = {"tasks": ("wpr",), "answers": grades, "metric": "mcc", "queries": grades("wpr")}
    fixed = {"rows": ("l2-mbp", "random"), "seeds": (0, 1)}
    _, found = compare(tmp_path, sweep_cases.facts(tasks=("wpr",), **fixed), **fixed, **options)
    assert {(str(c.p_examples), c.examples, c.trouble) for c in found} == {("nan", 0, "")}


# ---- Translated test sets ---------------------------------------------------------------------


def same_gold(task, examples=120):
    """The right answers of test sets that are translations: the same in every language."""
    english = sweep_cases.gold("pawsx", examples)["test", "en"]
    return {("test", name): english for name in sweep_cases.LANGUAGES}


@pytest.mark.parametrize(("answers", "parallel"), [(same_gold, True), (sweep_cases.gold, False)])
def test_rows_that_line_up_are_one_example_in_all_languages(tmp_path, answers, parallel):
    fixed = {"rows": ("l2-mbp", "random"), "seeds": (0, 1), "tasks": ("pawsx",)}
    facts = sweep_cases.facts(**fixed)
    runs, found = compare(tmp_path, facts, answers=answers, **fixed)
    (comparison,) = [c for c in found if c.tested]
    assert comparison.parallel == parallel
    assert comparison.examples == (120 if parallel else 3 * 120)
    sweep = read_sweep(facts, runs)
    cells = read_cells(sweep)
    text = " ".join(
        words.tests(sweep, comparisons.compare(sweep, cells), comparisons.powers(sweep, cells))
    )
    assert ("translations of one another" in text) == parallel
    assert ("pawsx: the rows of its languages do not line up" in text) == (not parallel)
