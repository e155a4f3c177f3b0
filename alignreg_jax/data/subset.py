"""Some rows of a file, for trying things: a fixed draw, because a file may be sorted."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress

import numpy as np
from jaxtyping import Bool

from alignreg_jax.data.schema import Split


def draw(split: Split, rows: int, starts: Sequence[int] | None = None) -> Split:
    """Return `rows` of a split's rows, in file order; 0 is all.

    Which ones depends on how many there are and on nothing else, so that it is the same in every
    run, and in the languages of a parallel test set. A smaller draw is part of a larger one.

    Args:
        split: the rows.
        rows: how many.
        starts: first rows of what must not be cut, such as the rows that answer one query; there
            may then be more rows than asked for, by less than one such group. None: single rows.
    """
    if not rows or rows >= split.rows:
        return split
    return where(split, _drawn(split, rows, starts))


def apart(split: Split, rows: int) -> tuple[Split, Split]:
    """Return `rows` of a split's rows, or half of them if that is fewer, and the others."""
    drawn = _drawn(split, min(rows, (split.rows + 1) // 2), None)
    return where(split, drawn), where(split, ~drawn)


def _drawn(split: Split, rows: int, starts: Sequence[int] | None) -> Bool[np.ndarray, " rows"]:
    sizes = np.diff(range(split.rows) if starts is None else starts, append=split.rows)
    order = np.random.default_rng(0).permutation(len(sizes))
    enough = np.searchsorted(np.cumsum(sizes[order]), rows) + 1
    groups = np.zeros(len(sizes), bool)
    groups[order[:enough]] = True
    return np.repeat(groups, sizes)


def where(split: Split, chosen: Bool[np.ndarray, " rows"]) -> Split:
    """Return the rows of a split that are chosen, in file order."""
    return replace(
        split,
        text_a=list(compress(split.text_a, chosen)),
        text_b=None if split.text_b is None else list(compress(split.text_b, chosen)),
        labels=split.labels[np.repeat(chosen, split.words) if split.in_words else chosen],
    )
