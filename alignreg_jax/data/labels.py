"""The label set of a task, and label names to numbers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from alignreg_jax.data.schema import Rows, Split
from alignreg_jax.data.tasks import Task
from alignreg_jax.errors import UserError

BEGIN, INSIDE, OUTSIDE = "B-", "I-", "O"


def label_set(task: Task, given: tuple[str, ...] | None, train: Rows) -> tuple[str, ...]:
    """Return the labels in the order of the classifier's outputs.

    The task's own, or those given beside the data, or what the training rows have; tags closed over
    B- and I-, because a language may have an I-COLOR where English only ever has a B-COLOR.

    Raises:
        UserError: there is nothing to learn, or no spans where spans are scored.
    """
    labels = task.labels or given
    if labels is None:
        labels = closed(_flat(train)) if task.kind == "token" else tuple(sorted({*_flat(train)}))
    if len(labels) < 2:
        raise UserError(f"{train.origin}: there is one label only, {', '.join(labels)}")
    if task.metric == "f1" and not any(_is_span(label) for label in labels):
        raise UserError(
            f"{train.origin}: no tag begins with {BEGIN} or {INSIDE}, and task.name={task.name} "
            "scores spans; task.name=pos_tags scores words"
        )
    return labels


def closed(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags sorted, O first, B- and I- of a kind both there, and O if there are spans."""
    found = set(tags)
    kinds = {tag[len(BEGIN) :] for tag in found if _is_span(tag)}
    found |= {prefix + kind for kind in kinds for prefix in (BEGIN, INSIDE)}
    if kinds:
        found.add(OUTSIDE)
    return tuple(sorted(found, key=lambda tag: (tag != OUTSIDE, tag)))


def renamed(rows: Rows, names: Mapping[str, str]) -> Rows:
    """Return rows of one label each, spelt as `names` has them where it has them."""
    if not names or rows.labels is None:
        return rows
    return replace(rows, labels=[names.get(str(label), str(label)) for label in rows.labels])


def number(rows: Rows, labels: Sequence[str], hint: str = "") -> Split:
    """Return rows with label numbers in place of names; `hint` goes behind an error.

    Raises:
        UserError: with file:line for a label that is not in the set.
    """
    number_of = {label: index for index, label in enumerate(labels)}
    try:
        numbers = np.fromiter((number_of[name] for name in _flat(rows)), np.int32)
    except KeyError as error:
        raise UserError(_unknown(rows, str(error.args[0]), labels) + hint) from None
    return Split(rows.text_a, rows.text_b, numbers, rows.origin)


def _unknown(rows: Rows, name: str, labels: Sequence[str]) -> str:
    known = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
    for row, label in enumerate(rows.labels or ()):
        if label == name:
            return f"{rows.where(row)}: unknown label {name!r}; there are {known}"
        if not isinstance(label, str) and name in label:
            word = label.index(name)
            text = rows.text_a[row][word]
            return f"{rows.where(row, word)}: unknown tag {name!r} of {text!r}; there are {known}"
    raise AssertionError(name)


def _flat(rows: Rows) -> Iterator[str]:
    """Labels of rows, or tags of all sentences end to end."""
    for label in rows.labels or ():
        if isinstance(label, str):
            yield label
        else:
            yield from label


def _is_span(tag: str) -> bool:
    return tag.startswith((BEGIN, INSIDE))
