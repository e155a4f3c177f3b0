"""The figure of a sweep over one number: score against the regularizer's weight, say."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from alignreg_jax.reporting import svg
from alignreg_jax.reporting.figures import FULL, WIDTH
from alignreg_jax.reporting.sweeps.lines import Response
from alignreg_jax.reporting.sweeps.statistics import Interval
from alignreg_jax.reporting.sweeps.styles import FRONT

_OTHERS = (svg.GREEN, svg.PURPLE, svg.SKY, svg.ORANGE)
_MARKERS = ("o", "s", "^", "D", "v", "P")


class Panel(NamedTuple):
    """What one panel shows: its name, the responses, and the level of rows without the field."""

    title: str
    responses: Sequence[Response]
    levels: Sequence[tuple[str, Interval]]


def response_figure(panels: Sequence[Sequence[Panel]], label: str) -> Figure:
    """Score against multiples of the default on a log axis, a line a method with its error bars.

    Args:
        panels: lines of panels; those of a line share their scale.
        label: of the horizontal axis.
    """
    columns = max(map(len, panels))
    with matplotlib.rc_context(svg.STYLE):
        height = 2.9 * len(panels) + 0.75
        figure = Figure(figsize=(WIDTH, height))
        grid = figure.subplots(len(panels), columns, sharex=True, sharey="row", squeeze=False)
        sides = {"left": 0.05, "right": 0.975, "bottom": 0.5 / height, "top": 1 - 0.62 / height}
        figure.subplots_adjust(**sides, wspace=0.07, hspace=0.28)
        everything = [r for line in panels for panel in line for r in panel.responses]
        methods = list(dict.fromkeys(response.method for response in everything))
        zero = _place_of_zero(everything)
        for line, row_of_axes in zip(panels, grid, strict=True):
            for panel, axes in zip(line, row_of_axes, strict=False):
                _draw(axes, panel, methods, zero)
            for axes in row_of_axes[len(line) :]:
                axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel(label)
        _multiples_axis(grid[0, 0], everything, zero)
        handles, names = grid[0, 0].get_legend_handles_labels()
        corner = {"loc": "upper left", "bbox_to_anchor": (0.035, 1.0)}
        figure.legend(handles, names, **corner, ncols=len(names), columnspacing=1.6)
        return figure


def _draw(axes: Axes, panel: Panel, methods: Sequence[str], zero: float) -> None:
    for name, interval in panel.levels:
        level = {"color": svg.INK, "linewidth": 1.2, "linestyle": (0, (4, 3)), "zorder": 2}
        axes.axhline(FULL * interval.mean, label=name, **level)
        if interval.half is not None:
            ends = (FULL * (interval.mean - interval.half), FULL * (interval.mean + interval.half))
            axes.axhspan(*ends, color=svg.INK, alpha=0.07, linewidth=0, zorder=1)
    for response in panel.responses:
        turn = methods.index(response.method)
        colour = FRONT.get(response.method, _OTHERS[turn % len(_OTHERS)])
        # A little apart, so that error bars at the same multiple can be told from one another.
        shift = 1.07 ** (turn - (len(methods) - 1) / 2)
        where = np.array([shift * (multiple or zero) for multiple in response.multiples])
        means = FULL * np.array([interval.mean for interval in response.intervals])
        halves = FULL * np.array([interval.half or np.nan for interval in response.intervals])
        look = {"color": colour, "linewidth": 2.0, "marker": _MARKERS[turn % len(_MARKERS)]}
        bars = {"elinewidth": 1.0, "capsize": 2.5, "markersize": 5, "zorder": 5 + turn}
        axes.errorbar(where, means, halves, label=response.method, **look, **bars)
    axes.set_title(panel.title, color=svg.INK, fontweight="bold")
    axes.axvline(1.0, color=svg.FAINT, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)


def _place_of_zero(responses: Sequence[Response]) -> float:
    """Where a weight of 0 stands on a log axis: a decade left of the smallest that is not."""
    positive = [m for response in responses for m in response.multiples if m > 0]
    return min(positive, default=1.0) / 10


def _multiples_axis(axes: Axes, responses: Sequence[Response], zero: float) -> None:
    places = sorted({m or zero for response in responses for m in response.multiples})
    low, high = (places[0], places[-1]) if places else (0.1, 10.0)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.6, high * 1.6)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [10.0**decade for decade in decades if low / 1.6 <= 10.0**decade <= high * 1.6]
    has_zero = any(m == 0 for response in responses for m in response.multiples)
    if has_zero:
        ticks = [zero, *(tick for tick in ticks if tick > 2 * zero)]

    def name(value: float, position: int | None = None) -> str:
        if has_zero and math.isclose(value, zero):
            return "0"
        return f"{value:,.0f}×" if value >= 1 else f"{value:g}×"

    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(name))
