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
    """Writes the lines of two rows' runs that are to be kept."""

    def write(kept):
        with (FOLDER / "results.csv").open() as file:
            head, *lines = csv.reader(file)
        wanted = ROWS.partition("=")[2].split(",")
        lines = [
            line for line in lines if line[head.index("method")] in wanted
            and kept(dict(zip(head, line, strict=True)))
        ]  # fmt: skip
        with (tmp_path / "results.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *lines])

    return write


def made(folder, *flags):
    sys.modules.pop("distillation_demo_config", None)
    return again.main([CONFIG, ROWS, *flags, "--workdir", str(folder)])


def test_no_scores_or_seeds_of_another_sweep_leave_the_table_alone(table, tmp_path, capsys):
    shutil.copy(FOLDER / "table.md", tmp_path)
    before = (tmp_path / "table.md").read_text()
    table(lambda line: False)
    assert made(tmp_path) == 2
    assert "results.csv: has no scores" in capsys.readouterr().err
    table(lambda line: True)
    assert made(tmp_path, "--config.seeds=0,1") == 2
    assert "results.csv: seed 2 is no part of this sweep" in capsys.readouterr().err
    assert (tmp_path / "table.md").read_text() == before


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
