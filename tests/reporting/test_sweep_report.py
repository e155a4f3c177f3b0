import csv
import re

import pytest
import sweep_cases
from test_report import Outline, check_alone

from alignreg_jax.reporting.sweeps import report
from alignreg_jax.reporting.sweeps.report import write_sweep

FILES = {
    *("table.md", "table.csv", "table.tex", "results.csv", "comparisons.csv", "table1.png"),
    "table.html",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return sweep_cases.write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def written(tmp_path_factory, runs):
    return write_sweep(tmp_path_factory.mktemp("sweep"), sweep_cases.facts(), runs)


def test_every_file_is_there_and_the_page_is_returned(written):
    assert written.name == "table.html"
    assert {path.name for path in written.parent.iterdir()} == FILES


def test_writing_it_again_gives_the_same_bytes_in_any_order_of_runs(tmp_path, written, runs):
    again = write_sweep(tmp_path, sweep_cases.facts(), runs[::-1])
    for file in written.parent.iterdir():
        assert again.with_name(file.name).read_bytes() == file.read_bytes()


# A font of the figures or of a browser that lacks a letter shows a box; matplotlib warns of it,
# and warnings are errors in tests.
def test_the_page_stands_alone_and_is_well_formed(written):
    text = written.read_text()
    outline = Outline(text)
    assert outline.headings == [
        "table1_demo",
        "The table",
        "Score against remaining weights",
        "Every language",
        "What differs",
        "How it was made",
    ]
    assert len(set(outline.ids)) == len(outline.ids)
    assert text.count("<svg") == text.count('role="img"') == 2
    addresses = set(re.findall(r"https?://[^\"' <)]+", text))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    check_alone(text)
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"\bnan\b|\bNone\b|\ufffd", text)
    assert len(text) < 400_000


def test_the_words_carry_the_numbers(written):
    visible = "".join(Outline(written.read_text()).text)
    assert "3 finished" not in visible
    assert "15 finished runs, 3 seeds asked for" in visible
    assert "lower: random" in visible
    assert "Smallest true difference to l2-mbp that a sweep of this size detects" in visible
    assert "over 3 seeds" in visible
    assert "corrected for the family" in visible
    assert "is not shown to equal the baseline" in visible
    assert "python -m alignreg_jax.sweep --config configs/table1_demo.py" in visible


def test_every_comparison_shows_its_p_in_every_format(written):
    with written.with_name("comparisons.csv").open() as file:
        records = list(csv.DictReader(file))
    names = {"p_seeds": "p over seeds", "p_examples": "p over examples"}
    markdown = written.with_name("table.md").read_text()
    page = written.read_text()
    assert "".join(f'<th scope="col">{name}</th>' for name in names.values()) in page
    lines = markdown.split(" | ".join(names.values()))[1].splitlines()[2:8]
    for record, line in zip(records, lines, strict=True):
        shown = [f"{float(record[name]):.4f}" if record[name] else "–" for name in names]
        shown = [text.replace("0.0000", "&lt; 0.0001") for text in shown]
        assert "".join(f"<td>{p}</td>" for p in shown) in page
        assert ("not tested" in line) == (record["tested"] == "false")
        assert (" yes " in line) == (record["differs"] == "true")


def test_a_probability_is_never_printed_as_nothing():
    assert [report._probability(p) for p in (float("nan"), 0.0, 0.00005, 1.0)] == [
        *("–", "< 0.0001", "0.0001", "1.0000")
    ]


def test_markdown_and_latex_say_the_same_as_the_page(written):
    markdown = written.with_name("table.md").read_text()
    visible = "".join(Outline(written.read_text()).text)
    cells = re.findall(r"\d+\.\d ± \d+\.\d", markdown)
    assert len(cells) == 5 * 4
    assert all(cell in visible for cell in cells)
    latex = written.with_name("table.tex").read_text()
    assert all(cell.replace(" ± ", r"\,$\pm$\,") in latex for cell in cells)
    body = [line for line in latex.splitlines() if not line.startswith("%")]
    assert all(line.isascii() for line in body)
    for text in (markdown, visible, latex):
        text = text.replace(r"\%", "%")
        assert (
            "Smallest true difference to l2-mbp that a sweep of this size detects at 80 %" in text
        )


def test_a_part_of_a_sweep_says_what_is_missing(tmp_path):
    runs = sweep_cases.write_runs(tmp_path / "runs", rows=("none", "l2-mbp"), save=False)
    failed = (("random on intents, seed 0", "loss is not finite at step <7>"),)
    facts = sweep_cases.facts(failed=failed, missing=5)
    path = write_sweep(tmp_path / "out", facts, runs)
    for name in ("table.html", "table.md", "table.tex"):
        text = path.with_name(name).read_text().replace("&lt;", "<").replace("&gt;", ">")
        text = text.replace(r"\<", "<").replace(r"\>", ">")
        assert "Failed: random on intents, seed 0: loss is not finite at step <7>" in text
        assert "5 runs are missing; the table is of a part of the sweep" in text
    assert "–" in path.with_name("table.md").read_text()


def test_no_predictions_are_told(tmp_path):
    runs = sweep_cases.write_runs(tmp_path / "runs", save=False)
    path = write_sweep(tmp_path / "out", sweep_cases.facts(), runs)
    visible = "".join(Outline(path.read_text()).text)
    assert "Over examples: no test, so what is found holds for these test sets" in visible


def test_a_sweep_without_finished_runs_has_a_page(tmp_path):
    path = write_sweep(tmp_path, sweep_cases.facts(missing=15), [])
    assert {file.name for file in tmp_path.iterdir()} == FILES - {"table1.png"}
    visible = "".join(Outline(path.read_text()).text)
    assert "15 runs are missing" in visible


def test_text_from_outside_is_escaped(tmp_path):
    rows, tasks = ("l2-mbp", 'frobenius-mbp@pruning.scope="<b>_&"'), ("in_tents<i>",)
    runs = [
        sweep_cases.write_run(
            tmp_path / str(place), row, tasks[0], seed, sweep_cases.gold("x"), skill=(0.6, 0.5)
        )
        for place, (row, seed) in enumerate((row, seed) for row in rows for seed in (0, 1))
    ]
    changes = {"title": "<script>alert(1)</script>", "command": "run </code><b>"}
    facts = sweep_cases.facts(rows=rows, tasks=tasks, seeds=(0, 1), **changes)
    text = write_sweep(tmp_path / "out", facts, runs).read_text()
    assert not re.search(r"<script>alert|<b>|<i>", text)
    check_alone(text)
    assert Outline(text).headings[0] == "<script>alert(1)</script>"


def test_a_damaged_run_is_named_and_the_table_written(tmp_path):
    runs = sweep_cases.write_runs(tmp_path / "runs", rows=("l2-mbp", "random"), seeds=(0, 1))
    (runs[3].workdir / "results.csv").unlink()
    (runs[0].workdir / "predictions" / "2" / "de.test.txt").unlink()
    facts = sweep_cases.facts(rows=("l2-mbp", "random"), seeds=(0, 1))
    text = write_sweep(tmp_path / "out", facts, runs).with_name("table.md").read_text()
    assert "Failed: random on intents, seed 1: " in text
    assert "No test over examples for random: " in text
    assert "de.test.txt: no such file" in text


def test_dollars_and_stars_of_a_name_are_themselves_in_every_format(tmp_path):
    """A $ began a formula in the figures, * and _ emphasis in Markdown."""
    rows = ("l2-mbp", r"cosine-mbp@tracking.note=$\frac_a_*b*<i>#~^&%")
    runs = [
        sweep_cases.write_run(
            tmp_path / str(place), row, "intents", 0, sweep_cases.gold("x"), skill=(0.6, 0.5)
        )
        for place, row in enumerate(rows)
    ]
    facts = sweep_cases.facts(rows=rows, seeds=(0,))
    page = write_sweep(tmp_path / "out", facts, runs)
    assert "$\\frac_a_*b*" in "".join(Outline(page.read_text()).text)
    markdown = page.with_name("table.md").read_text()
    assert r"\$\\frac_a\_\*b\*\<i\>\#\~^\&%" in markdown
    latex = page.with_name("table.tex").read_text()
    assert r"\$\textbackslash{}frac\_a\_*b*\textless{}i\textgreater{}\#" in latex


def test_one_seed_speaks_of_no_interval(tmp_path):
    rows = ("l2-mbp", "cosine-mbp@regularizer.weight=1", "cosine-mbp@regularizer.weight=10")
    runs = [
        sweep_cases.write_run(
            tmp_path / str(place), row, "intents", 0, sweep_cases.gold("x"), skill=(0.6, 0.5)
        )
        for place, row in enumerate(rows)
    ]
    text = write_sweep(tmp_path / "out", sweep_cases.facts(rows=rows, seeds=(0,)), runs).read_text()
    visible = "".join(Outline(text).text)
    assert "Score against regularizer.weight" in visible
    assert "Bars are" not in visible
    assert "95 % interval (Student" not in visible
    assert "↑ ↓" not in visible  # there is no test
    assert "Over seeds: no test." in visible
