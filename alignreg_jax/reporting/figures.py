"""The figures of a run's report, and of runs side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from alignreg_jax.reporting import charts, svg
from alignreg_jax.reporting.charts import FULL, Axis, Panel, Series
from alignreg_jax.reporting.heat_maps import heat_maps
from alignreg_jax.reporting.series import ENGLISH, Curve, Trace

# Kernel -> (name for a reader, colour, marker), from the input of a layer to its output.
MODULES = {
    "attention/query": ("query", svg.BLUE, "o"),
    "attention/key": ("key", svg.SKY, "s"),
    "attention/value": ("value", svg.GREEN, "^"),
    "attention/output": ("attention output", svg.VERMILION, "D"),
    "intermediate": ("feed-forward in", svg.ORANGE, "v"),
    "output": ("feed-forward out", svg.PURPLE, "P"),
}
MEAN = "zero-shot mean"
_HEAVY = {"linewidth": 2.6, "marker": "o", "markersize": 4.5}
_ENGLISH, _MEAN = {"color": svg.BLUE, **_HEAVY}, {"color": svg.VERMILION, **_HEAVY}
_ONE, _GAPS = (
    {"color": svg.FAINT, "linewidth": 0.8, "linestyle": style} for style in ("-", charts.DOTTED)
)
_DIAMOND = {
    **{"color": svg.VERMILION, "linestyle": "", "marker": "D", "markersize": 6.5},
    **{"markeredgewidth": 1.8, "markerfacecolor": svg.PAPER},
}


def accuracy(
    curves: Sequence[Curve], mean: Curve | None, full_means: Curve, *, chance: float, title: str
) -> Figure:
    """Every language against remaining weights, with English and the zero-shot mean in front.

    `title` says what the scores are; `mean` is over the languages that every step evaluated;
    `full_means` has a point for each step that evaluated all of them; `chance` is 0 for none.
    """
    others = [curve for curve in curves if curve.language != ENGLISH]
    whole = all(curve.every_step for curve in curves)
    lines = [
        _line(curve, curve.language, _ENGLISH, end=curve.language, front=True)
        if curve.language == ENGLISH
        else _line(curve, curve.language, _ONE if curve.every_step else _GAPS, end=curve.language)
        for curve in curves
    ]
    legend: list[tuple[str, Mapping[str, Any]]] = []
    if len(others) < len(curves):
        legend.append(("English", _ENGLISH))
    if mean is not None:
        many = sum(curve.every_step for curve in others)
        name = f"mean of {many} zero-shot languages" if many > 1 else "the zero-shot language"
        legend.append((name, _MEAN))
        lines.append(_line(mean, MEAN, _MEAN, end="mean" if whole else "", front=True))
    if not whole and full_means.values:
        # A white diamond: the mean that counts, but known only where every language was evaluated.
        legend.append((f"mean of all {len(others)}", _DIAMOND))
        lines.append(_line(full_means, MEAN, _DIAMOND, end="mean", front=True))
    if any(curve.every_step for curve in others):
        legend.append(("one language each", _ONE))
    if any(not curve.every_step for curve in others):
        legend.append(("not evaluated at every step", _GAPS))
    panel = Panel(title, lines, charts.levels(lines, FULL * chance), colour=svg.MUTED)
    height = max(4.6, 0.128 * len(lines))
    return charts.draw([[panel]], _axis(curves), [height], chance=FULL * chance, legend=legend)


def _line(
    curve: Curve, name: str, look: Mapping[str, Any], *, end: str = "", front: bool = False
) -> Series:
    last = end if curve.final is not None or curve.dense is None else ""
    x, y = (tuple(FULL * np.array(values)) for values in (curve.remaining, curve.values))
    return Series(name, x, y, look, end=last, front=front)


def _axis(curves: Sequence[Curve], *, ends: bool = False) -> Axis:
    at = sorted({FULL * x for curve in curves for x in curve.remaining})
    return charts.remaining_axis(at, ends=ends)


def languages(curves: Sequence[Curve], mean: Curve | None, *, chance: float) -> Figure:
    """A small panel per language on one scale: its curve, its dense level, and the mean behind."""
    panels = []
    for curve in curves:
        english = curve.language == ENGLISH
        colour = svg.BLUE if english else svg.INK
        style = "-" if curve.every_step else charts.DOTTED
        look = {"color": colour, "linewidth": 1.6, "linestyle": style, "marker": "o"}
        lines = [_line(curve, curve.language, {**look, "markersize": 2.6}, front=True)]
        if curve.dense is not None:
            level = {"color": svg.FAINT, "linewidth": 0.7}
            lines.append(Series(curve.language, (), (FULL * curve.dense,), level, level=True))
        if mean is not None and not english:
            lines.append(_line(mean, MEAN, {"color": svg.VERMILION, "linewidth": 1, "alpha": 0.55}))
        ends = ("–" if end is None else f"{FULL * end:.0f}" for end in (curve.dense, curve.final))
        panels.append(Panel(curve.language, lines, (0, 0), " → ".join(ends), colour))
    limits = charts.levels([one for panel in panels for one in panel.series], FULL * chance)
    grid = charts.lines_of([panel._replace(limits=limits) for panel in panels])
    heights = [1.0 if len(panels) > 4 else 1.6] * len(grid)
    return charts.draw(grid, _axis(curves, ends=True), heights)


def weight_norms(dense: Mapping[str, np.ndarray], final: Mapping[str, np.ndarray] | None) -> Figure:
    """Frobenius norm of each module's kernel by layer, dense and pruned (the paper's Figure 7)."""
    kernels, panels = _modules(dense), []
    looks = {kernel: _look(kernel) for kernel in kernels}
    layers = len(dense[kernels[0]])
    x = tuple(float(layer) for layer in range(1, layers + 1))
    for title, norms in (("dense, after fine-tuning", dense), ("after the last step", final)):
        if norms is not None:
            lines = [Series(_label(k), x, norms[k].tolist(), looks[k]) for k in kernels]
            panels.append(Panel(title, lines, (0.0, 0.0)))
    top = max(value for panel in panels for one in panel.series for value in one.y)
    panels = [panel._replace(limits=(0.0, 1.05 * top)) for panel in panels]
    legend = [(_label(kernel), looks[kernel]) for kernel in kernels]
    return charts.draw([panels], charts.layers_axis(layers), [2.5], legend=legend)


def _look(kernel: str) -> dict[str, Any]:
    _, colour, marker = MODULES.get(kernel, (kernel, svg.INK, "o"))
    return {"color": colour, "marker": marker, "markersize": 4.5, "linewidth": 1.6}


def remaining_by_layer(remaining: Mapping[str, np.ndarray]) -> Figure:
    """Heat map of the fraction of weights that remains in each of the kernels."""
    kernels = _modules(remaining)
    table = FULL * np.stack([remaining[kernel] for kernel in kernels])
    layers = [str(layer) for layer in range(1, table.shape[1] + 1)]
    return heat_maps({"": table}, list(map(_label, kernels)), layers, "encoder layer")


def training(task_loss: Trace, penalty: Trace | None, cuts: Sequence[tuple[int, float]]) -> Figure:
    """Cross-entropy and penalty apart, against the step; `cuts` are prunings: (step, remaining)."""
    grid = []
    for title, curve, colour in (
        ("cross-entropy", task_loss, svg.BLUE),
        ("penalty, as added to the loss", penalty, svg.VERMILION),
    ):
        if curve is not None:
            look = {"color": colour, "linewidth": 1.3}
            line = Series(title, curve.steps.tolist(), curve.values.tolist(), look)
            top, low = (f(curve.values, initial=0.0) for f in (np.nanmax, np.nanmin))
            grid.append([Panel(title, [line], (1.05 * float(low), 1.05 * float(top)), "", colour)])
    last = float(max(task_loss.steps[-1], 1.0))
    ticks = [(x, f"{x:,.0f}") for x in round_numbers(0.0, last)]
    axis = Axis("training step", (-0.01 * last, 1.01 * last), ticks, lambda x: f"step {x:,.0f}")
    marks = [(float(step), f"{FULL * remaining:.0f} %") for step, remaining in cuts]
    return charts.draw(grid, axis, [1.75] * len(grid), marks=marks)


def round_numbers(low: float, high: float) -> list[float]:
    """About six round numbers from one to the other."""
    size = 10.0 ** np.floor(np.log10((high - low) / 3))
    size *= next((times for times in (1, 2, 5) if (high - low) / (times * size) <= 7), 5)
    return [float(x) for x in size * np.arange(np.ceil(low / size), high / size + 1e-9)]


def _modules(table: Mapping[str, object]) -> list[str]:
    """The kernels of a table in the order of the network, unknown ones last."""
    order = list(MODULES)
    return sorted(table, key=lambda kernel: order.index(kernel) if kernel in order else len(order))


def _label(kernel: str) -> str:
    return MODULES.get(kernel, (kernel,))[0]


# ---- More than one model ----------------------------------------------------------------------

COLOURS = (
    *(svg.BLUE, svg.VERMILION, svg.GREEN, svg.PURPLE),
    *(svg.ORANGE, svg.SKY, svg.BROWN, svg.OLIVE),
)
STROKES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.2, 1.2, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d", "*")


def looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A look for each, told apart by colour, stroke and marker together."""
    found = {}
    for place, name in enumerate(names):
        stroke = STROKES[place // len(COLOURS) % len(STROKES)]
        look = {"color": COLOURS[place % len(COLOURS)], "linestyle": stroke, "linewidth": 1.8}
        found[name] = {**look, "marker": MARKERS[place % len(MARKERS)], "markersize": 4.2}
    return found


def costs(points: Sequence[tuple[str, float, Mapping[str, float | None]]], label: str) -> Figure:
    """A panel a score, a point a model: (name, what it costs, its scores)."""
    styles = looks([name for name, *_ in points])
    panels = []
    for title in points[0][2]:
        series = [
            Series(name, (x,), (y,), {**styles[name], "markersize": 7}, front=True)
            for name, x, scores in points
            if (y := scores[title]) is not None
        ]
        if series:
            panels.append(Panel(title, series, charts.levels(series)))
    legend = [(name, {**styles[name], "linestyle": ""}) for name, *_ in points]
    at = sorted(x for _, x, _ in points)
    margin = 0.08 * (at[-1] - at[0])
    limits = (at[0] - margin, at[-1] + margin)
    ticks = [(x, f"{x:,g}") for x in round_numbers(*limits)]
    axis = Axis(label, limits, ticks, lambda x: f"{x:.1f} {label}")
    return charts.draw([panels], axis, [2.4], legend=legend)


def side_by_side(
    runs: Mapping[str, Sequence[tuple[str, Curve]]], *, chance: float, small: bool
) -> Figure:
    """Curves of several runs: by panel (run, curve) each; `small` for a panel a language."""
    names = list(dict.fromkeys(name for found in runs.values() for name, _ in found))
    styles, panels = looks(names), []
    for title, found in runs.items():
        series = [
            _line(curve, name, styles[name], end="" if small else name)._replace(front=not small)
            for name, curve in found
        ]
        panels.append(Panel(title, series, charts.levels(series, FULL * chance)))
    curves = [curve for found in runs.values() for _, curve in found]
    axis = _axis(curves, ends=small)
    if not small:
        heights = [max(3.2, 0.128 * len(names))] * len(panels)
        return charts.draw([[panel] for panel in panels], axis, heights, chance=FULL * chance)
    limits = charts.levels([one for panel in panels for one in panel.series], FULL * chance)
    grid = charts.lines_of([panel._replace(limits=limits) for panel in panels])
    legend = [(name, styles[name]) for name in names]
    return charts.draw(grid, axis, [1.15] * len(grid), legend=legend)
