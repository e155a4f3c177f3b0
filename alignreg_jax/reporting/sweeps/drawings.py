"""The figures of a sweep with their words: which are drawn, in which order, and what they show."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
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
from alignreg_jax.reporting.sweeps.words import say
from alignreg_jax.reporting.tables import percent

_WEIGHT = "regularizer.weight"  # whose values are told as multiples of the default
_FEW = 6  # lines whose bands are shown whole
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
    lines_drawn = [line for found in shown.values() for line in found.values()]
    spoken, caption = say(
        "overview",
        sweep,
        task=task,
        what=what,
        ends=[
            (row, *line["mean"].iloc[[0, -1]], *line.remaining.iloc[[0, -1]])
            for row, line in drawn.get(lines.MEAN, {}).items()
        ],
        common=common_languages(sweep.evaluations[task]),
        bands=any(line.half.any() for line in lines_drawn),
        rows=max(map(len, shown.values())),
    )
    heading, name = "Score against remaining weights", _name("overview", task, sweep)
    return Drawing(heading, name, figure, caption, spoken)


def _series(row: str, line: pd.DataFrame, style: Style, *, small: bool = False) -> Series:
    look, end = (style.thin(), "") if small else (style.look(), style.name)
    shown = {"end": end, "front": style.front, "level": style.level}
    found = _with_ends(row, FULL * line.remaining, line, look, **shown)
    return found._replace(low=None, high=None) if small or style.level else found


def _places(drawn: Mapping[str, lines.Lines], styles: Mapping[str, Style]) -> list[float]:
    """The percentages that are drawn; a level has none of its own."""
    found = [(row, line.remaining) for rows in drawn.values() for row, line in rows.items()]
    pruned = [at for row, at in found if not styles[row].level] or [at for _, at in found]
    return sorted({FULL * x for at in pruned for x in at})


def _languages(
    sweep: Sweep, task: str, drawn: Mapping[str, lines.Lines], styles: Mapping[str, Style]
) -> Drawing | None:
    found = {name: rows for name, rows in drawn.items() if name != lines.MEAN}
    if not found:
        return None
    panels = [
        Panel(name, [_series(row, line, styles[row], small=True) for row, line in rows.items()])
        for name, rows in found.items()
    ]
    axis = charts.remaining_axis(_places(found, styles), ends=True)
    shown = {row for rows in found.values() for row in rows}
    groups = {style.group: style for row, style in styles.items() if row in shown}
    order = sorted(groups.items(), key=lambda group: not group[1].front)
    legend = [(name, style.thin()) for name, style in order]
    figure = charts.small_panels(panels, axis, 1.15, FULL * sweep.kinds[task].chance, legend)
    (caption,) = say("every_language", sweep, task=task)
    return Drawing("Every language", _name("languages", task, sweep), figure, caption, caption)


# ---- Score against one number, the regularizer's weight, say -----------------------------------


def _response(sweep: Sweep, cells: pd.DataFrame, family: lines.Family, task: str) -> Drawing | None:
    facts, grid = sweep.facts, []
    known = means(cells.loc[cells.task == task]).reset_index(["task", "remaining", "statistic"])
    values = {
        row: (method, value / family.default(method))
        for method, found in family.methods.items()
        for value, row in found
        if row in known.index
    }
    if not values:
        return None
    methods = list(dict(values.values()))
    axis, zero = _multiples_axis({multiple for _, multiple in values.values()}, family.field)
    for statistic, name in ((ZERO_SHOT, "zero-shot mean"), (ENGLISH, "English")):
        panels = []
        for at in facts.remaining:
            here, series = known[(known.remaining == at) & (known.statistic == statistic)], []
            for turn, method in enumerate(methods):
                rows = [row for row in values if values[row][0] == method and row in here.index]
                x = [values[row][1] or zero for row in rows]
                series += [_bars(method, turn, len(methods), x, here.loc[rows])] if rows else []
            # The baseline, if it is not itself one of the values
            if facts.baseline in here.index and "@" not in facts.baseline:
                look = {"color": svg.INK, "linewidth": 1.2, "linestyle": DASHED}
                base = here.loc[[facts.baseline]]
                series.append(_with_ends(facts.baseline, (), base, look, level=True))
            panels.append(Panel(f"{name} at {percent(at, 0)} % remaining (%)", series))
        if any(panel.series for panel in panels):
            grid.append(charts.alike(panels, whole=True))
    looks = {one.name: one.look for line in grid for panel in line for one in panel.series}
    order = sorted(looks, key=lambda name: name in methods)
    figure = charts.draw(
        grid, axis, [2.9] * len(grid), readings=(1.0,), legend=[(n, looks[n]) for n in order]
    )
    several = known.half[[*values]].notna().any()
    line = facts.baseline in looks and facts.baseline not in methods
    (caption,) = say("response", sweep, task=task, family=family, several=several, line=line)
    heading, name = f"Score against {family.field}", _name("response", task, sweep)
    return Drawing(heading, name, figure, caption, caption)


def _bars(method: str, turn: int, of: int, x: Sequence[float], found: pd.DataFrame) -> Series:
    colour = FRONT.get(method, COLOURS[2:][turn % len(COLOURS[2:])])
    look = {"color": colour, "linewidth": 2.0, "marker": MARKERS[turn % len(MARKERS)]}
    # A little apart, so that error bars at the same multiple can be told from one another
    apart = [1.07 ** (turn - (of - 1) / 2) * at for at in x]
    return _with_ends(method, apart, found, {**look, "markersize": 5}, bars=True, front=True)


def _with_ends(
    name: str, x: Iterable[float], found: pd.DataFrame, look: Mapping[str, Any], **more: Any
) -> Series:
    """A series of means, with their intervals if one has a width."""
    y = FULL * found["mean"]
    low, high = (tuple((FULL * found[end]).fillna(y)) for end in ("low", "high"))
    ends = (low, high) if low != high else (None, None)
    return Series(name, tuple(x), tuple(y), look, *ends, **more)


def _multiples_axis(given: Collection[float], field: str) -> tuple[Axis, float]:
    """A log axis of multiples, and where 0 stands on it: a decade left of the smallest other."""
    zero = min((multiple for multiple in given if multiple > 0), default=1.0) / 10
    places = sorted(multiple or zero for multiple in given)
    low, high = places[0] / 1.6, places[-1] * 1.6
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [10.0**decade for decade in decades if low <= 10.0**decade <= high] or places
    times = "×" if field == _WEIGHT else ""
    named = [(tick, f"{tick:,.0f}{times}" if tick >= 100 else f"{tick:g}{times}") for tick in ticks]
    if 0 in given:
        named = [(zero, "0"), *(tick for tick in named if tick[0] > 2 * zero)]

    def say(x: float) -> str:
        near = min(places, key=lambda place: abs(math.log(place / x)))
        return "0" if 0 in given and math.isclose(near, zero) else f"{near:g}{times}"

    label = f"{field}, in multiples of the default" if times else field
    return Axis(label, (low, high), named, say, log=True), zero


def _name(kind: str, task: str, sweep: Sweep) -> str:
    """An id that is unique in the page and safe in it."""
    return f"{kind}{sweep.facts.tasks.index(task)}"
