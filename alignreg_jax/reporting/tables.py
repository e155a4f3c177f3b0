"""A table as cells, and as text for a terminal, Markdown or LaTeX; page.html has it as HTML."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from alignreg_jax.reporting.rendering import latex

if TYPE_CHECKING:  # a run would wait for it
    import pandas as pd

_LATEX = {
    **{"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}"},
    **{"^": r"\textasciicircum{}", "–": "--", "±": r"$\pm$", "λ": r"$\lambda$"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{character: f"\\{character}" for character in "&%$#_"},
    **{"↑": r"$^{\uparrow}$", "↓": r"$^{\downarrow}$", "’": "'", "“": "``", "”": "''"},
}


class Entry(NamedTuple):
    """A cell that is more than its text."""

    text: str
    mark: str = ""
    best: bool = False
    href: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.mark}".rstrip()


@dataclass(frozen=True)
class Table:
    """Cells by row; all but the first `names` columns hold numbers.

    `note` comes below, `groups` are names that neighbouring columns share above theirs, `muted` are
    the columns that are not ours.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | Entry]]
    names: int = 1
    note: str = ""
    title: str = ""
    groups: Sequence[str] = ()
    muted: Sequence[int] = ()

    @classmethod
    def of(cls, lines: Sequence[Mapping[str, str | Entry]], note: str = "") -> "Table":
        """A table of lines that are {heading: cell}, all with the same headings."""
        return cls([*lines[0]], [[*line.values()] for line in lines], note=note)

    @classmethod
    def of_frame(cls, cells: "pd.DataFrame", note: str = "") -> "Table":
        """A table of texts, whose index holds the names of its lines and the heading over them."""
        rows = [[str(name), *line] for name, *line in cells.itertuples()]
        return cls([str(cells.index.name), *cells], rows, note=note)

    def spans(self) -> list[tuple[str, int]]:
        """Neighbouring columns under one name: (name, how many)."""
        return [(name, len(list(found))) for name, found in groupby(self.groups)]

    def ranges(self) -> list[tuple[int, int]]:
        """First and last column of each span but the first, counted from 1."""
        ends = list(accumulate(size for _, size in self.spans()))
        return [(start + 1, end) for start, end in pairwise(ends)]


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as percent without the sign; a dash where there is none."""
    if fraction is None or math.isnan(fraction):
        return "–"
    return f"{100 * fraction:.{digits}f}"


def with_half(value: float | None, half: float | None) -> str:
    """A score as percent with half the width of its interval, if it has one."""
    text, wide = percent(value), percent(half)
    return text if "–" in (text, wide) else f"{text} ± {wide}"


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """The same from the two ends."""
    return with_half(value, (interval[1] - interval[0]) / 2 if interval else None)


def count(number: int, noun: str) -> str:
    """A number with its noun in the right form."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def text_table(table: Table) -> str:
    """The table for a terminal: aligned columns, a rule under the header, no note."""
    lines = [list(map(str, line)) for line in (table.header, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    sides = ["<" if column < table.names else ">" for column in range(len(widths))]
    form = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    return "".join(f"{form.format(*line).rstrip()}\n" for line in lines)


def markdown_table(table: Table) -> str:
    """The table as GitHub-flavoured Markdown, without its title and note."""

    def cell(entry: str | Entry) -> str:
        text, mark, best, _ = entry if isinstance(entry, Entry) else Entry(entry)
        text = escape_markdown(text)
        return (f"**{text}**" if best else text) + f" {mark}".rstrip()

    groups = table.groups or [""] * len(table.header)
    header = [f"{group} {name}".strip() for group, name in zip(groups, table.header, strict=True)]
    align = ["---" if column < table.names else "---:" for column in range(len(header))]
    lines = [map(escape_markdown, header), align, *(map(cell, row) for row in table.rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex_table(table: Table, label: str, note: str = "") -> str:
    r"""The table for LaTeX with booktabs; wide ones need graphicx and shrink to the page.

    `label` is made into the one to refer to; `note` follows the title in the caption.
    """
    label = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
    caption = f"{table.title}. {note}" if note else table.title
    words = {"table": table, "caption": caption, "label": label}
    return latex().get_template("table.tex").render(words, tex=escape_latex, cell=_latex_cell)


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in text)


def escape_markdown(text: str) -> str:
    """Text that GitHub prints as it is: no emphasis, markup, formula or end of a cell."""
    return re.sub(r"[\\`*$<>|~#&\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def _latex_cell(entry: str | Entry) -> str:
    text, mark, best, _ = entry if isinstance(entry, Entry) else Entry(entry)
    text = escape_latex(text).replace(r" $\pm$ ", r"\,$\pm$\,")
    return (rf"\textbf{{{text}}}" if best else text) + escape_latex(mark)
