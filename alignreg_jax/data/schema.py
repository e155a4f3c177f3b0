"""The one form all data take, whatever they were read from."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from alignreg_jax.data.tasks import Task
from alignreg_jax.errors import UserErrors

Texts = list[str] | list[list[str]]
"""One text a row, or in token tasks the words of one sentence."""


@dataclass(frozen=True)
class Rows:
    """A file as it was read: labels are still names.

    Attributes:
        text_a: texts, or in token tasks the words of each sentence.
        text_b: second texts of a pair task.
        labels: one name a row; in token tasks the tags of each sentence, one a word; None: the file
            has no labels, as test files of a competition do.
        origin: the file, for messages.
        lines: on which line of it each row begins; None: row i on line i + 1.
        word_a_line: whether the words of a sentence are on lines of their own.
        numbered: whether the file has numbers for labels; `labels` are then their digits.
    """

    text_a: Texts
    text_b: list[str] | None
    labels: Texts | None
    origin: str
    lines: Sequence[int] | None = None
    word_a_line: bool = False
    numbered: bool = False

    def where(self, row: int, word: int = 0) -> str:
        """file:line of a row, or of a word in it."""
        line = row + 1 if self.lines is None else self.lines[row]
        return f"{self.origin}:{line + word if self.word_a_line else line}"


class BadRows(UserErrors):
    """Mistakes in some rows of a file.

    Attributes:
        rows: the others; what is wrong with their labels can be told, too.
        seen: labels of all rows, as far as they can be read; None: not all were looked at.
    """

    def __init__(self, lines: Sequence[str], rows: Rows, seen: frozenset[str] | None):
        super().__init__(lines)
        self.rows, self.seen = rows, seen


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one language and split, in file order.

    `labels` index the data set's labels: one a row, or in token tasks one a word, sentences end to
    end. `origin` is the file or Hub path, for messages.
    """

    text_a: Texts
    text_b: list[str] | None
    labels: Int32[np.ndarray, " rows_or_words"]
    origin: str

    @property
    def rows(self) -> int:
        """The number of rows; sentences in token tasks."""
        return len(self.text_a)

    @property
    def in_words(self) -> bool:
        """Whether rows are sentences cut into words, each with a label."""
        return any(not isinstance(text, str) for text in self.text_a[:1])

    @property
    def words(self) -> Int32[np.ndarray, " rows"]:
        """Words in each sentence."""
        return np.array([len(sentence) for sentence in self.text_a], np.int32)

    @property
    def contents(self) -> list[Hashable]:
        """What each row says, so that rows can be compared: its text, its two texts, its words."""
        if self.text_b is not None:
            return list(zip(self.text_a, self.text_b, strict=True))
        return [text if isinstance(text, str) else tuple(text) for text in self.text_a]


@dataclass(frozen=True, eq=False)
class Dataset:
    """English training data, and dev and test in every language that has them, English first.

    Of dev and test only what was asked for. `notes` are lines for the log: what was expected of the
    data and is not there. `unlabelled` are (split, language) of files that have no labels, and so
    are not among the others.
    """

    task: Task
    labels: tuple[str, ...]
    train: Split
    dev: dict[str, Split]
    test: dict[str, Split]
    notes: tuple[str, ...] = ()
    unlabelled: tuple[tuple[str, str], ...] = ()

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages with test data, or else dev, English first if it is one of them."""
        return tuple(self.test or self.dev)
