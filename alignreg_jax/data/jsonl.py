"""A folder of `<language>.<train|dev|test>.jsonl`: one object a line.

Rows of one text or two are `text`[, `text_pair`], `label`; sentences are `tokens` and their `tags`.
"""

import json
import re
from pathlib import Path
from sys import intern

from alignreg_jax.data.lines import Progress, rows, silent
from alignreg_jax.data.schema import Rows
from alignreg_jax.errors import UserError

FILE_NAME = re.compile(r"([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*)\.(train|dev|test)\.jsonl")
WHITE = " \t"


def find(folder: Path) -> dict[tuple[str, str], Path]:
    """Return (language, split) -> file.

    Raises UserError for a folder that is not there, for a `.jsonl` file of another name (a typo
    would silently lose a language), and for two files of one language.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; it should hold <lang>.<split>.jsonl")
    found: dict[tuple[str, str], Path] = {}
    spellings: dict[str, str] = {}
    for path in sorted(folder.glob("*.jsonl")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise UserError(f"{path}: expected a name like en.train.jsonl or sw.test.jsonl")
        language, split = match.groups()
        spelling = spellings.setdefault(language.lower().replace("_", "-"), language)
        if spelling != language:
            raise UserError(f"{path}: the language is there twice, as {spelling} and {language}")
        found[language, split] = path
    return found


def read(path: Path, *, pair: bool | None, progress: Progress = silent) -> Rows:
    """Return the rows of a file; lines end at a newline only, so U+2028 is text.

    A byte order mark, carriage returns before a newline and blank lines at the end are tolerated.

    Args:
        path: the file.
        pair: whether rows have a `text_pair`; None takes what the first row has.
        progress: told the bytes.

    Raises:
        UserError: with file:line, for anything that is not such a file.
    """
    text_a: list[str] = []
    text_b: list[str] = []
    labels: list[str] = []
    for number, line in rows(path, progress, WHITE):
        where = f"{path}:{number}"
        row = _parse(line, where, "text and label")
        if "tokens" in row and "text" not in row:
            raise UserError(f"{where}: has tokens, which task.name=tokens and pos_tags read")
        if pair is None:
            pair = "text_pair" in row
        if not pair and "text_pair" in row:
            raise UserError(f"{where}: has a text_pair, and the rows of this task have one text")
        text_a.append(_string(row, "text", where))
        if pair:
            text_b.append(_string(row, "text_pair", where))
        labels.append(intern(_string(row, "label", where)))
        if not labels[-1]:
            raise UserError(f"{where}: the label is empty")
    return Rows(text_a, text_b if pair else None, labels, str(path))


def read_tokens(path: Path, *, progress: Progress = silent) -> Rows:
    """Return the sentences of a file, `tokens` and as many `tags`; else as `read`."""
    sentences: list[list[str]] = []
    tags: list[list[str]] = []
    for number, line in rows(path, progress, WHITE):
        where = f"{path}:{number}"
        row = _parse(line, where, "tokens and tags")
        sentences.append(_strings(row, "tokens", where))
        tags.append([intern(tag) for tag in _strings(row, "tags", where)])
        if len(sentences[-1]) != len(tags[-1]):
            counts = f"{len(sentences[-1])} tokens and {len(tags[-1])} tags"
            raise UserError(f"{where}: has {counts}")
        if "" in tags[-1]:
            raise UserError(f"{where}: tag {tags[-1].index('') + 1} is empty")
    return Rows(sentences, None, tags, str(path))


def has_pairs(path: Path) -> bool:
    """Whether the first row of a file has a `text_pair`; UserError as `read`."""
    number, line = next(rows(path, white=WHITE))
    return "text_pair" in _parse(line, f"{path}:{number}", "text and label")


def read_labels(folder: Path) -> tuple[str, ...] | None:
    """Return the label set in `labels.json`, or None where there is no such file."""
    path = folder / "labels.json"
    if not path.exists():
        return None
    try:
        labels = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from error
    names = isinstance(labels, list) and all(isinstance(label, str) and label for label in labels)
    if not names or len(set(labels)) != len(labels) or len(labels) < 2:
        raise UserError(f"{path}: expected a list of two or more different label names")
    return tuple(labels)


def _parse(line: str, where: str, fields: str) -> dict:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, 1000 brackets
        raise UserError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected an object with {fields}, not {_kind(row)}")
    return row


def _string(row: dict, field: str, where: str) -> str:
    if field not in row:
        raise UserError(f"{where}: the field {field} is missing")
    return _checked(row[field], field, where)


def _strings(row: dict, field: str, where: str) -> list[str]:
    if field not in row:
        raise UserError(f"{where}: the field {field} is missing")
    values = row[field]
    if not isinstance(values, list):
        raise UserError(f"{where}: {field} must be a list of strings, not {_kind(values)}")
    if not values:
        raise UserError(f"{where}: {field} is empty")
    return [_checked(value, f"every one of {field}", where) for value in values]


def _checked(value: object, field: str, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where}: {field} must be a string, not {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair
        raise UserError(f"{where}: {field} has half a surrogate pair") from error
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a string" if isinstance(value, str) else "a number")
