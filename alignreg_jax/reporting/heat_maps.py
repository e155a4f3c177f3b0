"""Tables of percentages as colours."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
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
    tall = 0.32 * len(rows)
    names = 0.55 if max(map(len, columns)) <= 3 else 0.25 + 0.08 * max(map(len, columns))
    height = tall + names + 0.35
    place: dict[str, float] = {"left": left / WIDTH, "right": wide / WIDTH}
    place |= {"bottom": names / height, "top": (names + tall) / height}
    place["wspace"] = left / (wide / len(tables) - left)  # names of rows have as much everywhere
    # Anchored at 0 and 100, so that a flat table looks flat and two can be compared
    colours = ScalarMappable(Normalize(0, FULL), "cividis")
    with matplotlib.rc_context(svg.STYLE):
        figure = Figure(figsize=(WIDTH, height))
        shown = figure.subplots(1, len(tables), squeeze=False, gridspec_kw=place)[0]
        for axes, (title, table) in zip(shown, tables.items(), strict=True):
            axes.grid(False)
            look = {"edgecolor": svg.PAPER, "linewidth": 1.5}
            axes.pcolormesh(table, cmap=colours.cmap, norm=colours.norm, **look)
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
        side = np.divide((WIDTH - 0.62, names, 0.13, tall), (WIDTH, height) * 2)
        bar = figure.colorbar(colours, cax=figure.add_axes(tuple(side)))
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        bar.set_ticks([0, 50, 100], labels=["0", "50", "100 %"])
        return figure
