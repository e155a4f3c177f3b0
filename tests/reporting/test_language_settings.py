"""A structure for each language against one for all: the comparison by hand, and what is shared."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alignreg_jax.errors import UserError
from alignreg_jax.reporting import svg
from alignreg_jax.reporting.sweeps import records, settings
from alignreg_jax.reporting.sweeps.runs import (
    RESULTS_COLUMNS,
    FinishedRun,
    Kind,
    SweepFacts,
    make_sweep,
)
from alignreg_jax.sweeping.settings import main

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

SHARED = "structured-taylor@distill.text=data"
DE, SW = (f"{SHARED}@distill.text_languages=({name},)" for name in ("de", "sw"))
LABELS = ("l2-mbp", SHARED, DE, SW)


def sweep(scores):
    """Of row -> seed -> scores in German and Swahili at half of the weights."""
    languages = ("de", "sw", "en")
    lines = [
        [row, "intents", seed, 1, 0.5, "test", name, "accuracy", score, 0.5, 0.5, 0.5]
        for row, seeds in scores.items()
        for seed, found in seeds.items()
        for name, score in zip(languages, (*found, 0.9), strict=True)
    ]
    return of_lines(lines, (*LABELS, *set(scores) - set(LABELS)))


def of_lines(lines, rows=LABELS):
    """The sweep of lines of its results.csv."""
    facts = SweepFacts("title", rows, ("intents",), (0, 1, 2), (0.5,), "l2-mbp", "command")
    places = [tuple(line[:3]) for line in lines]
    sources = {place: FinishedRun(*place, Path("gone"), {}) for place in places}
    kinds = {"intents": Kind("accuracy", "test", 0.0)} if lines else {}
    return make_sweep(facts, pd.DataFrame(lines, columns=RESULTS_COLUMNS), kinds, sources)


def test_own_and_shared_by_hand():
    found = settings.compare(
        sweep({
            SHARED: {0: (0.5, 0.4), 1: (0.6, 0.5), 2: (0.1, 0.1)},
            DE: {0: (0.53, 0.2), 1: (0.65, 0.3)},
            SW: {0: (0.2, 0.42), 1: (0.4, 0.48), 2: (0.1, 0.1)},
        }),
        settings.rows_of(LABELS), "intents", 0.5,
    )  # fmt: skip
    assert {*found.seeds} == {2}  # the third has no German structure
    german = found.loc["de"]
    assert (german.own, german.shared, german.others) == pytest.approx((0.59, 0.55, 0.3))
    assert german.gain == pytest.approx(0.04)
    gains = [(0.03 + 0.02) / 2, (0.05 - 0.02) / 2]
    mean = found.loc[settings.MEAN]
    assert mean.gain == pytest.approx(np.mean(gains))
    assert (mean.own, mean.shared, mean.others) == pytest.approx((0.52, 0.5, 0.275))
    expected = stats.t.interval(0.95, 1, np.mean(gains), stats.sem(gains))
    assert (mean.gain - mean.half, mean.gain + mean.half) == pytest.approx(expected)
    text = settings.table(found)
    assert "| de | 59.0 | 55.0 | 30.0 | +4.0 ± " in text
    assert "| mean of languages | 52.0 | 50.0 | 27.5 | **+2.0 ± " in text


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
    alike = sweep({row: {0: (0.5, 0.4)} for row in (SHARED, other.own["xx"])})
    with pytest.raises(UserError, match="none of xx was evaluated on intents"):
        settings.compare(alike, other, "intents", 0.5)
    with pytest.raises(UserError, match="no seed is finished in all rows"):
        settings.compare(sweep({}), rows, "intents", 0.5)


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
    whole = sweep({label: {0: (0.5, 0.4), 1: (0.6, 0.5)} for label in (SHARED, DE, SW)})
    (tmp_path / "results.csv").write_text(records.csv(whole.records))
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
