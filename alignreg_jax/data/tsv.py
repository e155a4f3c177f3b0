"""Tab-separated rows as XGLUE has them: no quoting, a quotation mark is text.

Nothing is stripped but the end of the line, because a field may be empty or end with spaces. The
columns of every row are counted: a file that is cut or shifted is an error, never other labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern

from alignreg_jax.data.lines import Progress, rows, silent
from alignreg_jax.data.schema import Rows
from alignreg_jax.errors import UserError


@dataclass(frozen=True)
class Columns:
    """What a file's columns are.

    Attributes:
        names: in the file's order, the label last.
        text_a: those of the first text, joined by a space.
        text_b: those of the second, if rows are pairs.
        header: what the first line says, if it is one.
    """

    names: tuple[str, ...]
    text_a: tuple[str, ...]
    text_b: tuple[str, ...] = ()
    header: tuple[str, ...] = ()


def read(
    path: Path, columns: Columns, *, unlabelled: bool = False, progress: Progress = silent
) -> Rows:
    """Return the rows of a file, labels as they are written there.

    Args:
        path: the file.
        columns: what is in it.
        unlabelled: whether the label may be missing, in all rows or none, as in test files of a
            competition; labels are then None.
        progress: told the bytes.

    Raises:
        UserError: with file:line for a row of another length, an empty label, a header that is not
            there, and as `lines.rows`.
    """
    width = len(columns.names)
    places = [
        [columns.names.index(name) for name in text] for text in (columns.text_a, columns.text_b)
    ]
    first, second = places
    text_a: list[str] = []
    text_b: list[str] = []
    labels: list[str] = []
    numbers: list[int] = []
    short = 0  # line of the first row without a label
    for number, line in rows(path, progress):
        fields = line.split("\t")
        where = f"{path}:{number}"
        if columns.header and number == 1:
            _check_header(fields, columns.header, where, unlabelled)
            continue
        if len(fields) == width:
            if not fields[-1]:
                raise UserError(f"{where}: the label is empty")
            labels.append(intern(fields[-1]))
        elif unlabelled and len(fields) == width - 1:
            short = short or number
        else:
            listed = ", ".join(columns.names)
            raise UserError(f"{where}: {len(fields)} columns and not {width} ({listed})")
        if short and labels:
            raise UserError(f"{path}:{short}: has no label, and other rows of the file have one")
        numbers.append(number)
        text_a.append(_join(fields, first))
        if second:
            text_b.append(_join(fields, second))
    if not numbers:
        raise UserError(f"{path}:1: the file has no rows but its header")
    return Rows(text_a, text_b if second else None, None if short else labels, str(path), numbers)


def _join(fields: Sequence[str], places: Sequence[int]) -> str:
    return " ".join(fields[place] for place in places)


def _check_header(fields: list[str], header: tuple[str, ...], where: str, unlabelled: bool) -> None:
    """Refuse a first line that is a row: skipping it would lose the row."""
    if tuple(fields) != header and not (unlabelled and tuple(fields) == header[:-1]):
        raise UserError(f"{where}: should be the names of the columns: {', '.join(header)}")
