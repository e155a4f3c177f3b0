"""Hours and cost, against numbers computed by hand."""

import importlib.util
from pathlib import Path

import pytest

from alignreg_jax.config import paper_config, resolve

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

PATH = Path(__file__).parents[2] / "tpu" / "cost.py"
spec = importlib.util.spec_from_file_location("cost", PATH)
cost = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cost)

XNLI = ("--config", f"{PATH.parents[1]}/configs/xnli.py:short", "--rows", "392702")


def config(**pruning):
    wanted = paper_config("xnli", "short")
    wanted.pruning.update(pruning)
    return resolve(wanted)


def test_the_work_of_the_paper_and_of_the_short_schedule():
    # 392,702 rows in batches of 32 are 12,272 steps; 13 x 15 and 3 + 12 epochs
    paper = cost.work(resolve(paper_config("xnli")), 392_702)
    assert paper == cost.Work(steps=195 * 12_272, examples=195 * 392_702, evaluations=13)
    short = cost.work(config(), 392_702)
    assert short == cost.Work(steps=15 * 12_272, examples=15 * 392_702, evaluations=13)


def test_the_work_without_pruning_is_the_dense_phase():
    assert cost.work(config(steps=0), 100) == cost.Work(steps=12, examples=300, evaluations=1)


def test_hours_are_training_evaluation_and_setup():
    work = cost.Work(steps=1000, examples=36_000, evaluations=10)
    assert cost.hours(work, 10) == pytest.approx(1.0)
    # 10 x 7,200 rows at 40 a second are half an hour, 15 minutes a quarter
    assert cost.hours(
        work, 10, evaluated_rows=7_200, evaluated_per_second=40, setup_minutes=15
    ) == pytest.approx(1.75)


def test_spot_does_again_what_preemptions_cost_while_it_does_that_too():
    # 8 a day, 30 minutes each: a sixth of the time is lost, so 10 hours of work take 12
    assert cost.spot_hours(10, 8, 30) == pytest.approx(12)
    assert cost.spot_hours(10, 0, 30) == 10
    with pytest.raises(cost.UserError, match="no time to train"):
        cost.spot_hours(10, 48, 30)


def test_the_table(capsys):
    numbers = ("--examples-per-second", "1000", "--price-per-hour", "2.5")
    spot = ("--spot-price-per-hour", "1", "--preemptions-per-day", "8", "--minutes-lost", "30")
    assert cost.flags.execute([*XNLI, *numbers, *spot], str, cost._run) == 0
    lines = capsys.readouterr().out.strip().splitlines()[2:]
    rows = dict(line.rsplit(None, 1) for line in lines)
    # 5,890,530 examples at 1,000 a second are 5,890.5 s, 1.636 hours
    assert {name.strip(): value for name, value in rows.items()} == {
        "steps": "184,080",
        "examples trained on": "5,890,530",
        "examples evaluated": "0",
        "hours": "1.6",
        "cost": "4.09",
        "hours on Spot": "2.0",
        "cost on Spot": "1.96",
    }


def test_the_page_has_the_same_numbers():
    page = (PATH.parent / "README.md").read_text()
    for wanted in (paper_config("xnli", "short"), paper_config("xnli")):
        work = cost.work(resolve(wanted), 392_702)
        rate = f"{work.examples / 3600:,.0f} / R"
        assert f"| {work.steps:,} | {work.examples:,} | {rate} |" in page
    assert f"{cost.hours(cost.work(config(), 392_702), 4.1):.0f} hours for `:short`" in page


@pytest.mark.parametrize(
    "arguments",
    [
        XNLI,
        (*XNLI, "--examples-per-second", "0", "--price-per-hour", "1"),
        ("--rows", "5", "--examples-per-second", "1", "--price-per-hour", "1"),
        (*XNLI, "--examples-per-second", "1", "--price-per-hour", "1", "--config.no=1"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, capsys):
    assert cost.flags.execute(arguments, str, cost._run) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
