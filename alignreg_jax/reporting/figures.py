"""The figures of a run's report, of runs side by side, and of what `alignreg probe` measures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alignreg_jax.reporting import charts, svg
from alignreg_jax.reporting.charts import FULL, Axis, Panel, Series
from alignreg_jax.reporting.heat_maps import heat_maps
from alignreg_jax.reporting.series import ENGLISH, common_languages, mean_over
from alignreg_jax.reporting.tables import percent

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
    scores: pd.DataFrame, ends: pd.DataFrame, full: pd.Series, *, chance: float, title: str
) -> Figure:
    """Every language against remaining weights, with English and the zero-shot mean in front.

    `scores` and `ends` as of `series`; the mean is over the languages that every step evaluated,
    `full` has a point for each step that evaluated all of them; `chance` is 0 for none; `title`
    says what the scores are.
    """
    every_step, common = scores.notna().all(), common_languages(scores)
    known = ends.final.notna() | ends.dense.isna()  # what stops in between has no label at the end
    looks = {name: _ONE if whole else _GAPS for name, whole in every_step.items()}
    looks[ENGLISH] = _ENGLISH
    lines = []
    for name in map(str, scores):
        end, front = name if known[name] else "", name == ENGLISH
        lines.append(_line(name, scores.loc[:, name], looks[name], end=end, front=front))
    others = every_step.drop(ENGLISH, errors="ignore")
    # A white diamond: the mean that counts, but known only where every language was evaluated.
    diamonds = len(full) and not every_step.all()
    if common:
        end = "mean" if every_step.all() else ""
        lines.append(_line(MEAN, mean_over(scores, common), _MEAN, end=end, front=True))
    if diamonds:
        lines.append(_line(MEAN, full, _DIAMOND, end="mean", front=True))
    many = f"mean of {len(common)} zero-shot languages"
    entries = [
        (ENGLISH in scores, "English", _ENGLISH),
        (common, many if len(common) > 1 else "the zero-shot language", _MEAN),
        (diamonds, f"mean of all {len(others)}", _DIAMOND),
        (others.any(), "one language each", _ONE),
        (not others.all(), "not evaluated at every step", _GAPS),
    ]
    legend = [(name, look) for shown, name, look in entries if shown]
    panel = Panel(title, lines, charts.levels(lines, FULL * chance), colour=svg.MUTED)
    height = max(4.6, 0.128 * len(lines))
    axis = _axis(scores.index)
    return charts.draw([[panel]], axis, [height], chance=FULL * chance, legend=legend)


def _line(
    name: str, scores: pd.Series, look: Mapping[str, Any], *, end: str = "", front: bool = False
) -> Series:
    """The scores that there are, by what remains."""
    found = FULL * scores.dropna()
    x = tuple(FULL * found.index)
    return Series(name, x, tuple(found), look, end=end, front=front)


def _axis(remaining: Iterable[float], *, ends: bool = False) -> Axis:
    return charts.remaining_axis(sorted({FULL * x for x in remaining}), ends=ends)


def languages(scores: pd.DataFrame, ends: pd.DataFrame, *, chance: float) -> Figure:
    """A small panel per language on one scale: its curve, its dense level, and the mean behind."""
    panels, common, levels = [], common_languages(scores), ends.dense.dropna()
    partial = {*scores.columns[scores.isna().any()]}
    for name, dense, final, _ in ends.itertuples():
        english = name == ENGLISH
        colour = svg.BLUE if english else svg.INK
        style = charts.DOTTED if name in partial else "-"
        look = {"color": colour, "linewidth": 1.6, "linestyle": style, "marker": "o"}
        lines = [_line(name, scores.loc[:, name], {**look, "markersize": 2.6}, front=True)]
        if name in levels:
            level = {"color": svg.FAINT, "linewidth": 0.7}
            lines.append(Series(name, (), (FULL * dense,), level, level=True))
        if common and not english:
            mean = mean_over(scores, common)
            lines.append(_line(MEAN, mean, {"color": svg.VERMILION, "linewidth": 1, "alpha": 0.55}))
        right = f"{percent(dense, 0)} → {percent(final, 0)}"
        panels.append(Panel(name, lines, right=right, colour=colour))
    high, axis = 1.0 if len(panels) > 4 else 1.6, _axis(scores.index, ends=True)
    return charts.small_panels(panels, axis, high, FULL * chance)


def weight_norms(dense: pd.DataFrame, final: pd.DataFrame | None) -> Figure:
    """Frobenius norm of each module's kernel by layer, dense and pruned (the paper's Figure 7)."""
    modules, layers = _modules(dense), range(1, len(dense) + 1)
    looks = {
        name: {"color": colour, "marker": marker, "markersize": 4.5, "linewidth": 1.6}
        for name, colour, marker in modules.values()
    }
    shown = {"dense, after fine-tuning": dense, "after the last step": final}
    shown = {title: norms for title, norms in shown.items() if norms is not None}
    limits = (0.0, 1.05 * max(norms.max(axis=None) for norms in shown.values()))
    panels = []
    for title, norms in shown.items():
        lines = [
            Series(name, [*map(float, layers)], norms[kernel].tolist(), looks[name])
            for kernel, (name, *_) in modules.items()
        ]
        panels.append(Panel(title, lines, limits))
    ticks = [(place, str(place)) for place in layers[:: 1 if len(layers) <= 24 else 2]]
    ends = (0.5, len(layers) + 0.5)
    axis = Axis("encoder layer", ends, ticks, lambda x: f"layer {x:.0f}")
    return charts.draw([panels], axis, [2.5], legend=[*looks.items()])


def remaining_by_layer(remaining: pd.DataFrame) -> Figure:
    """Heat map of the fraction of weights that remains in each of the kernels."""
    modules = _modules(remaining)
    layers = [str(layer) for layer in range(1, len(remaining) + 1)]
    table = FULL * remaining[[*modules]].to_numpy().T
    return heat_maps({"": table}, [name for name, *_ in modules.values()], layers, "encoder layer")


def training(
    task_loss: pd.Series, penalty: pd.Series | None, cuts: Sequence[tuple[int, float]]
) -> Figure:
    """Cross-entropy and penalty apart, by step; `cuts` are prunings: (step, remaining)."""
    grid = []
    for title, curve, colour in (
        ("cross-entropy", task_loss, svg.BLUE),
        ("penalty, as added to the loss", penalty, svg.VERMILION),
    ):
        if curve is not None:
            look = {"color": colour, "linewidth": 1.3}
            line = Series(title, curve.index.tolist(), curve.tolist(), look)
            low, high = (1.05 * float(end([*curve, 0.0])) for end in (np.nanmin, np.nanmax))
            grid.append([Panel(title, [line], (low, high), colour=colour)])
    last = float(max(task_loss.index[-1], 1.0))
    ticks = [(x, f"{x:,.0f}") for x in round_numbers(0.0, last)]
    axis = Axis("training step", (-0.01 * last, 1.01 * last), ticks, lambda x: f"step {x:,.0f}")
    marks = [(float(step), f"{FULL * remaining:.0f} %") for step, remaining in cuts]
    return charts.draw(grid, axis, [1.75] * len(grid), marks=marks)


def round_numbers(low: float, high: float) -> list[float]:
    """About six round numbers from one to the other."""
    found = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(low, high)
    near = 1e-9 * (high - low)
    return [float(x) for x in found if low - near <= x <= high + near]


def _modules(table: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """The kernels of a table as in `MODULES`, in the order of the network, unknown ones last."""
    known = {kernel: MODULES[kernel] for kernel in MODULES if kernel in table}
    return known | {kernel: (kernel, svg.INK, "o") for kernel in table if kernel not in known}


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


_LEAST = 10.0  # points that a scale of scores beside costs has


def costs(points: pd.DataFrame, cost: str, scores: Sequence[str]) -> Figure:
    """A panel a score, a point a model: `points` has a model a line, `cost` and `scores` of it."""
    styles = looks([*points.index])
    panels = []
    for title in scores:
        series = [
            Series(str(name), (x,), (y,), {**styles[str(name)], "markersize": 7}, front=True)
            for name, x, y in points[[cost, title]].dropna().itertuples()
        ]
        if series:
            low, high = charts.levels(series)
            more = max(0.0, _LEAST - (high - low)) / 2  # or a flip would look like a fall
            panels.append(Panel(title, series, (low - more, high + more)))
    legend = [(name, {**style, "linestyle": ""}) for name, style in styles.items()]
    low, high = min(points[cost]), max(points[cost])
    margin = 0.08 * (high - low)
    limits = (low - margin, high + margin)
    ticks = [(x, f"{x:,g}") for x in round_numbers(*limits)]
    axis = Axis(cost, limits, ticks, lambda x: f"{x:.1f} {cost}")
    return charts.draw([panels], axis, [2.4], legend=legend)


def side_by_side(
    panels: Mapping[str, Mapping[str, pd.Series]], *, chance: float, small: bool
) -> Figure:
    """Scores of several runs, by panel and run; `small` for a panel a language."""
    styles = looks(list(dict.fromkeys(name for found in panels.values() for name in found)))
    drawn = []
    for title, found in panels.items():
        series = [
            _line(name, one, styles[name], end="" if small else name, front=not small)
            for name, one in found.items()
        ]
        drawn.append(Panel(title, series, charts.levels(series, FULL * chance)))
    at = [x for found in panels.values() for one in found.values() for x in one.dropna().index]
    axis = _axis(at, ends=small)
    if small:
        return charts.small_panels(drawn, axis, 1.15, FULL * chance, legend=[*styles.items()])
    heights = [max(3.2, 0.128 * len(styles))] * len(drawn)
    return charts.draw([[panel] for panel in drawn], axis, heights, chance=FULL * chance)


def layers(measured: pd.DataFrame) -> Figure:
    """A panel a measure, a line a model, the mean over languages against the layer.

    `measured` has columns model, language, layer, measure and value; layer 0 is the embedding.
    """
    groups = measured.groupby(["measure", "model", "layer"]).value
    means = groups.agg(lambda values: values.mean(skipna=False))
    styles = looks(list(dict.fromkeys(measured.model)))
    last = int(measured.layer.max())
    panels = []
    for measure in dict.fromkeys(measured.measure):
        series = []
        for name, look in styles.items():
            line = means.get((measure, name))
            if line is not None and line.notna().any():
                x, y = [*map(float, line.index)], [*map(float, line)]
                series.append(Series(name, x, y, look))
        values = [value for one in series for value in one.y if np.isfinite(value)]
        limits = (min([0.0, *values]) - 0.02, max(values, default=1.0) + 0.05)
        panels.append(Panel(measure, series, limits))
    every = 1 if last <= 12 else 2
    ticks = [(float(layer), str(layer)) for layer in range(0, last + 1, every)]
    axis = Axis(
        "layer (0: the embedding)", (-0.4, last + 0.4), ticks, lambda layer: f"layer {layer:.0f}"
    )
    grid = [panels[at : at + 2] for at in range(0, len(panels), 2)]
    return charts.draw(grid, axis, [2.4] * len(grid), legend=[*styles.items()])
