"""Every file of a sweep's table: text for people, records for programs, one page with it all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from alignreg_jax.reporting import page
from alignreg_jax.reporting.svg import inline_svg, png
from alignreg_jax.reporting.sweeps import drawings, formats, notes, records, verdict
from alignreg_jax.reporting.sweeps.cells import Cells, read_cells
from alignreg_jax.reporting.sweeps.comparisons import Comparison, Power, compare, powers
from alignreg_jax.reporting.sweeps.runs import FinishedRun, Sweep, SweepFacts, read_sweep
from alignreg_jax.reporting.sweeps.table import Grid, grids
from alignreg_jax.reporting.tables import (
    Table,
    count,
    escape_markdown,
    html_table,
    markdown_table,
    percent,
)
from alignreg_jax.support.files import atomic_write

PAGE_FILE = "table.html"
PICTURE_FILE = "table1.png"


class Content(NamedTuple):
    """All that the table, the figures and the words are made of."""

    sweep: Sweep
    cells: Cells
    comparisons: Sequence[Comparison]
    powers: Sequence[Power]
    grids: Sequence[Grid]
    drawings: Sequence[drawings.Drawing]


def write_sweep(folder: Path, facts: SweepFacts, runs: Sequence[FinishedRun]) -> Path:
    """Write the table of the runs that are finished; returns `folder`/table.html.

    Beside it: table.md, table.csv, table.tex, results.csv, comparisons.csv, and the first figure
    as table1.png. A table of a part of the sweep is allowed, and says what is missing.

    A run with a damaged file drops out and is named.

    Raises:
        UserError: runs that do not belong into one table.
    """
    sweep = read_sweep(facts, runs)
    results = records.results_csv(sweep.runs)
    return write_tables(folder, sweep, {"results.csv": results})


def write_tables(
    folder: Path, sweep: Sweep, files: Mapping[str, str] = MappingProxyType({})
) -> Path:
    """Write every file but results.csv, and `files` with them; returns `folder`/table.html."""
    cells = read_cells(sweep)
    comparisons, detectable = compare(sweep, cells), powers(sweep, cells)
    tables, figures = grids(sweep, cells, comparisons), drawings.figures(sweep, cells)
    content = Content(sweep, cells, comparisons, detectable, tables, figures)
    written: dict[str, str | bytes] = {
        **files,
        "table.csv": records.table_csv(sweep.facts, cells, comparisons),
        "comparisons.csv": records.comparisons_csv(comparisons, detectable),
        "table.md": markdown(content),
        "table.tex": latex(content),
        PAGE_FILE: html(content),
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
    sweep, comparisons = content.sweep, content.comparisons
    escape = escape_markdown
    parts = [f"# {escape(sweep.facts.title)}"]
    parts.append(escape(verdict.finding(sweep, comparisons, content.powers)))
    for grid in content.grids:
        parts += [f"**{escape(grid.title)}**", formats.markdown(grid)]
    parts += map(escape, notes.below_table(sweep, content.cells, comparisons))
    missing = notes.not_in_table(sweep)
    if missing:
        parts += ["## Not in the table", "\n".join(f"- {escape(line)}" for line in missing)]
    parts += ["## What differs"]
    parts += map(escape, verdict.tests(sweep, comparisons, content.powers))
    if comparisons:
        parts.append(markdown_table(comparison_table(sweep, comparisons)))
    parts += ["## How it was made", f"```\n{sweep.facts.command}\n```"]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def latex(content: Content) -> str:
    """The text of table.tex: tables with captions; what the tests say is in comments."""
    sweep, title = content.sweep, content.sweep.facts.title
    below = notes.below_table(sweep, content.cells, content.comparisons)
    below += verdict.detectable_notes(sweep, content.powers)
    words = [
        f"{title}: {sweep.facts.command}",
        "Needs booktabs, and graphicx where a table is shrunk to the page.",
        *notes.not_in_table(sweep),
        *verdict.tests(sweep, content.comparisons, content.powers),
    ]
    comments = "".join(f"% {' '.join(text.split())}\n" for text in words)
    caption = " ".join(below)
    tables = [formats.latex(grid, f"{title} {grid.title}", caption) for grid in content.grids]
    return "\n".join([comments, *tables])


def html(content: Content) -> str:
    """The text of table.html; the same input gives the same text."""
    sweep, comparisons, facts = content.sweep, content.comparisons, content.sweep.facts
    body = f"<header>\n<h1>{page.html.escape(facts.title)}</h1>\n"
    body += page.paragraph(_lead(sweep), "lead") + "</header>\n"
    body += page.paragraph(verdict.finding(sweep, comparisons, content.powers), "finding")
    below = notes.below_table(sweep, content.cells, comparisons)
    body += page.section(
        "The table",
        *map(page.paragraph, notes.not_in_table(sweep)),
        *map(formats.html_grid, content.grids),
        *(page.paragraph(text, "note") for text in below),
    )
    for section in dict.fromkeys(drawing.section for drawing in content.drawings):
        shown = [drawing for drawing in content.drawings if drawing.section == section]
        body += page.section(section, *map(_drawing, shown))
    words = [page.paragraph(text) for text in verdict.tests(sweep, comparisons, content.powers)]
    if comparisons:
        caption = f"Zero-shot mean, row minus {facts.baseline}, in percentage points"
        words.append(html_table(comparison_table(sweep, comparisons), caption))
    body += page.section("What differs", *words)
    body += page.section("How it was made", page.code(facts.command))
    return page.page(f"{facts.title} · alignreg_jax", body)


def comparison_table(sweep: Sweep, comparisons: Sequence[Comparison]) -> Table:
    """Every comparison as text: differences in percentage points, and p of the tested ones."""
    many = len(sweep.facts.tasks) > 1
    rows = []
    for found in comparisons:
        interval = "–"
        if found.low is not None and found.high is not None:
            interval = f"{100 * found.low:+.2f} … {100 * found.high:+.2f}"
        verdict = "no" if found.p_seeds is not None else "–"
        rows.append(
            [
                found.row,
                *([verdict.column(sweep, found.task)] if many else []),
                f"{percent(found.remaining, 0)} %",
                f"{100 * found.difference:+.2f}",
                interval,
                _probability(found.p_seeds),
                _probability(found.p_examples),
                (f"yes {found.mark}" if found.differs else verdict)
                if found.tested
                else "not tested",
                str(found.seeds),
                str(found.examples or "–"),
            ]
        )
    header = ["row", *(["task"] if many else []), "remaining", "difference", "95 % interval"]
    header += ["p over seeds", "p over examples", "differs", "seeds", "examples"]
    return Table(header, rows, 2 if many else 1)


def _probability(p: float | None) -> str:
    if p is None:
        return "–"
    return f"{p:.4f}" if p >= 0.00005 else "< 0.0001"


def _lead(sweep: Sweep) -> str:
    facts = sweep.facts
    tasks = ", ".join(map(facts.column, facts.tasks))
    readings = " and ".join(f"{percent(at, 0)} %" for at in facts.remaining)
    text = f"{len(facts.rows)} rows on {tasks}; {count(len(sweep.runs), 'finished run')},"
    text += f" {count(len(facts.seeds), 'seed')} asked for. Fine-tuned on English, pruned"
    return text + f" step by step, and read at {readings} of the encoder’s weights."


def _drawing(drawing: drawings.Drawing) -> str:
    figure = inline_svg(drawing.figure, drawing.name, drawing.spoken)
    return page.drawing(figure, drawing.caption)
