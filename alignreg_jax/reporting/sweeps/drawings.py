"""The figures of a sweep with their words: which are drawn, in which order, and what they show."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from alignreg_jax.reporting import charts, svg
from alignreg_jax.reporting.charts import DASHED, FULL, Axis, Panel, Series
from alignreg_jax.reporting.figures import COLOURS, MARKERS
from alignreg_jax.reporting.sweeps import lines
from alignreg_jax.reporting.sweeps.cells import ENGLISH, ZERO_SHOT, Cells, Place
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


def figures(sweep: Sweep, cells: Cells) -> list[Drawing]:
    """All figures of a sweep; the first is the one to show where there is room for one.

    That is score against remaining weights, or, where the rows are values of one number, score
    against that number.
    """
    tasks = [task for task in sweep.facts.tasks if sweep.on(task)]
    styles = row_styles(sweep.facts.rows, sweep.facts.baseline, sweep.dense_rows)
    found = lines.family(sweep.facts.rows)
    answer = [_response(sweep, cells, found, task) for task in tasks] if found else []
    answer += [_overview(sweep, task, styles) for task in tasks]
    answer += [_languages(sweep, task, styles) for task in tasks]
    return [drawing for drawing in answer if drawing is not None]


# ---- Score against remaining weights ----------------------------------------------------------


def _overview(sweep: Sweep, task: str, styles: Mapping[str, Style]) -> Drawing | None:
    facts, chance = sweep.facts, FULL * _chance(sweep, task)
    means, english = lines.zero_shot_lines(sweep, task), lines.english_lines(sweep, task)
    if not means and not english:
        return None
    what = f"{facts.column(task)}, {sweep.metrics[task]} (%)"
    grid, heights = [], []
    for found, title, high in ((means, f"zero-shot mean: {what}", 4.3), (english, _ENGLISH, 2.9)):
        if found:
            series = [_series(line, styles[line.row]) for line in found]
            limits = charts.levels(series, chance, whole=len(series) <= _FEW)
            grid.append([Panel(title, series, limits)])
            heights.append(max(high, 0.128 * len(series)))
    readings = [FULL * at for at in facts.remaining]
    axis = charts.remaining_axis(_places([*means, *english], styles), readings)
    figure = charts.draw(grid, axis, heights, chance=chance, readings=readings)
    languages = lines.every_step_languages(sweep, task)
    many = count(len(languages), "zero-shot language")
    points = "A point is one run."
    if any(line.low != line.high for line in (*means, *english)):
        points = "A point is the mean over seeds, its band the 95 % interval (Student’s t), cut to"
        points += " 0 and 100."
        if max(len(means), len(english)) > 6:
            points += " Bands of the thin lines show when a row is picked out."
    caption = (
        f"{facts.column(task)}: above, the mean over the {many} that every run evaluated at every"
        f" step ({', '.join(languages)}); below, English, on its own scale. {points} The axis is"
        " logarithmic, so that cuts by the same share are as far apart; hairlines stand where the"
        " table is read. At the right end, the last value of each row."
    )
    heading, name = "Score against remaining weights", _name("overview", task, sweep)
    return Drawing(heading, name, figure, caption, _spoken(what, means))


def _series(line: lines.Line, style: Style, *, small: bool = False) -> Series:
    x, y, low, high = (
        tuple(FULL * np.array(values))
        for values in (line.remaining, line.mean, line.low, line.high)
    )
    if small:
        return Series(line.row, x, y, style.thin(), front=style.front, level=style.level)
    shown = {"end": style.name, "front": style.front, "level": style.level}
    ends = (low, high) if low != high and not style.level else (None, None)
    return Series(line.row, x, y, style.look(), *ends, **shown)


def _places(found: Sequence[lines.Line], styles: Mapping[str, Style]) -> list[float]:
    """The percentages that are drawn; a level has none of its own."""
    pruned = [line for line in found if not styles[line.row].level] or found
    return sorted({FULL * at for line in pruned for at in line.remaining})


def _spoken(what: str, found: Sequence[lines.Line]) -> str:
    """The zero-shot panel in words, for those who cannot see it."""
    parts = [
        f"{line.row} {percent(line.mean[0])} at {percent(line.remaining[0], 0)} percent remaining"
        f" and {percent(line.mean[-1])} at {percent(line.remaining[-1], 0)}"
        for line in found
    ]
    return f"Line chart of the zero-shot mean on {what}: {'; '.join(parts)}"


def _languages(sweep: Sweep, task: str, styles: Mapping[str, Style]) -> Drawing | None:
    facts, chance = sweep.facts, FULL * _chance(sweep, task)
    found = {name: rows for name, rows in lines.language_lines(sweep, task).items() if rows}
    if not found:
        return None
    everything = [line for rows in found.values() for line in rows]
    of = {
        name: [_series(line, styles[line.row], small=True) for line in rows]
        for name, rows in found.items()
    }
    limits = charts.levels([one for series in of.values() for one in series], chance)
    grid = charts.lines_of([Panel(name, series, limits) for name, series in of.items()])
    axis = charts.remaining_axis(_places(everything, styles), ends=True)
    shown = {line.row for line in everything}
    groups = {styles[row].group: styles[row] for row in styles if row in shown}
    order = sorted(groups, key=lambda group: not groups[group].front)
    legend = [(group, groups[group].thin()) for group in order]
    figure = charts.draw(grid, axis, [1.15] * len(grid), legend=legend)
    caption = (
        f"{facts.column(task)}: {sweep.metrics[task]} (%) of every language, mean over seeds, a"
        f" line a row; English first, then the languages that {facts.baseline} loses most of."
    )
    if sweep.dense_rows:
        caption += " Dashed: not pruned."
    return Drawing("Every language", _name("languages", task, sweep), figure, caption, caption)


# ---- Score against one number, the regularizer's weight, say -----------------------------------


def _response(sweep: Sweep, cells: Cells, family: lines.Family, task: str) -> Drawing | None:
    facts, grid = sweep.facts, []
    found = {
        (statistic, at): lines.responses(family, cells, task, at, statistic)
        for statistic in (ZERO_SHOT, ENGLISH)
        for at in facts.remaining
    }
    everything = [response for several in found.values() for response in several]
    if not everything:
        return None
    methods = list(dict.fromkeys(response.method for response in everything))
    axis, zero = _multiples_axis(everything, family.field)
    for statistic, name in ((ZERO_SHOT, "zero-shot mean"), (ENGLISH, "English")):
        panels = []
        for at in facts.remaining:
            series = [_bars(one, methods, zero) for one in found[statistic, at]]
            series += _level(cells, Place(facts.baseline, task, at, statistic))
            panels.append(Panel(f"{name} at {percent(at, 0)} % remaining (%)", series, (0, 0)))
        series = [one for panel in panels for one in panel.series]
        if series:
            limits = charts.levels(series, whole=True)
            grid.append([panel._replace(limits=limits) for panel in panels])
    looks = {one.name: one.look for line in grid for panel in line for one in panel.series}
    order = sorted(looks, key=lambda name: name in methods)
    figure = charts.draw(
        grid, axis, [2.9] * len(grid), readings=(1.0,), legend=[(n, looks[n]) for n in order]
    )
    defaults = ", ".join(f"{family.default(method):g} for {method}" for method in family.methods)
    own = family.field == "regularizer.weight"
    caption = f"{facts.column(task)}: score against {family.field}"
    caption += f", as a multiple of its default ({defaults})" if own else ""
    several = any(i.half is not None for response in everything for i in response.intervals)
    caption += ". Bars are 95 % intervals over seeds." if several else "."
    caption += f" The dashed line is {facts.baseline}{', with its interval' if several else ''}."
    heading, name = f"Score against {family.field}", _name("response", task, sweep)
    return Drawing(heading, name, figure, caption, caption)


def _bars(response: lines.Response, methods: Sequence[str], zero: float) -> Series:
    turn = methods.index(response.method)
    colour = FRONT.get(response.method, COLOURS[2:][turn % len(COLOURS[2:])])
    look = {"color": colour, "linewidth": 2.0, "marker": MARKERS[turn % len(MARKERS)]}
    # A little apart, so that error bars at the same multiple can be told from one another
    shift = 1.07 ** (turn - (len(methods) - 1) / 2)
    x = tuple(shift * (multiple or zero) for multiple in response.multiples)
    y = tuple(FULL * interval.mean for interval in response.intervals)
    low, high = (
        tuple(y if end is None else FULL * end for y, end in zip(y, ends, strict=True))
        for ends in zip(*((one.low, one.high) for one in response.intervals), strict=True)
    )
    ends = (None, None) if low == high else (low, high)
    return Series(response.method, x, y, {**look, "markersize": 5}, *ends, bars=True, front=True)


def _level(cells: Cells, place: Place) -> list[Series]:
    """The baseline, if it is not itself one of the values."""
    cell = cells.get(place)
    if cell is None or "@" in place.row:
        return []
    interval, look = cell.interval, {"color": svg.INK, "linewidth": 1.2, "linestyle": DASHED}
    ends: tuple[tuple[float, ...] | None, ...] = (None, None)
    if interval.low is not None and interval.high is not None:
        ends = ((FULL * interval.low,), (FULL * interval.high,))
    return [Series(place.row, (), (FULL * interval.mean,), look, *ends, level=True)]


def _multiples_axis(responses: Sequence[lines.Response], field: str) -> tuple[Axis, float]:
    """A log axis of multiples, and where 0 stands on it: a decade left of the smallest other."""
    given = {multiple for response in responses for multiple in response.multiples}
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


def _chance(sweep: Sweep, task: str) -> float:
    return float(sweep.on(task)[0].results["chance"])


def _name(kind: str, task: str, sweep: Sweep) -> str:
    """An id that is unique in the page and safe in it."""
    return f"{kind}{sweep.facts.tasks.index(task)}"
