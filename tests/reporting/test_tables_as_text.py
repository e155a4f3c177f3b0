"""A table as Markdown, HTML and LaTeX."""

import re

from table_cases import check_latex, html_grid

from alignreg_jax.reporting import tables
from alignreg_jax.reporting.tables import Entry, Table

GRID = Table(
    ["", "a_b", "paper"],
    [
        ["cosine-mbp@regularizer.weight=1e+02", Entry("50.0 ± 1.0", "↑", best=True), Entry("–")],
        ["<script>|", Entry("25.0", "↓"), Entry("64.30")],
    ],
    title="odd & names_100% {of} $x$ \\ ~^#",
    groups=["", "31 %", "31 %"],
    muted=[2],
)


def test_markdown_is_a_table_with_emphasis_and_marks():
    lines = tables.markdown_table(GRID).splitlines()
    assert lines[0] == "|  | 31 % a_b | 31 % paper |"
    assert lines[2] == "| cosine-mbp@regularizer.weight=1e+02 | **50.0 ± 1.0** ↑ | – |"
    assert lines[3] == "| \\<script\\>\\| | 25.0 ↓ | 64.30 |"


def test_html_has_emphasis_marks_and_no_markup_from_names():
    text = html_grid(GRID)
    assert '<strong>50.0 <span class="half">± 1.0</span></strong>' in text
    assert "↑" in text
    assert "<script>|" not in text
    assert 'colspan="2"' in text
    assert len(re.findall("<tr", text)) == len(re.findall("</tr>", text)) == 4


def test_latex_escapes_and_balances():
    text = tables.latex_table(GRID, "Sweep 31 %")
    assert r"\textbf{50.0\,$\pm$\,1.0}$^{\uparrow}$ & --" in text
    assert r"cosine-mbp@regularizer.weight=1e+02 &" in text
    assert r"\textless{}script\textgreater{}\textbar{} &" in text
    assert r"odd \& names\_100\% \{of\} \$x\$ \textbackslash{} \textasciitilde{}" in text
    assert r"\label{tab:sweep-31}" in text
    assert r"\multicolumn{2}{c}{31 \%}" in text
    assert r"\cmidrule(lr){2-3}" in text
    check_latex(text)


def test_a_wide_table_shrinks_to_the_page():
    wide = [["row", *[Entry("50.0")] * 12]]
    text = tables.latex_table(Table(["", *map(str, range(12))], wide, title="wide"), "w")
    assert text.count(r"\resizebox{\textwidth}{!}{%") == 1
    assert r"\end{tabular}}" in text
    assert r"\end{table*}" in text
    check_latex(text)
