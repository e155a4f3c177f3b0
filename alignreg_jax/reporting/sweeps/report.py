"""Every file of a sweep's table: text for people, records for programs, one page with it all."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from alignreg_jax.reporting import page
from alignreg_jax.reporting.svg import inline_svg, png
from alignreg_jax.reporting.sweeps import drawings, formats, notes, records
from alignreg_jax.reporting.sweeps.cells import Cells, read_cells
from alignreg_jax.reporting.sweeps.comparisons import Comparison, compare
from alignreg_jax.reporting.sweeps.runs import FinishedRun, Sweep, SweepFacts, read_sweep
from alignreg_jax.reporting.sweeps.table import Grid, grids
from alignreg_jax.reporting.tables import Table, html_table, markdown_table, percent
from alignreg_jax.reporting.tracking import atomic_write

PAGE_FILE = "table.html"
PICTURE_FILE = "table1.png"


class Content(NamedTuple):
    """All that the table, the figures and the words are made of."""

    sweep: Sweep
    cells: Cells
    comparisons: Sequence[Comparison]
    grids: Sequence[Grid]
    drawings: Sequence[drawings.Drawing]


def write_sweep(folder: Path, facts: SweepFacts, runs: Sequence[FinishedRun]) -> Path:
    """Write the table of the runs that are finished; returns `folder`/table.html.

    Beside it: table.md, table.csv, table.tex, results.csv, comparisons.csv, and the first figure
    as table1.png. A table of a part of the sweep is allowed, and says what is missing.

    Raises:
        UserError: a file of a run is missing or damaged, or does not fit the others.
    """
    sweep = read_sweep(facts, runs)
    cells, comparisons = read_cells(sweep), compare(sweep)
    tables = grids(sweep, cells, comparisons)
    content = Content(sweep, cells, comparisons, tables, drawings.figures(sweep, cells))
    files: dict[str, str | bytes] = {
        "results.csv": records.results_csv(sweep.runs),
        "table.csv": records.table_csv(facts, cells, comparisons),
        "comparisons.csv": records.comparisons_csv(comparisons),
        "table.md": markdown(content),
        "table.tex": latex(content),
        PAGE_FILE: html(content),
    }
    if content.drawings:
        files[PICTURE_FILE] = png(content.drawings[0].figure)
    else:
        (folder / PICTURE_FILE).unlink(missing_ok=True)  # of an earlier table
    for name, text in files.items():
        atomic_write(folder / name, text)
    return folder / PAGE_FILE


def markdown(content: Content) -> str:
    """The text of table.md."""
    sweep, comparisons = content.sweep, content.comparisons
    parts = [f"# {sweep.facts.title}", notes.finding(sweep, comparisons)]
    for grid in content.grids:
        parts += [f"**{grid.title}**", formats.markdown(grid)]
    parts += notes.below_table(sweep, content.cells, comparisons)
    missing = notes.not_in_table(sweep)
    if missing:
        parts += ["## Not in the table", "\n".join(f"- {line}" for line in missing)]
    parts += ["## What survives a test", *notes.tests(sweep, comparisons)]
    if comparisons:
        parts.append(markdown_table(comparison_table(sweep, comparisons)))
    parts += ["## How it was made", f"```\n{sweep.facts.command}\n```"]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def latex(content: Content) -> str:
    """The text of table.tex: tables with captions; what the tests say is in comments."""
    sweep, title = content.sweep, content.sweep.facts.title
    below = notes.below_table(sweep, content.cells, content.comparisons)
    words = [
        f"{title}: {sweep.facts.command}",
        "Needs booktabs, and graphicx where a table is shrunk to the page.",
        *notes.not_in_table(sweep),
        *notes.tests(sweep, content.comparisons),
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
    body += page.paragraph(notes.finding(sweep, comparisons), "finding")
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
    words = [page.paragraph(text) for text in notes.tests(sweep, comparisons)]
    if comparisons:
        caption = f"Zero-shot mean, row minus {facts.baseline}, in percentage points"
        words.append(html_table(comparison_table(sweep, comparisons), caption))
    body += page.section("What survives a test", *words)
    body += page.section("How it was made", page.code(facts.command))
    return page.page(f"{facts.title} · alignreg_jax", body)


def comparison_table(sweep: Sweep, comparisons: Sequence[Comparison]) -> Table:
    """Every comparison as text: differences in percentage points, each p and after Holm."""
    many = len(sweep.facts.tasks) > 1
    rows = []
    for found in comparisons:
        interval = "–"
        if found.low is not None and found.high is not None:
            interval = f"{100 * found.low:+.2f} … {100 * found.high:+.2f}"
        rows.append(
            [
                found.row,
                *([sweep.facts.column(found.task)] if many else []),
                f"{percent(found.remaining, 0)} %",
                f"{100 * found.difference:+.2f}",
                interval,
                _probability(found.p_seeds),
                _probability(found.p_seeds_holm),
                _probability(found.p),
                _probability(found.p_holm),
                f"yes {found.mark}" if found.survives else "no",
                str(found.seeds),
                str(found.examples or "–"),
            ]
        )
    header = ["row", *(["task"] if many else []), "remaining", "difference", "95 % over seeds"]
    header += ["p over seeds", "p over seeds, Holm", "p over examples", "p over examples, Holm"]
    header += ["survives", "seeds", "examples"]
    return Table(header, rows, 2 if many else 1)


def _probability(p: float | None) -> str:
    if p is None:
        return "–"
    return f"{p:.4f}" if p >= 0.00005 else "< 0.0001"  # of equal differences it is 0


def _lead(sweep: Sweep) -> str:
    facts = sweep.facts
    tasks = ", ".join(map(facts.column, facts.tasks))
    readings = " and ".join(f"{percent(at, 0)} %" for at in facts.remaining)
    text = f"{len(facts.rows)} rows on {tasks}; {notes.count(len(sweep.runs), 'finished run')},"
    text += f" {notes.count(len(facts.seeds), 'seed')} asked for. Fine-tuned on English, pruned"
    return text + f" step by step, and read at {readings} of the encoder’s weights."


def _drawing(drawing: drawings.Drawing) -> str:
    figure = inline_svg(drawing.figure, drawing.name, drawing.spoken)
    return page.drawing(figure, drawing.caption)
