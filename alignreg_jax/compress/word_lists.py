"""What people write in a language: texts in files, and words with how often they are met."""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignreg_jax.data import jsonl, lines
from alignreg_jax.errors import UserError

WORDS = 25_000
"""Words of a language that are looked at, the most frequent."""


def of_files(files: Sequence[str]) -> dict[str, list[str]]:
    """Read texts of files by their names, or where names are alike by their paths; as `texts`."""
    names = [Path(file).name for file in files]
    return {
        name if names.count(name) == 1 else file: texts(Path(os.path.expanduser(file)))
        for file, name in zip(files, names, strict=True)
    }


def texts(path: Path) -> list[str]:
    """Read the texts of a file.

    Args:
        path: .txt has one on every line; .jsonl a row with `text`, and maybe `text_pair`, or with
            `tokens`; .gz of either.

    Raises:
        UserError: with file:line, for anything else; or there is no text.
    """
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "txt":
        found = [text for _, text in lines.numbered(path) if text.strip()]
    elif kind == "jsonl":
        found = _of_rows(path)
    else:
        raise UserError(f"--text: {path}: should end with .txt, one text a line, or .jsonl")
    if not found:
        raise UserError(f"--text: {path}: has no text")
    return found


def _of_rows(path: Path) -> list[str]:
    if jsonl.has_field(path, "tokens"):
        rows: Any = jsonl.read_tokens(path, labelled=False)
        # Tags are of words that are read one by one, so each has to stand alone, too
        alone = sorted({word for sentence in rows.text_a for word in sentence})
        return [" ".join(sentence) for sentence in rows.text_a] + alone
    rows = jsonl.read(path, pair=None, labelled=False)
    return [*rows.text_a, *(rows.text_b or ())]


def words(
    languages: Sequence[str], folder: Path | None = None, optional: Collection[str] = ()
) -> dict[str, Mapping[str, float]]:
    """Find words of languages and how often they are met.

    Args:
        languages: names.
        folder: with <language>.txt, a word on every line, the most frequent first, by itself or
            with a number, a tab or white space between them; None: the lists of the package
            wordfreq.
        optional: languages that may have no list, because there are texts of them.

    Raises:
        UserError: there is no list for a language, no such folder, or the package is not installed.
    """
    if not languages:
        return {}
    if folder is not None:
        if not folder.is_dir():
            raise UserError(f"--word-lists: {folder}: is no folder")
        paths = {name: folder / f"{name}.txt" for name in languages}
        return {
            name: _listed(path)
            for name, path in paths.items()
            if name not in optional or path.exists()
        }
    try:
        import wordfreq  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(
            "--languages: words of a language are taken from the package wordfreq: pip install"
            " 'alignreg_jax[vocabulary]'; or give --word-lists FOLDER with <language>.txt"
        ) from None
    known = sorted(wordfreq.available_languages())
    listed = [name for name in languages if name.split("-")[0] in known]
    if unknown := [name for name in languages if name not in {*listed, *optional}]:
        raise UserError(
            f"--languages: there are no words of {', '.join(unknown)}; wordfreq has"
            f" {', '.join(known)}; or give --word-lists FOLDER with <language>.txt"
        )
    found: dict[str, Mapping[str, float]] = {}
    for name in listed:
        often = wordfreq.get_frequency_dict(name)  # its look-up of a word would split it first
        most = sorted(often, key=lambda word: (-often[word], word))[:WORDS]
        found[name] = {word: often[word] for word in most}
    return found


def _listed(path: Path) -> dict[str, float]:
    """A list of words; without numbers the n-th is met in proportion to 1 / (10 + n) (Zipf)."""
    found: dict[str, float] = {}
    for number, line in lines.numbered(path):
        if not (parts := line.split()):
            continue
        word, *often = parts
        try:
            (value,) = map(float, often) if often else (1 / (10 + number),)
        except ValueError:  # not a number, or more than one part
            value = -1.0
        if not 0 < value < math.inf:
            raise UserError(
                f"{path}:{number}: should be a word, or a word and a number with a tab or a space"
                " between them"
            )
        found.setdefault(word, value)
        if len(found) == WORDS:
            break
    if not found:
        raise UserError(f"{path}: has no words")
    return found
