"""The figures of a report; each returns a matplotlib Figure and draws with the page's colours."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from alignreg_jax.reporting import svg
from alignreg_jax.reporting.series import ENGLISH, Curve, Trace

P = ParamSpec("P")
WIDTH = 9.6  # inches
FULL = 100.0  # percent
# Kernel -> (name for a reader, colour, marker), from the input of a layer to its output.
MODULES = {
    "attention/query": ("query", svg.BLUE, "o"),
    "attention/key": ("key", svg.SKY, "s"),
    "attention/value": ("value", svg.GREEN, "^"),
    "attention/output": ("attention output", svg.VERMILION, "D"),
    "intermediate": ("feed-forward in", svg.ORANGE, "v"),
    "output": ("feed-forward out", svg.PURPLE, "P"),
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with the colours and fonts of the pages."""

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(svg.STYLE):
            return draw(*args, **kwargs)

    return wrapped


@styled
def accuracy(
    curves: Sequence[Curve], mean: Curve | None, full_means: Curve, *, chance: float, title: str
) -> Figure:
    """Every language against remaining weights, with English and the zero-shot mean in front.

    `title` says what the scores are; `mean` is over the languages that every step evaluated;
    `full_means` has a point for each step that evaluated all of them; `chance` is 0 for none.
    """
    figure = Figure(figsize=(WIDTH, 5.8))
    axes = figure.add_axes((0.06, 0.09, 0.78, 0.80))
    for curve in curves:
        if curve.language == ENGLISH:
            _line(axes, curve, color=svg.BLUE, linewidth=2.6, marker="o", markersize=4.5, zorder=5)
        else:
            style = "-" if curve.every_step else (0, (1.5, 2))
            _line(axes, curve, color=svg.FAINT, linewidth=0.8, linestyle=style, zorder=2)
    front = {"color": svg.VERMILION, "zorder": 6}
    if mean is not None:
        _line(axes, mean, linewidth=2.6, marker="o", markersize=4.5, **front)
    everything_everywhere = all(curve.every_step for curve in curves)
    if not everything_everywhere:
        # A white diamond: the mean that counts, but known only where every language was evaluated.
        line = {"linestyle": "", "marker": "D", "markersize": 7, "markerfacecolor": svg.PAPER}
        _line(axes, full_means, markeredgewidth=1.8, **line, **front)
    levels = [value for curve in curves for value in curve.values]
    axes.set_ylim(FULL * lowest(levels, chance) - 2.5, FULL * max(levels) + 2)
    _remaining_axis(axes, sorted({x for curve in curves for x in curve.remaining}, reverse=True))
    if chance:
        axes.axhline(FULL * chance, color=svg.MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        left, name = axes.get_xlim()[0] - 0.5, f"chance {FULL * chance:.1f}"
        axes.text(left, FULL * chance + 0.6, name, color=svg.MUTED, fontsize=8)
    axes.set_title(title, color=svg.MUTED, pad=26)
    _end_labels(axes, curves, mean if everything_everywhere else None, full_means)
    _accuracy_legend(axes, curves, mean, everything_everywhere, bool(full_means.values))
    return figure


def lowest(levels: Sequence[float], chance: float) -> float:
    """Where the axis of scores begins: chance belongs to it, unless the metric has none (0)."""
    return min([chance, *levels]) if chance else min(levels)


def _accuracy_legend(
    axes: Axes,
    curves: Sequence[Curve],
    mean: Curve | None,
    everything_everywhere: bool,
    full_means: bool,
) -> None:
    zero_shot = sum(curve.language != ENGLISH for curve in curves)
    common = sum(curve.every_step and curve.language != ENGLISH for curve in curves)
    heavy = {"linewidth": 2.6, "marker": "o", "markersize": 4.5}
    entries = []
    if zero_shot < len(curves):
        entries.append(({"color": svg.BLUE, **heavy}, "English"))
    if mean is not None:
        name = f"mean of {common} zero-shot languages" if common > 1 else "the zero-shot language"
        entries.append(({"color": svg.VERMILION, **heavy}, name))
    if not everything_everywhere and full_means:
        diamond = {"linestyle": "", "marker": "D", "markersize": 6.5, "markeredgewidth": 1.8}
        colours = {"color": svg.VERMILION, "markerfacecolor": svg.PAPER}
        entries.append(({**diamond, **colours}, f"mean of all {zero_shot}"))
    if any(curve.every_step and curve.language != ENGLISH for curve in curves):
        entries.append(({"color": svg.FAINT, "linewidth": 1}, "one language each"))
    if any(not curve.every_step and curve.language != ENGLISH for curve in curves):
        dotted = {"color": svg.FAINT, "linewidth": 1, "linestyle": (0, (1.5, 2))}
        entries.append((dotted, "not evaluated at every step"))
    handles = [axes.plot([], [], label=label, **style)[0] for style, label in entries]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.012, 1.0),
        ncols=len(handles),
        handlelength=2,
        columnspacing=1.6,
        borderpad=0.3,
    )


def _end_labels(axes: Axes, curves: Sequence[Curve], mean: Curve | None, full_means: Curve) -> None:
    """Name every curve at its right end, moved apart, with a hairline to where it ends."""
    labels = [
        (FULL * curve.final, curve.language, curve.language == ENGLISH and svg.BLUE)
        for curve in curves
        if curve.final is not None
    ]
    final = mean or (full_means if full_means.values else None)
    if final is not None:
        labels.append((FULL * final.values[-1], "mean", svg.VERMILION))
    labels.sort(key=lambda label: label[0])
    low, high = axes.get_ylim()
    wanted = np.array([value for value, _, _ in labels])
    gap = min((high - low) / 36, (high - low) / max(len(labels), 1))
    places = spread(wanted, gap, low, high)
    end = axes.get_xlim()[1]
    width = abs(axes.get_xlim()[0] - end)
    for place, (value, name, colour) in zip(places, labels, strict=True):
        hairline = ([end, end - 0.03 * width], [value, place])
        axes.plot(*hairline, color=colour or svg.FAINT, linewidth=0.5, clip_on=False)
        weight = "bold" if colour else "normal"
        text = {"fontsize": 7.5, "va": "center_baseline", "color": colour or svg.INK}
        axes.text(end - 0.037 * width, place, name, fontweight=weight, **text)
        right = {**text, "ha": "right", "fontweight": weight}
        axes.text(end - 0.135 * width, place, f"{value:.1f}", **right)


def spread(wanted: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
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


@styled
def languages(curves: Sequence[Curve], mean: Curve | None, *, chance: float) -> Figure:
    """A small panel per language on one scale: its curve, its dense level, and the mean behind."""
    columns = 7 if len(curves) > 12 else max(1, min(4, len(curves)))
    lines = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(WIDTH, 1.3 * lines + 0.45))
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(
        left=0.045,
        right=0.995,
        bottom=0.4 / figure.get_figheight(),
        top=1 - 0.24 / figure.get_figheight(),
        wspace=0.12,
        hspace=0.42,
    )
    for axes, curve in zip(grid.flat, curves, strict=False):
        colour = svg.BLUE if curve.language == ENGLISH else svg.INK
        style = "-" if curve.every_step else (0, (1.5, 2))
        if curve.dense is not None:
            axes.axhline(FULL * curve.dense, color=svg.FAINT, linewidth=0.7)
        if mean is not None and curve.language != ENGLISH:
            _line(axes, mean, color=svg.VERMILION, linewidth=1, alpha=0.55)
        _line(axes, curve, color=colour, linewidth=1.6, linestyle=style, marker="o", markersize=2.6)
        axes.set_title(curve.language, color=colour, fontweight="bold", pad=3)
        ends = ("–" if end is None else f"{FULL * end:.0f}" for end in (curve.dense, curve.final))
        change = " → ".join(ends)
        axes.set_title(change, color=svg.MUTED, loc="right", pad=3, fontsize=8)
    steps = sorted({x for curve in curves for x in curve.remaining}, reverse=True)
    levels = [value for curve in curves for value in curve.values]
    for position, axes in enumerate(grid.flat):
        _remaining_axis(axes, [steps[0], steps[-1]], label=None)
        axes.set_ylim(FULL * lowest(levels, chance) - 3, FULL * max(levels) + 4)
        axes.set_visible(position < len(curves))
        # The last panel of a column has the axis, also when the last line is not full.
        axes.tick_params(labelbottom=position + columns >= len(curves), labelsize=8)
        for tick, side in zip(axes.get_xticklabels(), ("right", "left"), strict=False):
            tick.set_horizontalalignment(side)  # neighbouring panels leave no room in between
    figure.text(0.52, 0.012, "encoder weights remaining (%)", color=svg.MUTED, ha="center")
    return figure


@styled
def weight_norms(dense: Mapping[str, np.ndarray], final: Mapping[str, np.ndarray] | None) -> Figure:
    """Frobenius norm of each module's kernel by layer, dense and pruned (the paper's Figure 7)."""
    panels = [("dense, after fine-tuning", dense)]
    if final is not None:
        panels.append(("after the last pruning step", final))
    figure = Figure(figsize=(WIDTH, 3.5))
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.05, right=0.995, bottom=0.13, top=0.82, wspace=0.06)
    for axes, (title, norms) in zip(grid, panels, strict=True):
        for kernel in _modules(norms):
            label, colour, marker = MODULES.get(kernel, (kernel, svg.INK, "o"))
            layers = np.arange(1, len(norms[kernel]) + 1)
            line = {"marker": marker, "markersize": 4.5, "linewidth": 1.6, "label": label}
            axes.plot(layers, norms[kernel], color=colour, **line)
        axes.set_title(title, color=svg.INK)
        axes.set_xlabel("encoder layer")
        axes.set_xticks(_layer_ticks(len(layers)))
        axes.set_ylim(bottom=0)
    figure.legend(
        *grid[0].get_legend_handles_labels(),
        loc="upper left",
        bbox_to_anchor=(0.04, 1.0),
        ncols=6,
        handlelength=2,
        columnspacing=1.6,
    )
    return figure


def heat_map(axes: Axes, table: np.ndarray, *, written: bool) -> QuadMesh:
    """Draw percentages as colours, the first line on top; `written`: as numbers, too."""
    axes.grid(False)
    # Anchored at 0 and 100, so that a flat table looks flat and two reports can be compared
    mesh = axes.pcolormesh(
        table, cmap="cividis", vmin=0, vmax=FULL, edgecolor=svg.PAPER, linewidth=1.5
    )
    if written:
        for (line, column), value in np.ndenumerate(table):
            colour = "#000000" if value > 55 else "#ffffff"
            where = {"ha": "center", "va": "center", "fontsize": 8}
            axes.text(column + 0.5, line + 0.5, f"{value:.0f}", color=colour, **where)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return mesh


@styled
def remaining_by_layer(remaining: Mapping[str, np.ndarray]) -> Figure:
    """Heat map of the fraction of weights that remains in each of the kernels."""
    kernels = _modules(remaining)
    table = FULL * np.stack([remaining[kernel] for kernel in kernels])
    layers = table.shape[1]
    figure = Figure(figsize=(WIDTH, 2.5))
    axes = figure.add_axes((0.115, 0.17, 0.80, 0.81))
    mesh = heat_map(axes, table, written=layers <= 24)
    axes.set_yticks(np.arange(len(kernels)) + 0.5, [_label(kernel) for kernel in kernels])
    axes.set_xticks(_layer_ticks(layers) - 0.5, [str(layer) for layer in _layer_ticks(layers)])
    axes.set_xlabel("encoder layer")
    bar = figure.colorbar(mesh, cax=figure.add_axes((0.935, 0.17, 0.014, 0.81)))
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.set_ticks([0, 50, 100], labels=["0", "50", "100 %"])
    return figure


@styled
def training(task_loss: Trace, penalty: Trace | None, cuts: Sequence[tuple[int, float]]) -> Figure:
    """Cross-entropy and penalty apart, against the step; `cuts` are prunings: (step, remaining)."""
    panels = [("cross-entropy", task_loss, svg.BLUE)]
    if penalty is not None:
        panels.append(("penalty, as added to the loss", penalty, svg.VERMILION))
    height = 1.75 * len(panels) + 0.65
    figure = Figure(figsize=(WIDTH, height))
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(
        left=0.06, right=0.995, bottom=0.42 / height, top=1 - 0.4 / height, hspace=0.24
    )
    for axes, (title, curve, colour) in zip(grid, panels, strict=True):
        axes.plot(curve.steps, curve.values, color=colour, linewidth=1.3)
        axes.set_title(title, color=colour, fontweight="bold")
        axes.margins(x=0.01)
        axes.grid(axis="x", visible=False)
        if np.nanmin(curve.values, initial=0.0) >= 0:
            axes.set_ylim(bottom=0)
        for step, _ in cuts:
            axes.axvline(step, color=svg.MUTED, linewidth=0.7, linestyle=(0, (3, 2)))
    for step, remaining in cuts:
        at = (step, 1.03)
        grid[0].text(
            *at,
            f"{FULL * remaining:.0f} %",
            transform=grid[0].get_xaxis_transform(),
            ha="center",
            fontsize=8,
            color=svg.MUTED,
        )
    grid[-1].set_xlabel("training step")
    return figure


def _line(axes: Axes, curve: Curve, **style: object) -> None:
    axes.plot(FULL * np.array(curve.remaining), FULL * np.array(curve.values), **style)  # type: ignore


def _remaining_axis(
    axes: Axes, steps: Sequence[float], label: str | None = "encoder weights remaining (%)"
) -> None:
    """Remaining percent from dense on the left to sparse on the right, a tick per pruning step."""
    percents = [FULL * step for step in steps]
    span = max(percents[0] - percents[-1], 1.0)
    ticks: list[float] = []
    for percent in [percents[-1], percents[0], *percents[1:-1]]:
        if all(abs(percent - other) > 0.028 * span for other in ticks):
            ticks.append(percent)
    axes.set_xlim(percents[0] + 0.02 * span, percents[-1] - 0.02 * span)
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    if label:
        axes.set_xlabel(label)


def _modules(table: Mapping[str, object]) -> list[str]:
    """The kernels of a table in the order of the network, unknown ones last."""
    order = list(MODULES)
    return sorted(table, key=lambda kernel: order.index(kernel) if kernel in order else len(order))


def _label(kernel: str) -> str:
    return MODULES.get(kernel, (kernel,))[0]


def _layer_ticks(layers: int) -> np.ndarray:
    return np.arange(1, layers + 1, 1 if layers <= 24 else 2)
