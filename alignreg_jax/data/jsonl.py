"""Files of JSON lines, one object a line, in a folder that `folders` lists.

Rows of one text or two are `text`[, `text_pair`], `label`; sentences are `tokens` and their `tags`.
Labels and tags are names, or numbers as `datasets.to_json` writes them, in a whole data set alike.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

from alignreg_jax.data.folders import LABELS
from alignreg_jax.data.lines import Progress, rows, silent
from alignreg_jax.data.names import check_name
from alignreg_jax.data.schema import BadRows, Rows
from alignreg_jax.errors import Mistakes, UserError

WHITE = " \t"
MISTAKES = 10
"""Kinds of them in one file, after which no more of it is read."""
_KINDS = {dict: "an object", list: "a list", bool: "true or false", type(None): "null",
          str: "a string", float: "a float"}  # fmt: skip


def read(
    path: Path, *, pair: bool | None, labelled: bool | None = True, progress: Progress = silent
) -> Rows:
    """Return the rows of a file; lines end at a newline only, so U+2028 is text.

    A byte order mark, carriage returns before a newline and blank lines at the end are tolerated.

    Args:
        path: the file.
        pair: whether rows have a `text_pair`; None takes what the first row has.
        labelled: whether rows have labels; else those that are there are passed over. None: a row
            may lack one, and its label is then empty, as none in a file may be.
        progress: told the bytes.

    Raises:
        UserError: with file:line, for anything that is not such a file; `BadRows`, which has the
            rows that are as they should be.
    """
    text_a: list[str] = []
    text_b: list[str] = []
    labels: list[str] = []
    kind: type | None = None

    def add(line: str, where: str) -> None:
        nonlocal kind, pair
        row = _parse(line, where, "text and label" if labelled else "text")
        if "tokens" in row and "text" not in row:
            raise UserError(f"{where}: has tokens, which task.name=tokens and pos_tags read")
        if pair is None:
            pair = "text_pair" in row
        if not pair and "text_pair" in row:
            raise UserError(f"{where}: has a text_pair, and the rows of this task have one text")
        text = _string(_value(row, "text", where), "text", where)
        other = _string(_value(row, "text_pair", where), "text_pair", where) if pair else ""
        label = ""
        if labelled or (labelled is None and "label" in row):
            label, kind = _label(_value(row, "label", where), kind, "label", where)
            if not label:
                raise UserError(f"{where}: the label is empty")
        text_a.append(text)
        if pair:
            text_b.append(other)
        if labelled is not False:
            labels.append(label)

    read = _each(path, progress, add, "label")
    found = None if labelled is False else labels
    rows = Rows(text_a, text_b if pair else None, found, str(path), numbered=kind is int)
    return _sound(read, rows, labels)


def read_tokens(path: Path, *, labelled: bool | None = True, progress: Progress = silent) -> Rows:
    """Return the sentences of a file, `tokens` and as many `tags`; else as `read`.

    A sentence that lacks tags has an empty one for every word.
    """
    sentences: list[list[str]] = []
    tags: list[list[str]] = []
    kind: type | None = None

    def add(line: str, where: str) -> None:
        nonlocal kind
        row = _parse(line, where, "tokens and tags" if labelled else "tokens")
        tokens = _list(row, "tokens", where)
        sentence = [_string(token, "every one of tokens", where) for token in tokens]
        own: list[str] = []
        if labelled or (labelled is None and "tags" in row):
            for tag in _list(row, "tags", where, "strings or numbers"):
                name, kind = _label(tag, kind, "every one of tags", where)
                own.append(name)
            if len(sentence) != len(own):
                raise UserError(f"{where}: has {len(sentence)} tokens and {len(own)} tags")
            if "" in own:
                raise UserError(f"{where}: tag {own.index('') + 1} is empty")
        sentences.append(sentence)
        if labelled is not False:
            tags.append(own or [""] * len(sentence))

    read = _each(path, progress, add, "tags")
    found = None if labelled is False else tags
    rows = Rows(sentences, None, found, str(path), numbered=kind is int)
    return _sound(read, rows, chain.from_iterable(tags))


def _labels(line: str, field: str) -> set[str] | None:
    """Labels of a row with a mistake in it, as far as they can be read; None: not at all."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    found = row.get(field) if isinstance(row, dict) else None
    values = found if isinstance(found, list) else [found]
    return {str(value) for value in values if type(value) in (str, int)}


class _Read(NamedTuple):
    """What came of reading a file.

    Attributes:
        last: number of its last line that was looked at.
        bad: numbers of those with mistakes.
        mistakes: lines to tell.
        labels: of the rows with mistakes; None: not all of them can be read.
    """

    last: int
    bad: frozenset[int]
    mistakes: list[str]
    labels: frozenset[str] | None


def _sound(read: _Read, rows: Rows, labels: Iterable[str]) -> Rows:
    """The rows of a file, which have `labels`; BadRows where there are mistakes in others."""
    if not read.mistakes:
        return rows
    lines = [number for number in range(1, read.last + 1) if number not in read.bad]
    seen = None if read.labels is None else read.labels.union(labels)
    raise BadRows(read.mistakes, replace(rows, lines=lines[: len(rows.text_a)]), seen)


def _each(path: Path, progress: Progress, add: Callable[[str, str], None], field: str) -> _Read:
    """Read every row of a file with `add`, which is given the line and its place.

    Of mistakes the first of each kind is told; what stands behind damage is not read. `field` is
    where a row has its label.
    """
    number, bad = 0, set()
    labels: set[str] | None = set()
    first: dict[str, str] = {}
    count: dict[str, int] = {}

    def note(error: UserError, where: str) -> None:
        what = str(error).removeprefix(f"{where}: ")
        first.setdefault(what, where)
        count[what] = count.get(what, 0) + 1

    where = str(path)
    try:
        for number, line in rows(path, progress, WHITE):
            where = f"{path}:{number}"
            try:
                add(line, where)
            except UserError as error:
                note(error, where)
                bad.add(number)
                more = _labels(line, field)
                labels = None if labels is None or more is None else labels | more
            if len(first) == MISTAKES:
                labels = None
                break
    except UserError as error:  # of the file, not of a row
        note(error, "")
        labels = None
    found = []
    for what, where in first.items():
        more = f" (and {count[what] - 1:,} more like it)" if count[what] > 1 else ""
        found.append(f"{where}: {what}{more}" if where else what)
    known = None if labels is None else frozenset(labels)
    return _Read(number, frozenset(bad), found, known)


def has_field(path: Path, field: str) -> bool:
    """Whether the first row of a file has a field; UserError as `read`."""
    number, line = next(rows(path, white=WHITE))
    return field in _parse(line, f"{path}:{number}", "text and label")


def read_names(path: Path, field: str) -> list[str]:
    """Return a field of every row that tells it from the others of the file.

    Raises:
        UserError: with file:line, where it is missing, no string, or that of a row before it.
    """
    found: dict[str, None] = {}

    def add(line: str, where: str) -> None:
        row = _parse(line, where, field)
        name = _string(_value(row, field, where), field, where)
        if name in found:
            raise UserError(f"{where}: {field} {json.dumps(name)} is there twice")
        found[name] = None

    Mistakes([UserError(line) for line in _each(path, silent, add, field).mistakes]).check()
    return list(found)


def read_labels(folder: Path) -> tuple[str, ...] | None:
    """Return the label set in `labels.json`, or None where there is no such file."""
    path = folder / LABELS
    if not path.exists():
        return None
    try:
        labels = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from error
    names = isinstance(labels, list) and all(isinstance(label, str) and label for label in labels)
    if not names or len(set(labels)) != len(labels) or len(labels) < 2:
        raise UserError(f"{path}: expected a list of two or more different label names")
    for label in labels:
        check_name(label, str(path))
    return tuple(labels)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's fields; json alone would keep the last of two with one name, in silence."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"the field {json.dumps(twice)} is there twice")
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def _parse(line: str, where: str, fields: str) -> dict:
    try:
        row = _DECODER.decode(line)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, 1000 brackets
        raise UserError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected an object with {fields}, not {_kind(row)}")
    return row


def _value(row: dict, field: str, where: str) -> Any:
    if field not in row:
        raise UserError(f"{where}: the field {field} is missing")
    return row[field]


def _list(row: dict, field: str, where: str, of: str = "strings") -> list:
    values = _value(row, field, where)
    if not isinstance(values, list):
        raise UserError(f"{where}: {field} must be a list of {of}, not {_kind(values)}")
    if not values:
        raise UserError(f"{where}: {field} is empty")
    return values


def _label(value: Any, kind: type | None, field: str, where: str) -> tuple[str, type]:
    """A name or number as text, and which it is; `kind`: what those before it are."""
    found = type(value)
    if found is int and value < 0:
        raise UserError(
            f"{where}: {field} must not be {value}, which means none in many data sets; write names"
        )
    if kind not in (None, found) and found in (int, str):
        raise UserError(
            f"{where}: {field} is {_kind(value)}, and those before it in the file are not; write "
            "all of them alike"
        )
    if found is int:
        return intern(str(value)), int
    return intern(_string(value, field, where, "a string or an integer")), str


def _string(value: Any, field: str, where: str, wanted: str = "a string") -> str:
    if not isinstance(value, str):
        raise UserError(f"{where}: {field} must be {wanted}, not {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair
        raise UserError(f"{where}: {field} has half a surrogate pair") from error
    return value


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")
