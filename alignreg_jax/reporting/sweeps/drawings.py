"""The figures of a sweep with their words: which are drawn, in which order, and what they show."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from alignreg_jax.reporting import charts, svg
from alignreg_jax.reporting.charts import DASHED, FULL, Axis, Panel, Series
from alignreg_jax.reporting.figures import COLOURS, MARKERS
from alignreg_jax.reporting.series import common_languages
from alignreg_jax.reporting.sweeps import lines
from alignreg_jax.reporting.sweeps.cells import ENGLISH, ZERO_SHOT, means
from alignreg_jax.reporting.sweeps.runs import Sweep
from alignreg_jax.reporting.sweeps.styles import FRONT, Style, row_styles
from alignreg_jax.reporting.tables import count, percent

_FEW = 3  # lines whose bands are shown whole
_ENGLISH = "English, the language trained on"


class Drawing(NamedTuple):
    """A figure: under which heading, its name in the page, its caption, and itself in words."""

    section: str
    name: str
    figure: Figure
    caption: str
    spoken: str


def figures(sweep: Sweep, cells: pd.DataFrame) -> list[Drawing]:
    """All figures of a sweep; the first is the one to show where there is room for one.

    That is score against remaining weights, or, where the rows are values of one number, score
    against that number.
    """
    styles = row_styles(sweep.facts.rows, sweep.facts.baseline, sweep.dense_rows)
    drawn = {task: lines.row_lines(sweep, task) for task in sweep.tasks}
    found = lines.family(sweep.facts.rows)
    answer = [_response(sweep, cells, found, task) for task in sweep.tasks] if found else []
    answer += [_overview(sweep, task, drawn[task], styles) for task in drawn]
    answer += [_languages(sweep, task, drawn[task], styles) for task in drawn]
    return [drawing for drawing in answer if drawing is not None]


# ---- Score against remaining weights ----------------------------------------------------------


def _overview(
    sweep: Sweep, task: str, drawn: Mapping[str, lines.Lines], styles: Mapping[str, Style]
) -> Drawing | None:
    facts, chance = sweep.facts, FULL * sweep.kinds[task].chance
    what = f"{facts.column(task)}, {sweep.metrics[task]} (%)"
    titles = {lines.MEAN: (f"zero-shot mean: {what}", 4.3), ENGLISH: (_ENGLISH, 2.9)}
    shown = {name: drawn[name] for name in titles if name in drawn}
    if not shown:
        return None
    grid, heights = [], []
    for name, found in shown.items():
        series = [_series(row, line, styles[row]) for row, line in found.items()]
        title, high = titles[name]
        limits = charts.levels(series, chance, whole=len(series) <= _FEW)
        grid.append([Panel(title, series, limits)])
        heights.append(max(high, 0.128 * len(series)))
    readings = [FULL * at for at in facts.remaining]
    axis = charts.remaining_axis(_places(shown, styles), readings)
    figure = charts.draw(grid, axis, heights, chance=chance, readings=readings)
    languages = common_languages(sweep.evaluations[task])
    many = count(len(languages), "zero-shot language")
    points = "A point is one run."
    if any((line.low != line.high).any() for found in shown.values() for line in found.values()):
        points = "A point is the mean over seeds, its band the 95 % interval (Student’s t), cut to"
        points += " 0 and 100."
        if max(map(len, shown.values())) > 6:
            points += " Bands of the thin lines show when a row is picked out."
    caption = (
        f"{facts.column(task)}: above, the mean over the {many} that every run evaluated at every"
        f" step ({', '.join(languages)}); below, English, on its own scale. {points} The axis is"
        " logarithmic, so that cuts by the same share are as far apart; hairlines stand where the"
        " table is read. At the right end, the last value of each row."
    )
    heading, name = "Score against remaining weights", _name("overview", task, sweep)
    return Drawing(heading, name, figure, caption, _spoken(what, drawn.get(lines.MEAN, {})))


def _series(row: str, line: pd.DataFrame, style: Style, *, small: bool = False) -> Series:
    x, y, low, high = (tuple(FULL * line[name]) for name in ("remaining", "mean", "low", "high"))
    if small:
        return Series(row, x, y, style.thin(), front=style.front, level=style.level)
    shown = {"end": style.name, "front": style.front, "level": style.level}
    ends = (low, high) if low != high and not style.level else (None, None)
    return Series(row, x, y, style.look(), *ends, **shown)


def _places(drawn: Mapping[str, lines.Lines], styles: Mapping[str, Style]) -> list[float]:
    """The percentages that are drawn; a level has none of its own."""
    found = [(row, line.remaining) for rows in drawn.values() for row, line in rows.items()]
    pruned = [at for row, at in found if not styles[row].level] or [at for _, at in found]
    return sorted({FULL * x for at in pruned for x in at})


def _spoken(what: str, found: lines.Lines) -> str:
    """The zero-shot panel in words, for those who cannot see it."""
    parts = []
    for row, line in found.items():
        ends = line.iloc[[0, -1]]
        (first, last), (at, end) = ends["mean"], ends.remaining
        parts.append(
            f"{row} {percent(first)} at {percent(at, 0)} percent remaining"
            f" and {percent(last)} at {percent(end, 0)}"
        )
    return f"Line chart of the zero-shot mean on {what}: {'; '.join(parts)}"


def _languages(
    sweep: Sweep, task: str, drawn: Mapping[str, lines.Lines], styles: Mapping[str, Style]
) -> Drawing | None:
    facts, chance = sweep.facts, FULL * sweep.kinds[task].chance
    found = {name: rows for name, rows in drawn.items() if name != lines.MEAN}
    if not found:
        return None
    panels = [
        Panel(name, [_series(row, line, styles[row], small=True) for row, line in rows.items()])
        for name, rows in found.items()
    ]
    axis = charts.remaining_axis(_places(found, styles), ends=True)
    shown = {row for rows in found.values() for row in rows}
    groups = {styles[row].group: styles[row] for row in styles if row in shown}
    order = sorted(groups, key=lambda group: not groups[group].front)
    legend = [(group, groups[group].thin()) for group in order]
    figure = charts.small(panels, axis, 1.15, chance, legend)
    caption = (
        f"{facts.column(task)}: {sweep.metrics[task]} (%) of every language, mean over seeds, a"
        f" line a row; English first, then the languages that {facts.baseline} loses most of."
    )
    if sweep.dense_rows:
        caption += " Dashed: not pruned."
    return Drawing("Every language", _name("languages", task, sweep), figure, caption, caption)


# ---- Score against one number, the regularizer's weight, say -----------------------------------


def _response(sweep: Sweep, cells: pd.DataFrame, family: lines.Family, task: str) -> Drawing | None:
    facts, grid = sweep.facts, []
    known = means(cells)
    known = known.loc[known.index.get_level_values("task") == task]
    values = {
        row: (method, value / family.default(method))
        for method, found in family.methods.items()
        for value, row in found
    }
    mine = known.loc[known.index.get_level_values("row").isin(values)]
    if not len(mine):
        return None
    used = [values[row] for row in mine.index.get_level_values("row")]
    methods = [method for method in family.methods if method in dict(used)]
    axis, zero = _multiples_axis({multiple for _, multiple in used}, family.field)
    for statistic, name in ((ZERO_SHOT, "zero-shot mean"), (ENGLISH, "English")):
        panels = []
        for at in facts.remaining:
            place = [row for row in values if (row, task, at, statistic) in mine.index]
            series = []
            for turn, method in enumerate(methods):
                rows = [row for row in place if values[row][0] == method]
                found = mine.loc[[(row, task, at, statistic) for row in rows]]
                x = [values[row][1] or zero for row in rows]
                series += [_bars(method, turn, len(methods), x, found)] if rows else []
            base = (facts.baseline, task, at, statistic)
            # The baseline, if it is not itself one of the values
            if base in known.index and "@" not in facts.baseline:
                look = {"color": svg.INK, "linewidth": 1.2, "linestyle": DASHED}
                series.append(_with_ends(facts.baseline, (), known.loc[[base]], look, level=True))
            panels.append(Panel(f"{name} at {percent(at, 0)} % remaining (%)", series))
        if any(panel.series for panel in panels):
            grid.append(charts.alike(panels, whole=True))
    looks = {one.name: one.look for line in grid for panel in line for one in panel.series}
    order = sorted(looks, key=lambda name: name in methods)
    figure = charts.draw(
        grid, axis, [2.9] * len(grid), readings=(1.0,), legend=[(n, looks[n]) for n in order]
    )
    defaults = ", ".join(f"{family.default(method):g} for {method}" for method in family.methods)
    own = family.field == "regularizer.weight"
    caption = f"{facts.column(task)}: score against {family.field}"
    caption += f", as a multiple of its default ({defaults})" if own else ""
    several = mine.half.notna().any()
    caption += ". Bars are 95 % intervals over seeds." if several else "."
    caption += f" The dashed line is {facts.baseline}{', with its interval' if several else ''}."
    heading, name = f"Score against {family.field}", _name("response", task, sweep)
    return Drawing(heading, name, figure, caption, caption)


def _bars(method: str, turn: int, of: int, x: Sequence[float], found: pd.DataFrame) -> Series:
    colour = FRONT.get(method, COLOURS[2:][turn % len(COLOURS[2:])])
    look = {"color": colour, "linewidth": 2.0, "marker": MARKERS[turn % len(MARKERS)]}
    # A little apart, so that error bars at the same multiple can be told from one another
    apart = [1.07 ** (turn - (of - 1) / 2) * at for at in x]
    return _with_ends(method, apart, found, {**look, "markersize": 5}, bars=True, front=True)


def _with_ends(
    name: str, x: Sequence[float], found: pd.DataFrame, look: Mapping[str, Any], **more: Any
) -> Series:
    """A series of means, with their intervals if one has a width."""
    half = FULL * found.half.fillna(0.0)
    y = FULL * found["mean"]
    ends = (tuple(y - half), tuple(y + half)) if half.any() else (None, None)
    return Series(name, tuple(x), tuple(y), look, *ends, **more)


def _multiples_axis(given: Collection[float], field: str) -> tuple[Axis, float]:
    """A log axis of multiples, and where 0 stands on it: a decade left of the smallest other."""
    zero = min((multiple for multiple in given if multiple > 0), default=1.0) / 10
    places = sorted(multiple or zero for multiple in given)
    low, high = places[0] / 1.6, places[-1] * 1.6
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [10.0**decade for decade in decades if low <= 10.0**decade <= high]
    named = [(tick, f"{tick:,.0f}×" if tick >= 1 else f"{tick:g}×") for tick in ticks]
    if 0 in given:
        named = [(zero, "0"), *(tick for tick in named if tick[0] > 2 * zero)]

    def say(x: float) -> str:
        near = min(places, key=lambda place: abs(math.log(place / x)))
        return "0" if 0 in given and math.isclose(near, zero) else f"{near:g}×"

    label = f"{field}, in multiples of the default" if field == "regularizer.weight" else field
    return Axis(label, (low, high), named, say, log=True), zero


def _name(kind: str, task: str, sweep: Sweep) -> str:
    """An id that is unique in the page and safe in it."""
    return f"{kind}{sweep.facts.tasks.index(task)}"
