"""A grid as Markdown, HTML or LaTeX."""

import html
import re
from itertools import groupby

from alignreg_jax.reporting.sweeps.table import Column, Entry, Grid
from alignreg_jax.reporting.tables import escape_markdown, markdown_lines

_LATEX = {
    **{"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}"},
    **{"^": r"\textasciicircum{}", "–": "--", "±": r"$\pm$", "λ": r"$\lambda$"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{character: f"\\{character}" for character in "&%$#_"},
    **{"↑": r"$^{\uparrow}$", "↓": r"$^{\downarrow}$", "’": "'", "“": "``", "”": "''"},
}
_WIDE = 6  # columns of numbers that fit a page at their own size


def markdown(grid: Grid) -> str:
    """The grid as GitHub-flavoured Markdown; its title is not in it."""
    names = (" ".join(filter(None, (column.group, column.name))) for column in grid.columns)
    lines = [[escape_markdown(row), *map(_markdown, entries)] for row, entries in grid.rows]
    return markdown_lines(["", *map(escape_markdown, names)], lines)


def _markdown(entry: Entry) -> str:
    return (f"**{entry.text}**" if entry.best else entry.text) + (f" {entry.mark}".rstrip())


def html_grid(grid: Grid) -> str:
    """The grid as HTML, the title as its caption."""
    groups = [
        f'<th scope="colgroup" colspan="{size}" style="text-align: center">{html.escape(name)}</th>'
        for name, size in _groups(grid)
    ]
    top = f"<tr><th></th>{''.join(groups)}</tr>" if any(c.group for c in grid.columns) else ""
    names = "".join(
        f'<th scope="col"{_muted(column)}>{html.escape(column.name)}</th>'
        for column in grid.columns
    )
    body = "\n".join(
        f'<tr><th scope="row" class="name">{html.escape(row)}</th>'
        + "".join(
            f"<td{_muted(column)}>{_html(entry)}</td>"
            for column, entry in zip(grid.columns, entries, strict=True)
        )
        + "</tr>"
        for row, entries in grid.rows
    )
    return (
        f'<div class="scroll"><table>\n<caption>{html.escape(grid.title)}</caption>\n'
        f"<thead>{top}<tr><th></th>{names}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
    )


def _html(entry: Entry) -> str:
    text = html.escape(entry.text)
    text = f"<strong>{text}</strong>" if entry.best else text
    # A place for the arrow in every cell: digits stay under digits.
    return f'{text}<span style="display: inline-block; width: 0.9em">{entry.mark}</span>'


def _muted(column: Column) -> str:
    return ' style="color: var(--muted)"' if column.paper else ""


def _groups(grid: Grid) -> list[tuple[str, int]]:
    """Neighbouring columns under one name: (name, how many)."""
    return [(name, len(list(found))) for name, found in groupby(c.group for c in grid.columns)]


def latex(grid: Grid, label: str, note: str = "") -> str:
    r"""The grid as a LaTeX table with booktabs; wide ones need graphicx and shrink to the page.

    `label` is made into the one to refer to; `note` follows the title in the caption.
    """
    wide = len(grid.columns) > _WIDE
    environment = "table*" if wide else "table"
    lines = [rf"\begin{{{environment}}}[t]", r"\centering", r"\small"]
    lines += [r"\resizebox{\textwidth}{!}{%"] if wide else []
    lines += [rf"\begin{{tabular}}{{l{'r' * len(grid.columns)}}}", r"\toprule"]
    if any(column.group for column in grid.columns):
        lines += _latex_groups(grid)
    names = "".join(f" & {escape_latex(column.name)}" for column in grid.columns)
    lines += [rf"{names} \\", r"\midrule"]
    for row, entries in grid.rows:
        cells = "".join(f" & {_latex(entry)}" for entry in entries)
        lines.append(rf"{escape_latex(row)}{cells} \\")
    lines += [r"\bottomrule", r"\end{tabular}" + ("}" if wide else "")]
    caption = f"{grid.title}. {note}" if note else grid.title
    lines += [rf"\caption{{{escape_latex(caption)}}}", rf"\label{{tab:{_label(label)}}}"]
    return "\n".join([*lines, rf"\end{{{environment}}}"]) + "\n"


def _latex(entry: Entry) -> str:
    text = escape_latex(entry.text).replace(r" $\pm$ ", r"\,$\pm$\,")
    return (rf"\textbf{{{text}}}" if entry.best else text) + escape_latex(entry.mark)


def _latex_groups(grid: Grid) -> list[str]:
    spans, rules, column = [], [], 2
    for name, size in _groups(grid):
        spans.append(rf" & \multicolumn{{{size}}}{{c}}{{{escape_latex(name)}}}")
        rules.append(rf"\cmidrule(lr){{{column}-{column + size - 1}}}")
        column += size
    return [f"{''.join(spans)} \\\\", "".join(rules)]


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in text)


def _label(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
