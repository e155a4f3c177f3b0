"""How each row of a sweep is drawn, the same in every figure of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from alignreg_jax.reporting import svg
from alignreg_jax.reporting.charts import DASHED
from alignreg_jax.reporting.figures import COLOURS, MARKERS, STROKES
from alignreg_jax.reporting.sweeps.lines import family

FRONT = {"cosine-mbp": svg.BLUE, "frobenius-mbp": svg.VERMILION}  # what the paper is about
_COLOURS = COLOURS[2:]  # of the others


@dataclass(frozen=True)
class Style:
    """The look of a row.

    Attributes:
        name: what it is called in a figure.
        group: what it is called in a legend of small panels, together with its like.
        colour: of line and marker.
        stroke: of its line.
        marker: of its points; "" for none.
        front: one of the rows to look at; the others are thin.
        level: it is not pruned, so that its score is a level and not a line.
    """

    name: str
    group: str
    colour: str
    stroke: Any
    marker: str = ""
    front: bool = False
    level: bool = False

    def look(self) -> dict[str, Any]:
        """Keywords of its line and points."""
        width, opacity, size = (2.4, 1.0, 4.6) if self.front else (1.2, 0.9, 3.6)
        line = {"color": self.colour, "linestyle": self.stroke, "linewidth": width}
        points = {"marker": self.marker, "markersize": size, "markeredgewidth": 0}
        return {**line, "alpha": opacity, **points}

    def thin(self) -> dict[str, Any]:
        """Keywords of its line in a small panel."""
        width = 1.5 if self.front else 0.8
        return {"color": self.colour, "linestyle": self.stroke, "linewidth": width}


def row_styles(
    rows: Sequence[str], baseline: str, dense_rows: Collection[str] = ()
) -> dict[str, Style]:
    """A style a row: baseline and the paper's regularizers in front, the others thin.

    The values of one method (`cosine-mbp@regularizer.weight=10`) share its colour.
    """
    values = family(rows)
    field = f"@{values.field}=" if values else None
    short = told_apart(rows)
    found: dict[str, Style] = {}
    behind: dict[str, int] = {}  # method -> its position among those that are not in front
    for row in rows:
        method, name = row.partition("@")[0], row.replace(field, " ") if field else short[row]
        if row in dense_rows:
            name = f"{short[row]} (dense)"
            found[row] = Style(name, name, svg.MUTED, DASHED, level=True)
        elif row == baseline or row in FRONT:
            colour = svg.INK if row == baseline else FRONT[row]
            found[row] = Style(name, name, colour, "-", "o", front=True)
        else:
            same = method if values else row  # without a family every row is a method of its own
            place = behind.setdefault(same, len(behind))
            many = sum(other.partition("@")[0] == method for other in found) if values else 0
            colour = FRONT.get(method) if values else None
            colour = colour or _COLOURS[place % len(_COLOURS)]
            stroke = STROKES[(place // len(_COLOURS) + many) % len(STROKES)]
            marker = MARKERS[1:][(place + many) % len(MARKERS[1:])]
            group = f"{method}, a line a value" if values and method in FRONT else name
            found[row] = Style(name, group, colour, stroke, marker)
    return found


def told_apart(rows: Sequence[str]) -> dict[str, str]:
    """Names of rows without the fields that are not needed to tell them apart, the last first.

    Of `l2-mbp@distill.teacher=dense` and `l2-mbp@distill.teacher=dense@distill.text=data` the first
    is "l2-mbp, teacher=dense", the second "l2-mbp, text=data". Tables have the whole. No name fits
    another row that the whole one would not fit, too.
    """
    parts = {row: tuple(row.split("@")) for row in rows}
    whole = {row: {*fields} for row, fields in parts.items()}
    for row in rows:
        taught = any(part.startswith("distill.text=") for part in parts[row])
        order = sorted(
            reversed(parts[row][1:]),  # text has a teacher anyway
            key=lambda part: not (taught and part.startswith("distill.teacher=")),
        )
        for part in order:
            fewer = tuple(each for each in parts[row] if each != part)
            others = [parts[other] for other in rows if other != row]
            mistaken = any(
                whole[other] >= {*fewer} and not whole[other] >= whole[row] for other in rows
            )
            # A method's name alone is the plain method
            if len(fewer) > 1 and fewer not in others and not mistaken:
                parts[row] = fewer
    names = {
        row: ", ".join([method, *map(_plain, fields)]) for row, (method, *fields) in parts.items()
    }
    # Two sections may have fields of one name
    return names if len(set(names.values())) == len(names) else {row: row for row in rows}


def _plain(field: str) -> str:
    """Without its section, as values may have dots: pruning.scope=global is scope=global."""
    name, _, value = field.partition("=")
    return f"{name.rpartition('.')[2]}={value}"
