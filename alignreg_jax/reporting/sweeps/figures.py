"""The figures of a sweep; each returns a matplotlib Figure and draws with the page's colours."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from alignreg_jax.reporting import svg
from alignreg_jax.reporting.figures import FULL, WIDTH, lowest, spread
from alignreg_jax.reporting.sweeps.lines import Line
from alignreg_jax.reporting.sweeps.styles import Style

_REMAINING = "encoder weights remaining (%)"
_FEW = 3  # lines whose bands are shown whole
ENGLISH = "English, the language trained on"


def overview(
    zero_shot: Sequence[Line],
    english: Sequence[Line],
    styles: Mapping[str, Style],
    *,
    readings: Sequence[float],
    chance: float,
    title: str,
) -> Figure:
    """The zero-shot mean of every row against remaining weights, and English on its own scale.

    Bands are the intervals over seeds. What is not pruned is a level; hairlines stand at
    `readings`, where the table is read; `title` says what the mean is of.
    """
    panels = [(zero_shot, f"zero-shot mean: {title}", 4.3), (english, ENGLISH, 2.9)]
    panels = [(lines, name, high) for lines, name, high in panels if lines]
    longest = max(len(styles[line.row].name) for line in zero_shot or english)
    width = WIDTH - 0.42 - min(0.72 + 0.078 * longest, 4.0)  # inches, beside the names of the rows
    height = 0.5 + sum(high + 0.42 for _, _, high in panels)
    with matplotlib.rc_context(svg.STYLE):
        figure = Figure(figsize=(WIDTH, height))
        top = height
        for lines, name, high in panels:
            top -= 0.42 + high
            frame = (0.42 / WIDTH, top / height, width / WIDTH, high / height)
            axes = figure.add_axes(frame)
            _panel(axes, lines, styles, readings, chance)
            axes.set_title(name, color=svg.INK, fontweight="bold", pad=8)
            axes.tick_params(labelbottom=name == panels[-1][1])
        figure.axes[-1].set_xlabel(_REMAINING)
        return figure


def _panel(
    axes: Axes,
    lines: Sequence[Line],
    styles: Mapping[str, Style],
    readings: Sequence[float],
    chance: float,
) -> None:
    pruned = [line for line in lines if not styles[line.row].level]
    faint = min(0.05, 0.5 / len(lines))  # many bands on top of one another are a fog
    for line in lines:
        style = styles[line.row]
        if style.level:
            axes.axhline(FULL * line.mean[0], **style.line())
            continue
        at, mean = FULL * np.array(line.remaining), FULL * np.array(line.mean)
        axes.plot(at, mean, **style.line(), **style.points())
        ends = (FULL * np.array(line.low), FULL * np.array(line.high))
        shade = {"color": style.colour, "linewidth": 0, "zorder": 2 if style.front else 1}
        axes.fill_between(at, *ends, alpha=0.12 if style.front else faint, **shade)
    remaining = sorted({at for line in pruned or lines for at in line.remaining}, reverse=True)
    _log_axis(axes, remaining, readings)
    _level_axis(axes, lines, chance)
    for reading in readings:
        hairline = {"color": svg.FAINT, "linewidth": 0.7, "linestyle": (0, (2, 2)), "zorder": 1}
        axes.axvline(FULL * reading, **hairline)
    _end_labels(axes, [(FULL * line.mean[-1], styles[line.row]) for line in lines])


def _log_axis(axes: Axes, remaining: Sequence[float], readings: Sequence[float]) -> None:
    """Remaining percent from dense on the left to sparse on the right; equal cuts, equal steps."""
    first, last = FULL * remaining[0], FULL * remaining[-1]
    if first == last:
        last = first / 2
    span = math.log(first / last)
    axes.set_xscale("log")
    axes.set_xlim(first * math.exp(0.025 * span), last * math.exp(-0.006 * span))
    ticks: list[float] = []
    for tick in (last, first, *(FULL * at for at in (*readings, *remaining))):
        inside = last * 0.999 <= tick <= first * 1.001
        if inside and all(abs(math.log(tick / other)) > 0.075 * span for other in ticks):
            ticks.append(tick)
    axes.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])


def _level_axis(axes: Axes, lines: Sequence[Line], chance: float) -> None:
    """Percent, as high as means and bands need; chance where it is near.

    The bands of many lines may run out of it, or the widest would press the lines together.
    """
    levels = [FULL * value for line in lines for value in line.mean]
    if len(lines) <= _FEW:
        levels += [FULL * value for line in lines for value in (*line.low, *line.high)]
    low, high = min(levels), max(levels)
    near = chance > 0 and low - FULL * chance < 0.35 * max(high - FULL * chance, 1.0)
    low = min(low, FULL * chance) if near else low
    margin = 0.05 * max(high - low, 2.0)
    axes.set_ylim(low - margin, high + margin)
    if near:
        axes.axhline(FULL * chance, color=svg.MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        place = {"xy": (0.01, FULL * chance), "xycoords": axes.get_yaxis_transform()}
        offset = {"xytext": (0, 2), "textcoords": "offset points", "color": svg.MUTED}
        axes.annotate(f"chance {FULL * chance:.1f}", **place, **offset, fontsize=7.5)


def _end_labels(axes: Axes, names: Sequence[tuple[float, Style]]) -> None:
    """Name every line at the right end with its last value, a hairline to where it ends."""
    inch = axes.transAxes.inverted().transform([(0, 0), (axes.figure.dpi,) * 2])
    wide, high = inch[1] - inch[0]  # an inch, in widths and heights of the panel
    bottom, top = axes.get_ylim()
    ordered = sorted(names, key=lambda name: name[0])
    wanted = np.array([(value - bottom) / (top - bottom) for value, _ in ordered])
    size = min(7.8, 72 / (high * 1.28 * max(len(ordered), 1)))
    gap = 1.3 * size * high / 72
    room = max(1.0, gap * (len(ordered) - 1))
    places = spread(wanted, gap, 0.5 - room / 2, 0.5 + room / 2)
    where: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    for place, end, (value, style) in zip(places, wanted, ordered, strict=True):
        leader = ([1.0, 1 + 0.1 * wide], [np.clip(end, 0, 1), place])
        axes.plot(*leader, color=style.colour, linewidth=0.6, alpha=0.8, **where)
        axes.plot([1 + 0.17 * wide], [place], color=style.colour, **style.points(), **where)
        text: dict[str, Any] = {"fontsize": size, "va": "center_baseline"}
        text |= {"color": style.colour, "fontweight": "bold" if style.front else "normal"}
        axes.text(1 + 0.52 * wide, place, f"{value:.1f}", ha="right", **text, **where)
        axes.text(1 + 0.6 * wide, place, style.name, **text, **where)


def languages(
    lines: Mapping[str, Sequence[Line]], styles: Mapping[str, Style], *, chance: float
) -> Figure:
    """A small panel a language on one scale, a line a row; the rows in front are in the legend."""
    panels = [(name, found) for name, found in lines.items() if found]
    columns = 7 if len(panels) > 12 else max(1, min(4, len(panels)))
    count = math.ceil(len(panels) / columns)
    with matplotlib.rc_context(svg.STYLE):
        figure = Figure(figsize=(WIDTH, 1.45 * count + 0.85))
        grid = figure.subplots(count, columns, sharex=True, sharey=True, squeeze=False)
        high = figure.get_figheight()
        sides = {"left": 0.045, "right": 0.995, "bottom": 0.42 / high, "top": 1 - 0.58 / high}
        figure.subplots_adjust(**sides, wspace=0.12, hspace=0.34)
        everything = [line for _, found in panels for line in found]
        pruned = [line for line in everything if not styles[line.row].level] or everything
        remaining = sorted({at for line in pruned for at in line.remaining}, reverse=True)
        for position, (axes, (name, found)) in enumerate(zip(grid.flat, panels, strict=False)):
            for line in found:
                at, mean = FULL * np.array(line.remaining), FULL * np.array(line.mean)
                if styles[line.row].level:
                    axes.axhline(mean[0], **styles[line.row].thin())
                else:
                    axes.plot(at, mean, **styles[line.row].thin())
            axes.set_title(name, fontweight="bold", pad=3)
            axes.tick_params(labelbottom=position + columns >= len(panels), labelsize=8)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        _log_axis(grid[0, 0], [remaining[0], remaining[-1]], ())  # shared, as is the other
        for axes in grid.flat:  # neighbouring panels leave no room in between
            for tick, side in zip(axes.get_xticklabels(), ("right", "left"), strict=False):
                tick.set_horizontalalignment(side)
        levels = [value for line in everything for value in line.mean]
        grid[0, 0].set_ylim(FULL * lowest(levels, chance) - 3, FULL * max(levels) + 4)
        figure.text(0.52, 0.06 / high, _REMAINING, color=svg.MUTED, ha="center")
        rows = dict.fromkeys(row for row in styles for line in everything if line.row == row)
        _legend(figure, [styles[row] for row in rows])
        return figure


def _legend(figure: Figure, styles: Sequence[Style]) -> None:
    """Those in front by name, the others by group."""
    groups = {style.group: style for style in styles}
    order = sorted(groups, key=lambda group: not groups[group].front)
    axes = figure.axes[0]
    handles = [axes.plot([], [], label=group, **groups[group].thin())[0] for group in order]
    corner = {"loc": "upper left", "bbox_to_anchor": (0.03, 1.0)}
    figure.legend(handles=handles, **corner, ncols=len(handles), handlelength=2, columnspacing=1.6)
