"""Rows of parquet files as the Hub has them: label numbers, and features that name them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from sys import intern
from typing import Any

import pyarrow
import pyarrow.parquet
from datasets import ClassLabel, Features
from datasets.info import DatasetInfosDict

from alignreg_jax.data.lines import Progress, silent
from alignreg_jax.data.schema import Rows
from alignreg_jax.data.tasks import Task
from alignreg_jax.errors import UserError

ROWS_PER_BATCH = 4096
SPELLINGS: Mapping[str, str] = {
    # What the mirrors' loading script called columns of XGLUE, in one version or another
    "relevance_label": "relavance_label",
    "web_page_title": "wed_page_title",
    "answer": "annswer",
}


def read(
    files: Sequence[Path],
    task: Task,
    folder: Path,
    *,
    unlabelled: bool = False,
    progress: Progress = silent,
) -> Rows:
    """Return the rows of a split; labels by the names the data give them, never by position.

    Args:
        files: of the split, in order.
        task: says which columns.
        folder: with the data set's card, which may name the labels.
        unlabelled: whether all labels may be missing (-1 or null); they are then None.
        progress: told the bytes of each file.

    Raises:
        UserError: names the file, and the row if one is wrong.
    """
    columns: dict[str, list[Any]] = {name: [] for name in _columns(task)}
    text, label = _columns(task)[0], task.columns[-1]
    bare: list[Path] = []
    for file in files:
        for name, values in _read(file, task, folder, unlabelled).items():
            columns[name] += values
        if len(columns[label]) < len(columns[text]):
            bare.append(file)
        progress(file.stat().st_size)
    if not columns[text]:
        raise UserError(f"{files[0]}: has no rows")
    if bare and columns[label]:
        raise UserError(f"{bare[0]}: row 1 has no label, and other rows of the split have one")
    labels = None if bare else columns[label]
    if task.kind == "token":
        return Rows(columns[text], None, labels, str(files[0]))
    first, second = (_join(columns, names) for names in (task.text_a, task.text_b))
    return Rows(first, second if task.text_b else None, labels, str(files[0]))


def names(file: Path) -> tuple[str, ...]:
    """Return the names of a file's columns; UserError if it cannot be read."""
    with _opened(file) as parquet:
        return tuple(parquet.schema_arrow.names)


Choice = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of the columns of the first text, and of the second if there is one."""


def texts(
    file: Path, choices: Sequence[Choice], beside: Sequence[str] = (), *, nested: bool
) -> tuple[Rows, list[list[str]]]:
    """Return the texts of one file, which may have no labels, and columns of strings beside them.

    Args:
        file: the parquet file.
        choices: what the columns may be called; the first choice that is there is read.
        beside: further columns, one string a row.
        nested: whether rows are lists of words.

    Raises:
        UserError: names the file, and the row if one is wrong.
    """
    with _opened(file) as parquet:
        there = set(parquet.schema_arrow.names)
        chosen = next((both for both in choices if there.issuperset(sum(both, ()))), None)
        if chosen is None:
            listed = " or ".join(" and ".join(sum(both, ())) for both in choices)
            raise UserError(f"{file}: has no column {listed}")
        columns: dict[str, list[Any]] = {name: [] for name in (*sum(chosen, ()), *beside)}
        for batch in parquet.iter_batches(ROWS_PER_BATCH, columns=list(columns)):
            row = len(next(iter(columns.values()))) + 1
            for name, values in columns.items():
                words = nested and name not in beside
                values += _strings(batch[name], f"{file}: {name}", row, words)
    first, second = chosen
    rows = Rows(_join(columns, first), _join(columns, second) if second else None, None, str(file))
    return rows, [columns[name] for name in beside]


@contextmanager
def _opened(file: Path) -> Iterator[pyarrow.parquet.ParquetFile]:
    try:
        yield pyarrow.parquet.ParquetFile(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{file}: not readable as parquet ({first_line(error)})") from error


def _columns(task: Task) -> tuple[str, ...]:
    """The columns in use, the label last; PAWS-X has an id too, which a mirror lacks."""
    if task.kind == "token":
        return task.columns
    return (*task.text_a, *task.text_b, task.columns[-1])


def _join(columns: Mapping[str, list[Any]], names: Sequence[str]) -> list[Any]:
    """Several columns of text as one; of a single one, which may be of words, what it holds."""
    if len(names) == 1:
        return columns[names[0]]
    return [" ".join(parts) for parts in zip(*(columns[name] for name in names), strict=True)]


def _read(file: Path, task: Task, folder: Path, unlabelled: bool) -> dict[str, list[Any]]:
    """Columns of one file by our names; that of the labels is empty if it has none."""
    *texts, label = _columns(task)
    columns: dict[str, list[Any]] = {name: [] for name in (*texts, label)}
    with _opened(file) as parquet:
        names = _names_there(parquet.schema_arrow.names, (*texts, label), file)
        nested = task.kind == "token"
        names_of = _label_names(parquet.schema_arrow, names[label], nested, folder, file)
        for batch in parquet.iter_batches(ROWS_PER_BATCH, columns=list(names.values())):
            row = len(columns[label]) + 1
            for name in texts:
                where = f"{file}: {names[name]}"
                columns[name] += _strings(batch[names[name]], where, row, nested)
            columns[label] += _values(batch[names[label]], f"{file}: {names[label]}", row)
    values = columns[label]
    if unlabelled and all(_is_none(value) for value in values):
        return {**columns, label: []}
    if nested:
        columns[label] = _tags(values, names_of, columns[texts[0]], file)
    else:
        columns[label] = [
            _name(value, names_of, f"{file}: row {row}") for row, value in enumerate(values, 1)
        ]
    return columns


def _names_there(there: Sequence[str], wanted: Sequence[str], file: Path) -> dict[str, str]:
    """Our names of the columns -> the file's."""
    spelt = {name: name if name in there else SPELLINGS.get(name, name) for name in wanted}
    missing = [name for name, spelling in spelt.items() if spelling not in there]
    if missing:
        raise UserError(f"{file}: has no column {', '.join(sorted(missing))}")
    return spelt


def _strings(column: pyarrow.Array, where: str, row: int, nested: bool) -> list[Any]:
    """Texts, or lists of words; the first is of that row of the file."""
    kind = column.type
    if nested:
        if not _is_list(kind) or not _is_string(kind.value_type):
            raise UserError(f"{where} must be a list of strings, not {kind}")
    elif not _is_string(kind):
        raise UserError(f"{where} must be a string, not {kind}")
    values = _values(column, where, row)
    for number, value in enumerate(values, start=row):
        if value is None:
            raise UserError(f"{where} is null in row {number}")
        if nested and (not value or None in value):
            raise UserError(f"{where} is empty in row {number}, or has a null")
    return values


def _values(column: pyarrow.Array, where: str, row: int) -> list[Any]:
    """A column's values; nothing has looked yet whether its bytes are UTF-8."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError as error:
        for number, value in enumerate(column, start=row):
            try:
                value.as_py()
            except UnicodeDecodeError:
                raise UserError(f"{where} is not UTF-8 in row {number}") from error
        raise


def _is_string(kind: pyarrow.DataType) -> bool:
    return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)


def _is_list(kind: pyarrow.DataType) -> bool:
    return pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)


def _is_none(value: Any) -> bool:
    """Whether a row has no label, as in a test split whose labels are kept back."""
    return value is None or value == -1 or (isinstance(value, list) and set(value) <= {None, -1})


def _tags(values: list[Any], names: list[str] | None, words: list[Any], file: Path) -> list[Any]:
    for row, (tags, sentence) in enumerate(zip(values, words, strict=True), start=1):
        if tags is None or len(tags) != len(sentence):
            count = 0 if tags is None else len(tags)
            raise UserError(f"{file}: row {row} has {len(sentence)} words and {count} tags")
    return [
        [_name(tag, names, f"{file}: row {row}") for tag in tags]
        for row, tags in enumerate(values, start=1)
    ]


def _name(value: Any, names: list[str] | None, where: str) -> str:
    if names is None:
        if not value:
            raise UserError(f"{where} has no label")
        return intern(value)
    if value is None or not 0 <= value < len(names):
        raise UserError(f"{where} has no label ({value}; there are {len(names)})")
    return names[value]


def _label_names(
    schema: pyarrow.Schema, column: str, nested: bool, folder: Path, file: Path
) -> list[str] | None:
    """The names of the labels by number; None where they are written out."""
    kind = schema.field(column).type
    single = kind.value_type if nested and _is_list(kind) else kind
    if _is_list(kind) != nested or not (_is_string(single) or pyarrow.types.is_integer(single)):
        expected = "a string or a label's number"
        expected = f"a list, each item {expected}" if nested else expected
        raise UserError(f"{file}: {column} must be {expected}, not {kind}")
    if _is_string(single):
        return None
    # If the parquet file does not name its labels, the data set's card may
    names = _names_in(_metadata(schema), column)
    names = names or _names_in(_card(folder, file.parent.name), column)
    if names is None:
        raise UserError(f"{file}: {column} holds numbers, and neither file nor card names them")
    return names


def _names_in(features: Features | None, column: str) -> list[str] | None:
    feature = None if features is None else features.get(column)
    feature = getattr(feature, "feature", feature)  # of a list
    names = list(feature.names or ()) if isinstance(feature, ClassLabel) else []
    return names if names and all(isinstance(name, str) for name in names) else None


def _metadata(schema: pyarrow.Schema) -> Features | None:
    """What the file says of its columns."""
    try:
        return Features.from_arrow_schema(schema)
    except Exception:  # free text, as a card is: not JSON, an unknown type, labels without names
        return None


def _card(folder: Path, config: str) -> Features | None:
    try:
        info = DatasetInfosDict.from_directory(str(folder)).get(config)
    except Exception as error:  # a card is free text: whatever is wrong with it, it names nothing
        raise UserError(f"{folder}/README.md: not readable ({first_line(error)})") from error
    return info.features if info is not None else None


def first_line(error: Exception) -> str:
    """What an error says, without the lines behind the first."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
