"""What is made of made-up sweeps: cells, comparisons and tables, and how tests look at them."""

import json
import re

import sweep_cases

from alignreg_jax.reporting import page
from alignreg_jax.reporting.sweeps import words
from alignreg_jax.reporting.sweeps.cells import (
    PLACE,
    read_cells,
)
from alignreg_jax.reporting.sweeps.comparisons import compare, powers
from alignreg_jax.reporting.sweeps.runs import read_sweep
from alignreg_jax.reporting.sweeps.table import grids


def everything(runs, **changes):
    sweep = read_sweep(sweep_cases.facts(**changes), runs)
    cells = read_cells(sweep)
    found = compare(sweep, cells)
    return sweep, cells, found, grids(sweep, cells, found)


def told_of(sweep, cells, found):
    """What was tested, as text."""
    return " ".join(words.tests(sweep, found, powers(sweep, cells)))


def column(grid, index):
    """A column of numbers, by row; columns without the names are counted from 0."""
    return {row: entries[index] for row, *entries in grid.rows}


def names_of(grid):
    return grid.header[1:]


def seeds_of(cells, *place):
    """The numbers of a place by seed."""
    found = cells.set_index([*PLACE]).sort_index().loc[[place]]
    return dict(zip(found.seed, found.value, strict=True))


def html_grid(grid):
    return page.page("", "", [page.table(grid)], [])


def results(sweep, row, task):
    """results.json of the runs of a row, by seed."""
    return [
        json.loads((run.workdir / "results.json").read_text())
        for (of, on, _), run in sweep.sources.items()
        if (of, on) == (row, task)
    ]


def check_latex(text):
    """Environments nest, braces and dollars balance, every line has as many cells, all is ASCII."""
    assert text.isascii()
    bare = re.sub(r"\\[\\{}$%&#_]", "", text)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", text):
        assert kind == "begin" or opened.pop() == name
        opened += [name] if kind == "begin" else []
    assert opened == []
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1])
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert body
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in body} == {columns}
