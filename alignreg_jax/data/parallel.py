"""Sentences in parallel: what says the same in several languages, row by row."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alignreg_jax.data import jsonl, lines
from alignreg_jax.data.schema import Split
from alignreg_jax.errors import UserError

_ID = "id"


def read(files: Sequence[str], pivot: str) -> dict[str, Split]:
    """Read files of one language each and put what says the same into the same rows.

    Args:
        files: <language>.txt with a sentence a line, or .jsonl with `text` or `tokens`; what else
            is in a file's name does not matter. Where rows of .jsonl have an `id`, those of equal
            ones say the same, and rows that a language lacks are left out. Otherwise line i of
            every file says the same.
        pivot: the language whose order the rows have.

    Returns:
        By language, in the order of the files. Labels are all 0.

    Raises:
        UserError: with file:line for a bad row; files that are not parallel; no file of `pivot`, or
            of no other language, or two of one.
    """
    found: dict[str, tuple[Split, list[str] | None]] = {}
    for file in (Path(os.path.expanduser(each)) for each in files):
        language = file.name.split(".")[0]
        if not language.isprintable():  # bytes that are not UTF-8, line ends
            raise UserError(f"--text: {str(file)!r}: should be named <language>.txt or .jsonl")
        if language in found:
            raise UserError(f"--text: {file}: there is another file of {language}; give one")
        found[language] = _read(file)
    if pivot not in found or len(found) == 1:
        raise UserError(
            f"--text: give a file of {pivot}, {pivot}.txt, and of at least one other language"
        )
    splits = {language: split for language, (split, _) in found.items()}
    identifiers = {language: named for language, (_, named) in found.items() if named}
    if not identifiers:
        return _by_line(splits, splits[pivot])
    if lacking := [splits[language].origin for language in splits if language not in identifiers]:
        raise UserError(f"--text: {lacking[0]}: its rows have no {_ID}, and those of others do")
    common = set.intersection(*map(set, identifiers.values()))
    wanted = [name for name in identifiers[pivot] if name in common]
    if not wanted:
        raise UserError(f"--text: no {_ID} is in all of the files")
    return {
        language: _chosen(splits[language], identifiers[language], wanted) for language in found
    }


def _by_line(splits: dict[str, Split], first: Split) -> dict[str, Split]:
    for split in splits.values():
        if split.rows != first.rows:
            raise UserError(
                f"--text: {split.origin} has {split.rows:,} rows and {first.origin}"
                f" {first.rows:,}; row i of each should say the same"
            )
    return splits


def _chosen(split: Split, named: list[str], wanted: list[str]) -> Split:
    place = {name: row for row, name in enumerate(named)}
    texts: Any = [split.text_a[place[name]] for name in wanted]
    return replace(split, text_a=texts, labels=split.labels[: len(wanted)])


def _read(path: Path) -> tuple[Split, list[str] | None]:
    kind, named = path.suffix.lower(), None
    if kind == ".txt":
        texts: list[Any] = [line for _, line in lines.rows(path)]
    elif kind == ".jsonl":
        if jsonl.has_field(path, "tokens"):
            tokens = jsonl.read_tokens(path, labelled=False).text_a
            texts = [" ".join(sentence) for sentence in tokens]
        else:
            texts = list(jsonl.read(path, pair=False, labelled=False).text_a)
        named = jsonl.read_names(path, _ID) if _has_ids(path) else None
    else:
        raise UserError(f"--text: {path}: should end with .txt, one sentence a line, or .jsonl")
    return Split(texts, None, np.zeros(len(texts), np.int32), str(path)), named


def _has_ids(path: Path) -> bool:
    """Whether any row has an id: then all have to."""
    mark = f'"{_ID}"'
    return any(mark in line and _ID in json.loads(line) for _, line in lines.rows(path))
