"""The tables of a run, as cells, and as text for a terminal, a model card or a page."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from alignreg_jax.reporting.results import Results
from alignreg_jax.reporting.series import curves, everywhere, mean_curve


@dataclass(frozen=True)
class Table:
    """Cells as text; every column but the first `names` ones holds numbers; notes come below."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1
    note: str = ""


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as percent without the sign; a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.{digits}f}"


def steps_table(results: Results) -> Table:
    """One line per pruning step: what remains, the means, the worst language, the retention."""
    steps = results["prune_steps"]
    common = everywhere(results)
    comparable = mean_curve(results, common)
    partial = not all(step["complete"] for step in steps)
    rows = []
    for position, step in enumerate(steps):
        worst = step["worst"]
        row = [
            str(step["prune_step"]),
            percent(step["remaining"]),
            str(step["evaluated"]),
            percent(step["en"]),
            percent(step["zero_shot_avg"]),
            percent(step["avg"]),
            f"{worst['language']} {percent(worst['value'])}" if worst else "–",
            percent(step["retention"]["en"]),
            percent(step["retention"]["zero_shot_avg"]),
            percent(step["retention_chance_corrected"]["zero_shot_avg"]),
        ]
        if partial:
            same = comparable.values[position] if comparable else None
            row.insert(5, percent(same))
        rows.append(row)
    header = ["step", "remaining", "languages", "en", "zero-shot", "avg", "worst"]
    header += ["en kept", "zero-shot kept", "above chance"]
    note = (
        "All in percent. Zero-shot: mean over the languages other than English; kept (retention):"
        " score divided by the dense score over the same languages; above chance: the same after"
        f" subtracting chance ({percent(results['chance'])}) from both."
    )
    if partial:
        header.insert(5, f"same {len(common)}")
        note += (
            " Where fewer languages were evaluated, means and worst are over those; to compare"
            f" steps, read “same {len(common)}”, the mean over"
            f" {', '.join(common) or 'no language'}."
        )
    return Table(header, rows, 1, note)


def languages_table(results: Results) -> Table:
    """One line per language: dense, after the last step, and what is kept; worst losses first."""
    last = results["prune_steps"][-1]
    kept, above_chance = last["retention"], last["retention_chance_corrected"]
    rows = []
    for curve in curves(results):
        dense, final = curve.values[0], curve.values[-1]
        at_last = curve.language in last["languages"]
        rows.append(
            [
                curve.language,
                percent(dense),
                percent(final if at_last else None),
                f"{100 * (final - dense):+.1f}" if at_last else "–",
                percent(kept["languages"].get(curve.language)),
                percent(above_chance["languages"].get(curve.language)),
            ]
        )
    header = ["language", "dense", f"at {percent(last['remaining'], 0)} %", "change"]
    header += ["retention", "above chance"]
    return Table(header, rows, 1, "")


def text_table(table: Table) -> str:
    """The table for a terminal: aligned columns, a rule under the header, no note."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]

    def join(line: Sequence[str]) -> str:
        cells = zip(line, widths, strict=True)
        return "  ".join(
            cell.ljust(width) if column < table.names else cell.rjust(width)
            for column, (cell, width) in enumerate(cells)
        ).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([join(table.header), rule, *(join(line) for line in table.rows)]) + "\n"


def markdown_table(table: Table) -> str:
    """The table as GitHub-flavoured Markdown, without its note."""
    align = ["---" if column < table.names else "---:" for column in range(len(table.header))]
    lines = [table.header, align, *table.rows]
    return "\n".join("| " + " | ".join(_markdown(c) for c in line) + " |" for line in lines) + "\n"


def html_table(table: Table, caption: str) -> str:
    """The table as HTML; the first columns are row headers, the note comes below."""

    def cells(line: Sequence[str], kind: str | None = None) -> str:
        found = []
        for column, cell in enumerate(line):
            name = column < table.names
            tag = kind or ("th" if name else "td")
            scope = {"th": ' scope="col"' if kind else ' scope="row"'}.get(tag, "")
            align = ' class="name"' if name else ""
            found.append(f"<{tag}{scope}{align}>{html.escape(cell)}</{tag}>")
        return "<tr>" + "".join(found) + "</tr>"

    body = "\n".join(cells(line) for line in table.rows)
    note = f'<p class="note">{html.escape(table.note)}</p>\n' if table.note else ""
    return (
        f'<div class="scroll"><table>\n<caption>{html.escape(caption)}</caption>\n'
        f"<thead>{cells(table.header, 'th')}</thead>\n<tbody>\n{body}\n</tbody>"
        f"</table></div>\n{note}"
    )


def _markdown(cell: str) -> str:
    return cell.replace("|", "\\|")
