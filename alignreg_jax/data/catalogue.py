"""What a source has of a task: which files are there, and how each is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alignreg_jax.data.lines import Progress
from alignreg_jax.data.schema import Rows
from alignreg_jax.errors import UserError


@dataclass(frozen=True)
class Catalogue:
    """The files of a task, and what reads them.

    Attributes:
        where: the folder, archive or Hub data set, for messages.
        files: (language, split) -> its file, or files in order; split is train, dev or test.
        read: rows of such files; the split says whether labels may be missing.
        expected: the path a language and split should have, for messages.
        labels: the label set, if the source has one.
        labels_from: the file it is in, for messages.
        advice: how to get what is missing.
        notes: lines for the log.
        sizes: rows that XGLUE's own files have, by language and split.
        unread: (language, split) -> a file that looks like its data and is not read.
        mistakes: in the names of files; what is in the others can be looked at beside them.
    """

    where: str
    files: Mapping[tuple[str, str], tuple[Path, ...]]
    read: Callable[[tuple[Path, ...], str, Progress], Rows]
    expected: Callable[[str, str], str]
    labels: tuple[str, ...] | None = None
    labels_from: str = ""
    advice: str = ""
    notes: tuple[str, ...] = ()
    sizes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unread: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    mistakes: tuple[UserError, ...] = ()

    def missing(self, what: str) -> UserError:
        """The error to raise for what is not there."""
        return UserError(f"{what}; {self.advice}" if self.advice else what)


def choose(
    catalogue: Catalogue, languages: Sequence[str] | None, splits: Sequence[str]
) -> tuple[str, ...]:
    """Return the languages to evaluate in, English first, if what is required is there.

    Args:
        catalogue: what there is.
        languages: those asked for; None or none: all there are.
        splits: those that are evaluated: dev, test or both.

    Raises:
        UserError: names the language or file that is missing, or the file that would be forgotten.
    """
    files = catalogue.files
    for (language, split), path in catalogue.unread.items():
        asked = split in splits and (not languages or language in ("en", *languages))
        if asked or (language, split) == ("en", "train"):
            raise UserError(
                f"{path}: looks like {split} data of {language} and is not read, so that they would"
                f" be missing; {catalogue.expected(language, split)} is (or .jsonl.gz)"
            )
    there = sorted({language for language, split in files if split in splits})
    check_languages(languages, there, catalogue.where, catalogue.advice)
    for split in ("train", "dev"):
        if split in ("train", *splits) and ("en", split) not in files:
            path = catalogue.expected("en", split)
            raise catalogue.missing(f"{path}: missing; {_required(splits)} required")
    chosen = tuple(dict.fromkeys(["en", *(languages or there)]))
    if "test" in splits and not any((language, "test") in files for language in chosen):
        path = catalogue.expected("en", "test")
        raise catalogue.missing(f"{path}: missing; at least one language needs test data")
    return chosen


def _required(splits: Sequence[str]) -> str:
    if "dev" in splits:
        return "en.train and en.dev (unless eval.splits=test) are"
    return "en.train is"


def check_languages(
    languages: Sequence[str] | None, there: Sequence[str], where: str, advice: str = ""
) -> None:
    """Raise UserError for a language that was asked for and is not there."""
    for language in languages or ():
        if language not in there:
            listed = ", ".join(sorted(there)) or "none"
            hint = f"; {advice}" if advice else ""
            raise UserError(f"task.languages: {where} has no {language!r}; it has {listed}{hint}")
