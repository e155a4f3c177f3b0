"""What deployed models weigh and take, on the page of a sweep; who is worth having."""

import re

import pandas as pd
import pytest
import sweep_cases
from hypothesis import given
from hypothesis import strategies as st
from run_cases import deploy
from test_report import Outline, check_alone
from test_side_by_side import cells

from alignreg_jax.reporting import served
from alignreg_jax.reporting.sweeps.report import write_sweep

NUMBERS = st.integers(0, 4).map(float)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8))
def test_the_front_is_who_nobody_beats(models):
    names = [f"m{number}" for number in range(len(models))]
    frame = pd.DataFrame(models, index=pd.Index(names), columns=pd.Index(["MB", "score"]))
    found = served.front(frame, "MB", "score")
    beaten = {
        name
        for name, (cost, score) in zip(names, models, strict=True)
        if any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in models)
    }
    assert not beaten & {*found}
    # Of equal ones the first stands for all
    alike = {models[names.index(name)] for name in names if name not in beaten}
    assert {models[names.index(name)] for name in found} == alike
    assert len(found) == len(alike)


def test_a_model_that_was_not_measured_is_not_on_the_front():
    frame = pd.DataFrame({"MB": [1.0, 2.0], "score": [float("nan"), 3.0]}, index=["a", "b"])
    assert served.front(frame, "MB", "score") == ["b"]


@pytest.fixture
def runs(tmp_path):
    return sweep_cases.write_runs(tmp_path / "runs", rows=("l2-mbp", "random"))


def page(runs, folder):
    facts = sweep_cases.facts(rows=("l2-mbp", "random"))
    return write_sweep(folder, facts, runs).read_text()


def test_a_sweep_shows_what_its_rows_weigh_where_they_were_deployed(runs, tmp_path):
    assert "As they are served" not in page(runs, tmp_path / "before")
    for run in runs:
        if run.seed < 2:
            small = run.row == "random" and run.seed == 1
            deploy(run.workdir / "served", kept="q8" if small else "int8")
    text = page(runs, tmp_path / "after")
    check_alone(text)
    assert "As they are served" in Outline(text).headings
    shown = text.split("As they are served")[1]
    assert cells(shown, "l2-mbp")[:2] == ["27.0", "5.0"]
    # Means over two seeds, served as int8 (27 MB, 5 ms, 46.7) and as q8 (26 MB, 6 ms, 46.8)
    assert cells(shown, "random")[:5] == ["26.5", "5.5", "46.8", "25.0", "93.2"]
    assert cells(shown, "random")[-1] == "2"
    assert "by MB random; by ms (1 x 16) random, l2-mbp." in shown
    assert "random, worst language (%): 25.00 at 26.5 MB" in shown
    assert not re.search(r"\bnan\b|\bNone\b", text)


def test_a_damaged_file_of_one_run_costs_no_table(runs, tmp_path):
    for run in runs:
        deploy(run.workdir / "served")
    (runs[0].workdir / "served" / "deploy.json").write_text("{")
    text = page(runs, tmp_path / "out")
    assert "served/deploy.json: not " in text
    assert cells(text.split("As they are served")[1], "l2-mbp")[-1] == "2"


def test_figures_of_two_tasks_have_names_of_their_own(tmp_path):
    tasks, rows = ("intents", "slots"), ("l2-mbp", "random")
    runs = sweep_cases.write_runs(tmp_path / "runs", rows=rows, tasks=tasks, seeds=(0,))
    for run in runs:
        deploy(run.workdir / "served", kept="q8" if run.row == "random" else "int8")
    facts = sweep_cases.facts(rows=rows, tasks=tasks, seeds=(0,))
    ids = re.findall(r' id="([^"]+)"', write_sweep(tmp_path / "page", facts, runs).read_text())
    assert len(ids) == len(set(ids)) > 9
