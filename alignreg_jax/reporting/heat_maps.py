"""Tables of percentages as colours."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from alignreg_jax.reporting import svg
from alignreg_jax.reporting.charts import FULL, WIDTH

DARK = 46.5
"""Up to this percentage white stands out better from cividis than black."""


def heat_maps(
    tables: Mapping[str, Float[np.ndarray, "rows columns"]],
    rows: Sequence[str],
    columns: Sequence[str],
    label: str = "",
) -> Figure:
    """Tables of percentages as colours side by side, by title; numbers where they have room."""
    left, wide = 0.2 + 0.085 * max(map(len, rows)), WIDTH - 0.9
    width = (wide - left * len(tables)) / len(tables)
    tall = 0.32 * len(rows)
    names = 0.55 if max(map(len, columns)) <= 3 else 0.25 + 0.08 * max(map(len, columns))
    height = tall + names + 0.35
    with matplotlib.rc_context(svg.STYLE):
        figure, mesh = Figure(figsize=(WIDTH, height)), None
        for number, (title, table) in enumerate(tables.items()):
            x = left + number * (left + width)
            frame = np.divide((x, names, width, tall), (WIDTH, height) * 2)
            axes = figure.add_axes(tuple(frame))
            axes.grid(False)
            # Anchored at 0 and 100, so that a flat table looks flat and two can be compared
            mesh = axes.pcolormesh(
                table, cmap="cividis", vmin=0, vmax=FULL, edgecolor=svg.PAPER, linewidth=1.5
            )
            for (line, column), value in np.ndenumerate(table if table.shape[1] <= 24 else [[]]):
                colour = "#000000" if value > DARK else "#ffffff"
                where = {"ha": "center", "va": "center", "fontsize": 8}
                axes.text(column + 0.5, line + 0.5, f"{value:.0f}", color=colour, **where)
            axes.invert_yaxis()
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
            every = slice(None, None, 1 if len(columns) <= 24 else 2)
            turned = 60 if max(map(len, columns)) > 3 else 0
            axes.set_xticks(np.arange(len(columns))[every] + 0.5, columns[every], rotation=turned)
            axes.set_xlabel(label)
            axes.set_title(title, color=svg.INK)
        assert mesh is not None
        side = np.divide((WIDTH - 0.62, names, 0.13, tall), (WIDTH, height) * 2)
        bar = figure.colorbar(mesh, cax=figure.add_axes(tuple(side)))
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        bar.set_ticks([0, 50, 100], labels=["0", "50", "100 %"])
        return figure
