"""Measures of every layer, of several models: what `alignreg probe` draws."""

import math

import pandas as pd
from matplotlib.figure import Figure

from alignreg_jax.reporting import charts, figures
from alignreg_jax.reporting.charts import Axis, Panel, Series


def draw(measured: pd.DataFrame) -> Figure:
    """A panel a measure, a line a model, the mean over languages against the layer.

    `measured` has columns model, language, layer, measure and value; layer 0 is the embedding.
    """
    groups = measured.groupby(["measure", "model", "layer"]).value
    means = groups.agg(lambda values: values.mean(skipna=False))
    styles = figures.looks(list(dict.fromkeys(measured.model)))
    last = int(measured.layer.max())
    panels = []
    for measure in dict.fromkeys(measured.measure):
        series = []
        for name, look in styles.items():
            line = means.get((measure, name))
            if line is not None and line.notna().any():
                x, y = [*map(float, line.index)], [*map(float, line)]
                series.append(Series(name, x, y, look))
        values = [value for one in series for value in one.y if math.isfinite(value)]
        limits = (min([0.0, *values]) - 0.02, max(values, default=1.0) + 0.05)
        panels.append(Panel(measure, series, limits))
    every = 1 if last <= 12 else 2
    ticks = [(float(layer), str(layer)) for layer in range(0, last + 1, every)]
    axis = Axis(
        "layer (0: the embedding)", (-0.4, last + 0.4), ticks, lambda layer: f"layer {layer:.0f}"
    )
    grid = [panels[at : at + 2] for at in range(0, len(panels), 2)]
    return charts.draw(grid, axis, [2.4] * len(grid), legend=[*styles.items()])
