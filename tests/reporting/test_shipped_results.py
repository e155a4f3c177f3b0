"""Every table that is shipped comes again from the results.csv beside it."""

import csv
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest
import tools_in_process

from alignreg_jax.reporting.sweeps import drawings
from alignreg_jax.sweeping import again, settings

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
FOLDERS = sorted(path.parent for path in RESULTS.rglob("results.csv"))


def command(folder):
    """The line that made the sweep, as its table says it."""
    return (folder / "table.md").read_text().rpartition("```\n")[0].rpartition("```\n")[2].strip()


FILES = [
    (folder, name)
    for folder in FOLDERS
    for name in ("table.csv", "comparisons.csv")
    if (folder / name).exists()  # sweeps of one seed ship the printed table alone
]


def named(value):
    return value if isinstance(value, str) else str(value.relative_to(RESULTS))


@pytest.fixture(scope="module")
def again_of(tmp_path_factory):
    """A shipped folder -> one with the same results.csv whose other files are made again, once."""

    @cache
    def make(folder):
        made = tmp_path_factory.mktemp("again")
        shutil.copy(folder / "results.csv", made)
        _, _, module, flag, config, *more = shlex.split(command(folder))
        assert (module, flag) == ("alignreg_jax.sweep", "--config")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            patch.setattr(drawings, "figures", lambda sweep, cells: [])  # most of the time
            sys.modules.pop(f"{Path(config.partition(':')[0]).stem}_config", None)
            assert again.main(["--config", config, *more, "--workdir", str(made)]) == 0
        return made

    return make


def records(path):
    with path.open() as file:
        return [*csv.reader(file)]


@pytest.mark.parametrize(("folder", "name"), FILES, ids=named)
def test_cells_and_p_values_come_again(again_of, folder, name):
    ours, theirs = records(again_of(folder) / name), records(folder / name)
    assert len(ours) == len(theirs) > 1
    for mine, other in zip(ours, theirs, strict=True):
        assert len(mine) == len(other)
        for cell, known in zip(mine, other, strict=True):
            try:
                number = float(known)
            except ValueError:
                assert cell == known
            else:
                assert float(cell) == pytest.approx(number, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_the_printed_tables_come_again(again_of, folder):
    """Line by line; rows that a config has got since have no runs, and so dashes."""
    both = (folder, again_of(folder))
    shipped, made = ((path / "table.md").read_text().splitlines() for path in both)
    known = [line for line in shipped if line.startswith("|")]
    found = [line for line in made if line.startswith("|")]
    assert [line for line in found if line in known] == known
    for line in found:
        assert line in known or set(line.split("|")[2:-1]) == {" – "}


def test_a_structure_for_each_language_is_compared_as_the_page_says_it(tmp_path):
    folder = RESULTS / "settings_demo"
    shutil.copy(folder / "results.csv", tmp_path)
    _, _, _, *flags = shlex.split(command(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        sys.modules.pop("settings_demo_config", None)
        assert settings.main([*flags, "--workdir", str(tmp_path)]) == 0
    found = (tmp_path / settings.TABLE).read_text()
    assert found == (folder / settings.TABLE).read_text()
    page = (folder / "README.md").read_text()
    means = [line for line in found.splitlines() if line.startswith("| mean of languages | ")]
    assert len(means) == 2
    for line in means:
        assert line.removeprefix("| mean of languages").replace("*", "") in page


def paired_rows(*arguments):
    code, said, errors = tools_in_process.run(ROOT / "tools" / "paired_rows.py", *arguments)
    assert code == 0, errors
    return said


def test_pairs_of_runs_are_printed_as_the_page_says_them():
    folder = RESULTS / "distillation_demo"
    said = paired_rows(folder / "intents")
    text = "@distill.teacher=dense@distill.text=data@pruning.epochs_per_step=2"
    assert f"31 %  +4.6   2.5  14 of 15  {text}\n" in said
    assert f"31 %   50.8  92.9  41.9  l2-mbp{text}\n" in said
    assert f"31 %  -1.9  (-2.9 to -0.8)  {text}\n" in said  # English
    page = " ".join((folder / "README.md").read_text().split())
    assert "in 14 of 15 pairs of runs" in page
    said = paired_rows(RESULTS / "structured_demo" / "layers")
    text = "elastic@pruning.scope=layers@pruning.sizes=(1,0.75,0.5)@distill.text=data"
    assert f"50 %  +0.3  (-2.6 to 3.1)  {text}" in said  # than before it was trained for all sizes
    assert "**50.8**, 92.9, 41.9" in page


def test_some_languages_and_methods_are_printed_as_pages_say_them():
    """Of claims.md, and of the study's plan."""
    folder = RESULTS / "distillation_demo" / "intents"
    near = paired_rows(folder, "--languages", "de,es,fr")
    assert "  100 %   57.2  92.5  48.2  l2-mbp\n" in near  # 8.7 points more than at 31 %
    assert "   31 %   48.5  93.8  41.7  l2-mbp\n" in near
    alone = paired_rows(folder, "--method", "l2-mbp")
    text = "@distill.teacher=dense@distill.text=data@pruning.epochs_per_step=2"
    assert f"31 %  +5.3   1.7  5 of 5  {text}\n" in alone
    assert "gradient" not in alone
