"""Whose the files of a folder are: `<language>.<split>.jsonl`, and what only looks like one.

Beside them may be `<language>.unlabelled.jsonl` or `.txt`, text to distil on, which `unlabelled`
lists.

Nothing that looks like a language's data is passed over without a word: a forgotten language would
be missing from every table, and nobody would see it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from alignreg_jax.errors import UserError

Key = tuple[str, str]
"""A language and a split, which is train, dev or test."""

LABELS = "labels.json"
_LANGUAGE = r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*"
_NAME = rf"({_LANGUAGE})\.(train|dev|test)"
_LINES = r"(?i:\.jsonl|\.jsonlines|\.ndjson)(?i:\.gz)?"
_ANY_LINES = rf"(?:{_LINES}|(?i:\.json)(?i:\.gz)?)"
_DATA = re.compile(rf"{_NAME}{_ANY_LINES}")
_TEXT = rf"(?:{_ANY_LINES}|(?i:\.txt)(?i:\.gz)?)"
_UNLABELLED = re.compile(rf"({_LANGUAGE})\.unlabell?ed{_TEXT}")
_LIKE_UNLABELLED = re.compile(rf"({_LANGUAGE})[._-](?i:unlab)\w*\..+")
_BARE = re.compile(rf"({_LANGUAGE}){_TEXT}")
_JSON_LINES = re.compile(rf".*{_LINES}")
# Not a form that is read, or in another place: a packed file, a copy, half a download
_LIKE_DATA = re.compile(rf"{_NAME}\..*(?i:json).*")
# A split in other words (valid, tst), another separator, another format
_LIKE_A_SPLIT = re.compile(rf"{_LANGUAGE}[._-](?i:tr|te|ts|dev|va|ev)\w*\..+")


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        files: the file of each language and split.
        unread: files that look like data of a language and split that `files` lacks.
        notes: lines for the log, on what else looks like data.
    """

    files: dict[Key, Path]
    unread: dict[Key, Path]
    notes: tuple[str, ...]


def has_data(folder: Path) -> bool:
    """Whether some file is JSON lines by its name, other than text without labels."""
    return any(
        _DATA.fullmatch(name) or (_JSON_LINES.fullmatch(name) and not _UNLABELLED.fullmatch(name))
        for name in _names(folder)
    )


def listing(folder: Path) -> Listing:
    """Return the files of a folder of JSON lines, plain or zipped as .gz.

    Raises:
        UserError: no such folder, a file of JSON lines under another name (a typo would lose a
            language), two files of one language and split, a language in two spellings.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; it should hold <lang>.<split>.jsonl")
    files: dict[Key, Path] = {}
    unread: dict[Key, Path] = {}
    others: list[Path] = []
    spellings: dict[str, str] = {}
    for name in _names(folder):
        path = folder / name
        if match := _DATA.fullmatch(name):
            language, split = match.groups()
            _check_spelling(spellings, language, path)
            if (language, split) in files:
                also = files[language, split].name
                raise UserError(f"{path}: {language} has {split} data in {also}, too; keep one")
            files[language, split] = path
        elif _UNLABELLED.fullmatch(name):
            continue
        elif _JSON_LINES.fullmatch(name):
            raise UserError(
                f"{path}: expected a name like en.train.jsonl or sw.test.jsonl; splits are train, "
                "dev and test (text without labels is unlabelled)"
            )
        elif name.lower() == LABELS and name != LABELS:
            raise UserError(f"{path}: is not read; the file of the label names is {LABELS}")
        elif match := _LIKE_DATA.fullmatch(name):
            unread[match[1], match[2]] = path
        elif path.is_dir():
            for key, inner in _inside(path):
                if key is not None:
                    unread.setdefault(key, inner)
                else:
                    others.append(inner)
        elif _LIKE_A_SPLIT.fullmatch(name):
            others.append(path)
    others += [path for key, path in unread.items() if key in files]
    notes = tuple(f"{path} is not read" for path in others)
    return Listing(files, {key: path for key, path in unread.items() if key not in files}, notes)


def unlabelled(folder: Path, bare: bool) -> dict[str, Path]:
    """Return the file of text without labels of each language, sorted by language.

    Args:
        folder: where they are.
        bare: whether `<language>.jsonl` and `.txt` are such files, too.

    Raises:
        UserError: two files of one language, a language in two spellings, be it in the name of a
            file with labels; a file that looks like such text of a language that has no other.
    """
    files: dict[str, Path] = {}
    unread: dict[str, Path] = {}
    spellings: dict[str, str] = {}
    for name in _names(folder):
        match = _UNLABELLED.fullmatch(name) or (_BARE.fullmatch(name) if bare else None)
        if match is None:
            if labelled := _DATA.fullmatch(name):
                _check_spelling(spellings, labelled[1], folder / name)
            elif like := _LIKE_UNLABELLED.fullmatch(name):
                unread[like[1]] = folder / name
            continue
        language, path = match[1], folder / name
        _check_spelling(spellings, language, path)
        if language in files:
            also = files[language].name
            raise UserError(f"{path}: {language} has unlabelled text in {also}, too; keep one")
        files[language] = path
    for language, path in unread.items():
        if language not in files:
            raise UserError(
                f"{path}: looks like unlabelled text of {language} and is not read; "
                f"{language}.unlabelled.jsonl or .txt is (or .gz of them)"
            )
    return dict(sorted(files.items()))


def _check_spelling(spellings: dict[str, str], language: str, path: Path) -> None:
    """Remember how a language is written; UserError where it was written otherwise before."""
    spelling = spellings.setdefault(language.lower().replace("_", "-"), language)
    if spelling != language:
        raise UserError(f"{path}: the language is there twice, as {spelling} and {language}")


def _names(folder: Path) -> list[str]:
    """Names in a folder, sorted, without hidden ones."""
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error


def _inside(folder: Path) -> list[tuple[Key | None, Path]]:
    """JSON lines one level below, with their language and split if the names tell.

    They do as <language>.<split>.jsonl, <language>/<split>.jsonl or <split>/<language>.jsonl.
    """
    found: list[tuple[Key | None, Path]] = []
    try:
        names = _names(folder)
    except UserError:  # not the user's data, if it is not the user's to read
        return []
    for name in names:
        stem, _, ending = name.partition(".")
        candidates = (name, f"{folder.name}.{name}", f"{stem}.{folder.name}.{ending}")
        matches = [match for match in map(_DATA.fullmatch, candidates) if match]
        if matches:
            found.append(((matches[0][1], matches[0][2]), folder / name))
        elif _JSON_LINES.fullmatch(name):
            found.append((None, folder / name))
    return found


def has_unlabelled(folder: Path) -> bool:
    """Whether there is text without labels, or what looks like it and is then refused."""
    forms = (_UNLABELLED, _LIKE_UNLABELLED)
    return any(form.fullmatch(name) for name in _names(folder) for form in forms)
