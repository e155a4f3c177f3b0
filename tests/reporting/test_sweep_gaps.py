"""What a sweep's table says of what is missing or damaged: seeds, steps, languages, files."""

import json

import pytest
import sweep_cases
from table_cases import everything, results, seeds_of, told_of

from alignreg_jax.errors import UserError
from alignreg_jax.reporting.sweeps import words
from alignreg_jax.reporting.sweeps.cells import (
    ZERO_SHOT,
)
from alignreg_jax.reporting.sweeps.comparisons import powers
from alignreg_jax.reporting.sweeps.runs import read_sweep
from alignreg_jax.reporting.tables import Entry


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
