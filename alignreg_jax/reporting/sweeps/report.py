"""Every file of a sweep's table: text for people, records for programs, one page with it all."""

import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd

from alignreg_jax.reporting import served
from alignreg_jax.reporting.page import Part, Section, drawing, page, paragraph, table
from alignreg_jax.reporting.rendering import environment
from alignreg_jax.reporting.svg import png
from alignreg_jax.reporting.sweeps import drawings, records, words
from alignreg_jax.reporting.sweeps.cells import ENGLISH, read_cells
from alignreg_jax.reporting.sweeps.comparisons import compare, powers
from alignreg_jax.reporting.sweeps.runs import FinishedRun, Sweep, SweepFacts, read_sweep
from alignreg_jax.reporting.sweeps.table import grids
from alignreg_jax.reporting.tables import (
    Entry,
    Table,
    count,
    escape_markdown,
    latex_table,
    markdown_table,
    percent,
)
from alignreg_jax.support.files import atomic_write

PAGE_FILE = "table.html"
PICTURE_FILE = "table1.png"
_SHORT = 700  # letters that may be large


class Content(NamedTuple):
    """All that the files are made of: tables, figures, and the paragraphs of `words`."""

    sweep: Sweep
    grids: Sequence[Table]
    compared: Table | None
    drawings: Sequence[drawings.Drawing]
    finding: str
    below: Sequence[str]
    missing: Sequence[str]
    tests: Sequence[str]
    detectable: Sequence[str]


def write_sweep(folder: Path, facts: SweepFacts, runs: Sequence[FinishedRun]) -> Path:
    """Write the table of the runs that are finished; returns `folder`/table.html.

    Beside it: table.md, table.csv, table.tex, results.csv, comparisons.csv, and the first figure
    as table1.png. A table of a part of the sweep is allowed, and says what is missing.

    A run with a damaged file drops out and is named.

    Raises:
        UserError: runs that do not belong into one table.
    """
    sweep = read_sweep(facts, runs)
    atomic_write(folder / "results.csv", records.csv(sweep.records))
    return write_tables(folder, sweep)


def write_tables(folder: Path, sweep: Sweep) -> Path:
    """Write every file but results.csv; returns `folder`/table.html."""
    cells = read_cells(sweep)
    comparisons, detectable = compare(sweep, cells), powers(sweep, cells)
    content = Content(
        sweep,
        grids(sweep, cells, comparisons),
        comparison_table(sweep, comparisons) if len(comparisons) else None,
        drawings.figures(sweep, cells),
        words.finding(sweep, comparisons, detectable),
        words.below_table(sweep, cells, comparisons),
        words.not_in_table(sweep),
        words.tests(sweep, comparisons, detectable),
        words.detectable_notes(sweep, detectable),
    )
    written: dict[str, str | bytes] = {
        "table.csv": records.table_csv(sweep.facts, cells, comparisons),
        "comparisons.csv": records.comparisons_csv(comparisons, detectable),
        "table.md": markdown(content),
        "table.tex": latex(content),
        PAGE_FILE: html(content, folder),
    }
    if content.drawings:
        written[PICTURE_FILE] = png(content.drawings[0].figure)
    else:
        (folder / PICTURE_FILE).unlink(missing_ok=True)  # of an earlier table
    for name, text in written.items():
        atomic_write(folder / name, text)
    return folder / PAGE_FILE


def markdown(content: Content) -> str:
    """The text of table.md."""
    known = {**content._asdict(), "facts": content.sweep.facts}
    template = environment().get_template("table.md")
    return template.render(known, escape=escape_markdown, table=markdown_table)


def latex(content: Content) -> str:
    """The text of table.tex: tables with captions; what the tests say is in comments."""
    facts = content.sweep.facts
    remarks = [
        f"{facts.title}: {facts.command}",
        "Needs booktabs, and graphicx where a table is shrunk to the page.",
        *content.missing,
        *content.tests,
    ]
    comments = "".join(f"% {' '.join(text.split())}\n" for text in remarks)
    caption = " ".join([*content.below, *content.detectable])
    tables = [latex_table(grid, f"{facts.title} {grid.title}", caption) for grid in content.grids]
    return "\n".join([comments, *tables])


def html(content: Content, folder: Path) -> str:
    """The text of table.html; the same input gives the same text.

    `folder` is where it will be, for the links to its runs.
    """
    sweep, facts = content.sweep, content.sweep.facts
    (lead,) = words.say("lead", sweep)
    first = paragraph(content.finding, "finding" if len(content.finding) < _SHORT else "")
    parts = [
        *map(paragraph, content.missing),
        *map(table, content.grids),
        *(paragraph(text, "note") for text in content.below),
        *_runs(sweep, folder),
    ]
    sections: list[Section] = [("The table", parts)]
    for section, shown in groupby(content.drawings, key=lambda one: one.section):
        figures = [drawing(one.figure, one.name, one.spoken, one.caption) for one in shown]
        sections.append((section, figures))
    for task in sweep.tasks:
        on_it = [(row, one.workdir) for (row, of, _), one in sweep.sources.items() if of == task]
        heading = f"As they are served{f': {facts.column(task)}' if len(sweep.tasks) > 1 else ''}"
        sections.append((heading, served.several(on_it, f"served{facts.tasks.index(task)}x")))
    differs = [*map(paragraph, content.tests)]
    if content.compared:
        caption = f"Zero-shot mean, row minus {facts.baseline}, in percentage points"
        differs.append(table(content.compared, caption))
    sections += [("What differs", differs), ("How it was made", [Part("code", facts.command)])]
    return page(facts.title, lead, [first], sections)


def _runs(sweep: Sweep, folder: Path) -> list[Part]:
    """A link to the report of every run that has one."""
    rows: list[list[str | Entry]] = []
    for (row, task, seed), run in sweep.sources.items():
        report = run.workdir / "report.html"
        if report.exists():
            href = quote(Path(os.path.relpath(report, folder)).as_posix())
            last = sweep.evaluations[task].loc[row, seed].iloc[-1]
            others = last.drop(ENGLISH, errors="ignore").mean()
            scores = map(percent, (last.name[1], last.get(ENGLISH), others))
            link = Entry("report", href=href)
            rows.append([row, sweep.facts.column(task), str(seed), *scores, link])
    header = ["row", "task", "seed", "remaining", "en", "zero-shot", ""]
    shown = table(Table(header, rows, 2), "Every run, after its last step (%)")
    return [Part("closed", shown, f"Reports of {count(len(rows), 'run')}")] if rows else []


def comparison_table(sweep: Sweep, comparisons: pd.DataFrame) -> Table:
    """Every comparison as text: differences in percentage points, and p of the tested ones."""
    points = 100 * comparisons[["difference", "low", "high"]]
    known = comparisons.p_seeds.notna()
    differs = np.where(comparisons.differs, "yes " + comparisons.mark, np.where(known, "no", "–"))
    ends = zip(points.low, points.high, strict=True)
    shown = {
        "row": comparisons.row,
        "task": [words.column(sweep, task) for task in comparisons.task],
        "remaining": [f"{percent(at, 0)} %" for at in comparisons.remaining],
        "difference": points.difference.map("{:+.2f}".format),
        "95 % interval": [f"{a:+.2f} … {b:+.2f}" if a == a else "–" for a, b in ends],
        "p over seeds": comparisons.p_seeds.map(_probability),
        "p over examples": comparisons.p_examples.map(_probability),
        "differs": np.where(comparisons.tested, differs, "not tested"),
        "seeds": comparisons.seeds.map(str),
        "examples": [str(many or "–") for many in comparisons.examples],
    }
    if len(sweep.facts.tasks) == 1:
        del shown["task"]
    rows = [list(map(str, row)) for row in zip(*shown.values(), strict=True)]
    return Table([*shown], rows, 1 + ("task" in shown))


def _probability(p: float) -> str:
    if np.isnan(p):
        return "–"
    return f"{p:.4f}" if p >= 0.00005 else "< 0.0001"
