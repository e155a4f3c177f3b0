"""The one form all data take, whatever they were read from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from alignreg_jax.data.tasks import Task


@dataclass(frozen=True)
class Rows:
    """A file as it was read: labels are still names. Row i stands on line i + 1 of `origin`."""

    text_a: list[str]
    text_b: list[str] | None
    labels: list[str]
    origin: str


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one language and split, in file order; `labels` index the data set's labels.

    `origin` is the file or Hub path, for messages.
    """

    text_a: list[str]
    text_b: list[str] | None
    labels: Int32[np.ndarray, "rows"]
    origin: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """English training data, and dev and test in every language that has them, English first.

    `notes` are lines for the log: what was expected of the data and is not there.
    """

    task: Task
    labels: tuple[str, ...]
    train: Split
    dev: dict[str, Split]
    test: dict[str, Split]
    notes: tuple[str, ...] = ()

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages with test data, English first if it is one of them."""
        return tuple(self.test)
