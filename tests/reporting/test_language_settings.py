"""A structure for each language against one for all: the comparison by hand, and what is shared."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from alignreg_jax.errors import UserError
from alignreg_jax.reporting import svg
from alignreg_jax.reporting.sweeps import settings
from alignreg_jax.reporting.sweeps.records import RESULTS_COLUMNS
from alignreg_jax.reporting.sweeps.runs import FinishedRun, Run, Sweep, SweepFacts
from alignreg_jax.sweeping.settings import main

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

SHARED = "structured-taylor@distill.text=data"
DE, SW = (f"{SHARED}@distill.text_languages=({name},)" for name in ("de", "sw"))
LABELS = ("l2-mbp", SHARED, DE, SW)


def sweep(scores):
    """Of row -> seed -> scores in German and Swahili at half of the weights."""
    runs = [
        Run(
            FinishedRun(row, "intents", seed, Path("gone"), {}),
            {"prune_steps": [
                {"prune_step": 1, "remaining": 0.5, "languages": {"en": 0.9, "de": de, "sw": sw}}
            ]},
        )
        for row, seeds in scores.items()
        for seed, (de, sw) in seeds.items()
    ]  # fmt: skip
    facts = SweepFacts("title", LABELS, ("intents",), (0, 1, 2), (0.5,), "l2-mbp", "command")
    return Sweep(facts, tuple(runs))


def test_own_and_shared_by_hand():
    found = settings.compare(
        sweep({
            SHARED: {0: (0.5, 0.4), 1: (0.6, 0.5), 2: (0.1, 0.1)},
            DE: {0: (0.53, 0.2), 1: (0.65, 0.3)},
            SW: {0: (0.2, 0.42), 1: (0.4, 0.48), 2: (0.1, 0.1)},
        }),
        settings.rows_of(LABELS), "intents", 0.5,
    )  # fmt: skip
    assert found.seeds == 2  # the third has no German structure
    german = found.languages["de"]
    assert (german.own, german.shared, german.others) == pytest.approx((0.59, 0.55, 0.3))
    assert german.gain.mean == pytest.approx(0.04)
    gains = [(0.03 + 0.02) / 2, (0.05 - 0.02) / 2]
    assert found.gain.mean == pytest.approx(np.mean(gains))
    expected = stats.t.interval(0.95, 1, np.mean(gains), stats.sem(gains))
    assert (found.gain.low, found.gain.high) == pytest.approx(expected)
    text = settings.table(found)
    assert "| de | 59.0 | 55.0 | 30.0 | +4.0 ± " in text
    assert "**+2.0 ± " in text


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (("l2-mbp", SHARED), "no row has @distill.text_languages"),
        (("l2-mbp", DE), f"'{SHARED}', the row of all languages, is not there"),
        ((SHARED, DE, "l2-mbp@distill.text_languages=sw"), "of several kinds"),
    ],
)
def test_rows_that_are_no_settings(labels, says):
    with pytest.raises(UserError) as caught:
        settings.rows_of(labels)
    assert says in str(caught.value)


def test_what_cannot_be_compared_is_said():
    rows = settings.rows_of(LABELS)
    some = sweep({SHARED: {0: (0.5, 0.4)}, DE: {1: (0.5, 0.4)}, SW: {0: (0.1, 0.1)}})
    with pytest.raises(UserError, match="no seed is finished in all rows on intents at 50 %"):
        settings.compare(some, rows, "intents", 0.5)
    other = settings.rows_of((SHARED, f"{SHARED}@distill.text_languages=xx"))
    facts = sweep({})
    run = Run(
        FinishedRun(other.own["xx"], "intents", 0, Path("gone"), {}),
        {"prune_steps": [{"prune_step": 1, "remaining": 0.5, "languages": {"en": 1.0}}]},
    )
    alike = Run(FinishedRun(SHARED, "intents", 0, Path("gone"), {}), run.results)
    with pytest.raises(UserError, match="none of xx was evaluated on intents"):
        settings.compare(Sweep(facts.facts, (run, alike)), other, "intents", 0.5)


def test_overlap_is_jaccards_and_drawn():
    one = {"heads": np.array([[True, True, False, False]]), "ffn": np.array([[True, False]])}
    two = {"heads": np.array([[True, False, True, True]]), "ffn": np.array([[False, True]])}
    shares = settings.overlap([one, two])
    np.testing.assert_allclose(shares["heads"], [[1, 0.25], [0.25, 1]])
    np.testing.assert_allclose(shares["ffn"], [[1, 0], [0, 1]])
    figure = settings.overlap_figure(["de", "sw"], shares)
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert written == ["100", "25", "25", "100", "100", "0", "0", "100"]
    assert svg.png(figure).startswith(b"\x89PNG")


def test_the_command_writes_what_it_prints(tmp_path, capsys):
    runs = sweep({label: {0: (0.5, 0.4), 1: (0.6, 0.5)} for label in (SHARED, DE, SW)}).runs
    lines = [
        [run.row, run.task, run.seed, 1, 0.5, "test", name, "accuracy", score, 0.5, 0.5, 0.5]
        for run in runs
        for name, score in run.steps[0]["languages"].items()
    ]
    with (tmp_path / "results.csv").open("w") as file:
        csv.writer(file).writerows([RESULTS_COLUMNS, *lines])
    config = Path(__file__).parents[2] / "configs" / "settings_demo.py"
    rows = [f"--config.methods={label}" for label in (SHARED, DE, SW)]
    command = ["--config", str(config), "--workdir", str(tmp_path), *rows, "--config.seeds=0,1"]
    command += [f"--config.baseline={SHARED}", "--config.remaining=0.5,"]
    assert main(command) == 0
    written = (tmp_path / "settings.md").read_text()
    assert "## intents, 50 % of the encoder's weights, 2 seeds" in written
    assert capsys.readouterr().out.strip() == written.strip()  # no picture without the runs
    (tmp_path / "results.csv").unlink()
    sys.modules.pop("settings_demo_config", None)
    assert main(command) == 2
