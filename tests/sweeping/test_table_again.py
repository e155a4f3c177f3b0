"""A table that is made again says what it is of, or is not made."""

import csv
import shutil
import sys

import pytest
import tiny

from alignreg_jax.sweeping import again

FOLDER = tiny.ROOT / "docs/results/distillation_demo/intents"
CONFIG = f"--config={tiny.ROOT}/configs/distillation_demo.py"
ROWS = "--config.methods=l2-mbp,l2-mbp@distill.teacher=dense"
# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture
def table(tmp_path):
    """Writes the lines that are to be kept."""

    def write(kept=lambda line: True):
        with (FOLDER / "results.csv").open() as file:
            head, *lines = csv.reader(file)
        lines = [line for line in lines if kept(dict(zip(head, line, strict=True)))]
        with (tmp_path / "results.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *lines])

    return write


def made(folder, *flags):
    sys.modules.pop("distillation_demo_config", None)
    return again.main([CONFIG, ROWS, *flags, "--workdir", str(folder)])


def test_without_scores_of_the_sweep_the_table_is_left_alone(table, tmp_path, capsys):
    shutil.copy(FOLDER / "table.md", tmp_path)
    for kept, *flags in (
        (lambda line: False,),
        (lambda line: True, "--config.seeds=7"),
        (lambda line: line["method"] == "gradient-mbp",),
    ):
        table(kept)
        assert made(tmp_path, *flags) == 2
        assert "results.csv: has no scores of this sweep" in capsys.readouterr().err
    assert (tmp_path / "table.md").read_text() == (FOLDER / "table.md").read_text()


def test_a_part_of_the_rows_and_seeds_is_a_table_and_says_what_it_is_without(
    table, tmp_path, caplog
):
    caplog.set_level("INFO")
    table()
    before = (tmp_path / "results.csv").read_bytes()
    assert made(tmp_path, "--config.seeds=0,1,2") == 0
    said = caplog.text
    assert "left out, no method of this sweep: frobenius-mbp, frobenius-mbp@distill" in said
    assert "left out, no seed of this sweep: 3, 4\n" in said
    text = (tmp_path / "table.md").read_text()
    assert "over 3 seeds" in text
    assert "frobenius" not in text
    assert "Not finished" not in text
    assert (tmp_path / "results.csv").read_bytes() == before


def test_runs_that_are_missing_are_counted(table, tmp_path):
    table(lambda line: line["seed"] != "4" or line["method"] == "l2-mbp")
    assert made(tmp_path) == 0
    assert "Not finished: 1 run is missing" in (tmp_path / "table.md").read_text()


def test_without_other_languages_that_is_why_nothing_is_compared(table, tmp_path):
    table(lambda line: line["language"] == "en")
    assert made(tmp_path) == 0
    text = " ".join((tmp_path / "table.md").read_text().split())
    assert "No comparisons: rows are compared on the mean of the languages other than" in text
    assert "no finished run" not in text
