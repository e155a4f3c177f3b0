"""Whose the files of a folder are: `<language>.<split>.jsonl`, and what only looks like one.

Beside them may be `<language>.unlabelled.jsonl` or `.txt`, text to distil on, which `unlabelled`
lists.

Nothing that looks like a language's data is passed over without a word: a forgotten language would
be missing from every table, and nobody would see it.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from alignreg_jax.errors import Mistakes, UserError

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
        mistakes: files that `files` should not be used without mending: JSON lines under another
            name (a typo would lose a language), two files of one language and split, a language in
            two spellings.
    """

    files: dict[Key, Path]
    unread: dict[Key, Path]
    notes: tuple[str, ...]
    mistakes: tuple[UserError, ...]


@dataclass
class _Spellings:
    """How languages are written, and in which files."""

    known: dict[str, dict[str, list[Path]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, language: str, path: Path) -> None:
        self.known[language.lower().replace("_", "-")][language].append(path)

    def mistakes(self) -> list[UserError]:
        """A line on every language that is written in two ways; the rarer one is the odd one."""
        found = []
        for spelt in self.known.values():
            usual, *others = sorted(spelt, key=lambda name: -len(spelt[name]))
            found += [
                UserError(
                    f"{spelt[odd][0]}: the language is there twice, as {odd} and, in"
                    f" {spelt[usual][0].name}, as {usual}"
                )
                for odd in others
            ]
        return found


def has_data(folder: Path) -> bool:
    """Whether some file is JSON lines by its name, other than text without labels."""
    return any(
        _DATA.fullmatch(name) or (_JSON_LINES.fullmatch(name) and not _UNLABELLED.fullmatch(name))
        for name in _names(folder)
    )


def listing(folder: Path) -> Listing:
    """As `look`, and raise its mistakes."""
    found = look(folder)
    Mistakes(found.mistakes).check()
    return found


def look(folder: Path) -> Listing:
    """Return the files of a folder of JSON lines, plain or zipped as .gz.

    Raises:
        UserError: no such folder, or not to be read.
    """
    if not folder.is_dir():
        what = "is a file; give" if folder.exists() else "no such folder; it should be"
        raise UserError(f"{folder}: {what} a folder of <lang>.<split>.jsonl")
    files: dict[Key, Path] = {}
    unread: dict[Key, Path] = {}
    others: list[Path] = []
    mistakes: list[UserError] = []
    spellings = _Spellings()
    for name in _names(folder):
        path = folder / name
        if match := _DATA.fullmatch(name):
            language, split = match.groups()
            spellings.add(language, path)
            first = files.setdefault((language, split), path)
            if first != path:
                what = f"{language} has {split} data in {first.name}, too; keep one"
                mistakes.append(UserError(f"{path}: {what}"))
        elif _UNLABELLED.fullmatch(name):
            continue
        elif _JSON_LINES.fullmatch(name):
            wanted = "expected a name like en.train.jsonl or sw.test.jsonl; splits are train, dev"
            what = f"{wanted} and test (text without labels is unlabelled)"
            mistakes.append(UserError(f"{path}: {what}"))
        elif name.lower() == LABELS and name != LABELS:
            what = f"is not read; the file of the label names is {LABELS}"
            mistakes.append(UserError(f"{path}: {what}"))
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
    english = dict.fromkeys(name for name, _ in files if re.match("(?i:en)[-_]", name))
    notes += tuple(f"{folder}: {name} counts as another language than en" for name in english)
    lacking = {key: path for key, path in unread.items() if key not in files}
    return Listing(files, lacking, notes, (*spellings.mistakes(), *mistakes))


def unlabelled(folder: Path, bare: bool) -> tuple[dict[str, Path], tuple[UserError, ...]]:
    """Return the file of text without labels of each language, sorted by language, and mistakes.

    These are two files of one language, a language in two spellings, be it in the name of a file
    with labels; a file that looks like such text of a language that has no other.

    Args:
        folder: where they are.
        bare: whether `<language>.jsonl` and `.txt` are such files, too.
    """
    files: dict[str, Path] = {}
    unread: dict[str, Path] = {}
    mistakes: list[UserError] = []
    spellings = _Spellings()
    for name in _names(folder):
        match = _UNLABELLED.fullmatch(name) or (_BARE.fullmatch(name) if bare else None)
        if match is None:
            if labelled := _DATA.fullmatch(name):
                spellings.add(labelled[1], folder / name)
            elif like := _LIKE_UNLABELLED.fullmatch(name):
                unread[like[1]] = folder / name
            continue
        language, path = match[1], folder / name
        spellings.add(language, path)
        first = files.setdefault(language, path)
        if first != path:
            what = f"{language} has unlabelled text in {first.name}, too; keep one"
            mistakes.append(UserError(f"{path}: {what}"))
    for language, path in unread.items():
        if language not in files:
            what = f"looks like unlabelled text of {language} and is not read; "
            what += f"{language}.unlabelled.jsonl or .txt is (or .gz of them)"
            mistakes.append(UserError(f"{path}: {what}"))
    return dict(sorted(files.items())), (*spellings.mistakes(), *mistakes)


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
