"""Line charts: what nearly all figures of the pages are. Data in, matplotlib Figure out.

Static figures were chosen over a charts library in the page after looking at both: Vega-Lite adds
0.9 MB to each page and shows nothing where scripts do not run; these print and switch to dark as
the page does, and one figure serves the page and the PNG. Every point carries its text
(`svg.tagged`), which the page's script shows on hover.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignreg_jax.reporting import svg

WIDTH = 9.6  # inches
FULL = 100.0  # percent
REMAINING = "encoder weights remaining (%)"
DOTTED, DASHED = (0, (1.5, 2)), (0, (4, 3))
Legend = Sequence[tuple[str, Mapping[str, Any]]]
"""The label and matplotlib's keywords of each entry."""
_UNSEEN = {"marker": "|", "markersize": 0.01, "markeredgewidth": 0.0}  # a place to point at


class Series(NamedTuple):
    """One line of a panel.

    Attributes:
        name: the row or language that it is of; picking it out picks all series of that name.
        x: in the axis' own numbers.
        y: in the panel's; NaN is a gap.
        look: matplotlib's keywords of the line.
        low: lower ends of intervals, if it has some.
        high: upper ends.
        bars: intervals are error bars; else a band.
        end: its label at the right end; "" for none.
        front: it is drawn over the others, its label is bold and its band always there.
        level: a line across, whatever its x.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    look: Mapping[str, Any]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    bars: bool = False
    end: str = ""
    front: bool = False
    level: bool = False


class Panel(NamedTuple):
    """Axes with a title, the series in them, and the range of their scale."""

    title: str
    series: Sequence[Series]
    limits: tuple[float, float] = (0.0, 0.0)
    right: str = ""
    colour: str = svg.INK


class Axis(NamedTuple):
    """The horizontal axis that all panels share; `say` puts a place of it into words."""

    label: str
    limits: tuple[float, float]
    ticks: Sequence[tuple[float, str]]
    say: Callable[[float], str]
    log: bool = False


def remaining_axis(at: Sequence[float], first: Sequence[float] = (), *, ends: bool = False) -> Axis:
    """Percent remaining, dense on the left and sparse on the right; equal cuts are equally long.

    Args:
        at: percentages that are drawn.
        first: those whose ticks come first where there is no room for all.
        ends: tick only the two ends, for small panels.
    """
    high, low = max(at), min(at)
    low = low if low < high else high / 2
    span = math.log(high / low)
    ticks: list[float] = []
    for tick in (low, high, *(() if ends else (*first, *sorted(set(at), reverse=True)))):
        apart = all(abs(math.log(tick / other)) > 0.075 * span for other in ticks)
        if low * 0.999 <= tick <= high * 1.001 and apart:
            ticks.append(tick)
    limits = (high * math.exp(0.025 * span), low * math.exp(-0.02 * span))
    named = [(tick, f"{tick:.0f}") for tick in sorted(ticks, reverse=True)]
    return Axis(REMAINING, limits, named, lambda x: f"{x:.1f} % remaining", log=True)


def levels(
    series: Sequence[Series], chance: float = 0.0, *, whole: bool = False
) -> tuple[float, float]:
    """The range of a scale: as far as the lines go, to chance where that is near.

    `whole`: intervals have to fit, too; those of many lines would press the lines together.
    """
    values = [value for one in series for value in one.y]
    if whole:
        values += [v for one in series for end in (one.low, one.high) for v in end or ()]
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if chance and low - chance < 0.35 * max(high - chance, 1.0):
        low = min(low, chance)
    margin = max(0.05 * (high - low), 0.4)
    return low - margin, high + margin


def draw(
    grid: Sequence[Sequence[Panel]],
    axis: Axis,
    heights: Sequence[float],
    *,
    chance: float = 0.0,
    readings: Sequence[float] = (),
    marks: Sequence[tuple[float, str]] = (),
    legend: Legend = (),
) -> Figure:
    """Lines of panels below one another.

    Args:
        grid: lines of panels; the last may be shorter.
        axis: of all of them.
        heights: of each line of panels, in inches.
        chance: the score of guessing, drawn where a panel's scale holds it; 0 for none.
        readings: where the table is read, as hairlines.
        marks: dashed lines across with a name above the first panel.
        legend: above the panels.
    """
    columns, small = max(map(len, grid)), max(map(len, grid)) > 1
    ends = [
        shortened(one.end) for line in grid for panel in line for one in panel.series if one.end
    ]
    right = min(0.95 + 0.078 * max(map(len, ends)), 4.2) if ends else 0.06
    rows = _legend_rows(legend)
    top, below = 0.34 + 0.24 * len(rows), 0.34 if small else 0.42
    height = top + sum(heights) + below * (len(grid) - 1) + 0.52
    shared = all(panel.limits == line[0].limits for line in grid for panel in line)
    gap = 0.16 if shared else 0.55  # room for a scale of its own
    width = (WIDTH - 0.5 - right - gap * (columns - 1)) / columns
    with matplotlib.rc_context(svg.STYLE):
        figure = Figure(figsize=(WIDTH, height))
        margins = {"left": 0.5 / WIDTH, "right": 1 - right / WIDTH, "bottom": 0.52 / height}
        gaps = {"wspace": gap / width, "hspace": below * len(grid) / sum(heights)}
        places = figure.add_gridspec(
            len(grid), columns, **margins, **gaps, top=1 - top / height, height_ratios=heights
        )
        for number, line in enumerate(grid):
            for column, panel in enumerate(line):
                axes = figure.add_subplot(places[number, column])
                _horizontal(axes, axis, readings, small)
                _panel(axes, panel, axis, chance, small)
                last = all(column >= len(other) for other in grid[number + 1 :])
                same = column and panel.limits == line[column - 1].limits
                axes.tick_params(labelbottom=last, labelleft=not same, labelsize=8)
                for at, name in marks:
                    axes.axvline(at, color=svg.MUTED, linewidth=0.7, linestyle=(0, (3, 2)))
                    if not number:
                        where = {"xy": (at, 1.02), "xycoords": axes.get_xaxis_transform()}
                        axes.annotate(name, **where, ha="center", fontsize=8, color=svg.MUTED)
        middle = (0.5 + (WIDTH - 0.5 - right) / 2) / WIDTH
        figure.text(middle, 0.1 / height, axis.label, color=svg.MUTED, ha="center")
        for number, entries in enumerate(rows):
            handles = [figure.axes[0].plot([], [], label=n, **look)[0] for n, look in entries]
            corner = (0.42 / WIDTH, 1 - (0.02 + 0.24 * number) / height)
            look = {"borderpad": 0.1, "handlelength": 2, "columnspacing": 1.6}
            where = {"loc": "upper left", "bbox_to_anchor": corner, "ncols": len(handles)}
            figure.legend(handles=handles, **where, **look)
        return figure


def alike(panels: Sequence[Panel], chance: float = 0.0, *, whole: bool = False) -> list[Panel]:
    """The panels on one scale."""
    limits = levels([one for panel in panels for one in panel.series], chance, whole=whole)
    return [panel._replace(limits=limits) for panel in panels]


def small_panels(
    panels: Sequence[Panel], axis: Axis, high: float, chance: float, legend: Legend = ()
) -> Figure:
    """Small panels on one scale, as many side by side as suit their number, `high` inches each."""
    columns = 7 if len(panels) > 12 else max(1, min(4, len(panels)))
    shown = alike(panels, chance)
    grid = [shown[at : at + columns] for at in range(0, len(shown), columns)]
    return draw(grid, axis, [high] * len(grid), legend=legend)


def _legend_rows(legend: Legend) -> list[list[Any]]:
    """The entries in as many rows as their widths take."""
    rows: list[list[Any]] = []
    left = 0.0
    for name, look in legend:
        name = shortened(name)
        wide = 0.6 + 0.076 * len(name)
        if not rows or wide > left:
            rows.append([])
            left = WIDTH - 0.5
        rows[-1].append((name, look))
        left -= wide
    return rows


def _horizontal(axes: Axes, axis: Axis, readings: Sequence[float], small: bool) -> None:
    if axis.log:
        axes.set_xscale("log")
    axes.set_xlim(*axis.limits)
    axes.set_xticks(*zip(*axis.ticks, strict=True))
    axes.minorticks_off()
    named = axes.get_xticklabels()
    if small and (len(named) == 2 or max(len(name) for _, name in axis.ticks) > 3):
        for tick, side in zip((named[0], named[-1]), ("left", "right"), strict=True):
            tick.set_horizontalalignment(side)  # neighbouring panels leave no room in between
    for reading in readings:
        axes.axvline(reading, color=svg.FAINT, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)


def _panel(axes: Axes, panel: Panel, axis: Axis, chance: float, small: bool) -> None:
    axes.set_ylim(*panel.limits)
    axes.set_title(panel.title, color=panel.colour, fontweight="bold", pad=4 if small else 8)
    if panel.right:
        axes.set_title(panel.right, color=svg.MUTED, loc="right", pad=4, fontsize=8)
    for one in panel.series:
        _series(axes, one, axis, panel.title if small else "", len(panel.series))
    if panel.limits[0] <= chance <= panel.limits[1] and chance:
        axes.axhline(chance, color=svg.MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        if not small:
            place = {"xy": (0.01, chance), "xycoords": axes.get_yaxis_transform()}
            offset = {"xytext": (0, 2), "textcoords": "offset points", "color": svg.MUTED}
            axes.annotate(f"chance {chance:.1f}", **place, **offset, fontsize=7.5)
    _end_labels(axes, [one for one in panel.series if one.end])


def _series(axes: Axes, one: Series, axis: Axis, where: str, many: int) -> None:
    x, y, low, high = one.x, one.y, one.low or (), one.high or ()
    if one.level:
        x, (y, low, high) = axis.limits, ([*found[:1]] * 2 for found in (y, low, high))
    where = f", {where}" if where and where != one.name else ""
    said = []
    for number, (at, value) in enumerate(zip(x, y, strict=True)):
        text = f"{one.name}{where}: {value:.2f}"
        if low and low[number] < value:
            text += f" ({low[number]:.2f} to {high[number]:.2f})"
        if np.isfinite(value):
            said.append(text if one.level else f"{text} at {axis.say(at)}")
    look = {**_UNSEEN, "zorder": 5 if one.front else 3, **one.look}
    if not look["marker"]:
        look |= _UNSEEN
    (line,) = axes.plot(x, y, **look)
    line.set_gid(svg.tagged(one.name, said))
    if not low:
        return
    colour, order = look["color"], look["zorder"]
    if one.bars and not one.level:
        ends = (np.subtract(y, low), np.subtract(high, y))
        bars = {"fmt": "none", "color": colour, "elinewidth": 1.0, "capsize": 2.5}
        _, caps, (stem,) = axes.errorbar(x, y, ends, **bars, zorder=order)
        for artist in (*caps, stem):
            artist.set_gid(svg.tagged(one.name))
        return
    # Many bands on top of one another are fog: of the others it is seen when they are picked out
    faint = many > 6 and not one.front
    opacity = 0.0 if faint else 0.1
    band = axes.fill_between(x, low, high, color=colour, linewidth=0, alpha=opacity, zorder=2)
    band.set_gid(svg.tagged(one.name, faint=faint))


def _end_labels(axes: Axes, series: Sequence[Series]) -> None:
    """Name every line at the right end with its last value, a hairline to where it ends."""
    if not series:
        return
    inch = axes.transAxes.inverted().transform([(0, 0), (axes.figure.dpi,) * 2])
    wide, high = inch[1] - inch[0]  # an inch, in widths and heights of the panel
    bottom, top = axes.get_ylim()
    ordered = sorted(series, key=lambda one: one.y[-1])
    wanted = np.array([(one.y[-1] - bottom) / (top - bottom) for one in ordered])
    size = min(7.8, 72 / (high * 1.28 * len(ordered)))
    gap = 1.3 * size * high / 72
    room = max(1.0, gap * (len(ordered) - 1))
    places = spread(wanted, gap, 0.5 - room / 2, 0.5 + room / 2)
    where: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    for place, end, one in zip(places, wanted, ordered, strict=True):
        tag = svg.tagged(one.name)
        colour = one.look["color"]
        leader = ([1.0, 1 + 0.1 * wide], [np.clip(end, 0, 1), place])
        axes.plot(*leader, color=colour, linewidth=0.6, alpha=0.8, gid=tag, **where)
        if one.look.get("marker"):
            sign = {k: v for k, v in one.look.items() if k.startswith("marker")}
            axes.plot([1 + 0.17 * wide], [place], color=colour, gid=tag, **sign, **where)
        text: dict[str, Any] = {"fontsize": size, "va": "center_baseline", "gid": tag}
        text |= {"color": svg.INK, "fontweight": "bold" if one.front else "normal"}
        axes.text(1 + 0.52 * wide, place, f"{one.y[-1]:.1f}", ha="right", **text, **where)
        axes.text(1 + 0.6 * wide, place, shortened(one.end), **text, **where)


def shortened(name: str) -> str:
    """A name as long as a figure has room for; hover, chips and tables have the whole."""
    return name if len(name) <= 40 else f"{name[:22]} … {name[-15:]}"


def spread(
    wanted: Float[np.ndarray, " labels"], gap: float, low: float, high: float
) -> Float[np.ndarray, " labels"]:
    """Move ascending places at least `gap` apart, as little as needed, inside [low, high]."""
    # Subtracting gap * index turns "gap apart" into "ascending": pool neighbours that violate it.
    blocks: list[list[float]] = []
    for index, place in enumerate(wanted):
        blocks.append([place - gap * index, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (first, many), (second, more) = blocks[-2:]
            blocks[-2:] = [[(first * many + second * more) / (many + more), many + more]]
    centres = np.array([centre for centre, count in blocks for _ in range(int(count))])
    centres = np.clip(centres, low, high - gap * (len(wanted) - 1))
    return centres + gap * np.arange(len(wanted))
