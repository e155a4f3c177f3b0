"""The label set of a task, and label names to numbers."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from alignreg_jax.data.names import check_name
from alignreg_jax.data.schema import Rows, Split
from alignreg_jax.data.tasks import Task
from alignreg_jax.errors import UserError, UserErrors

BEGIN, INSIDE, END, SINGLE, OUTSIDE = "B-", "I-", "E-", "S-", "O"
SHOWN = 8
"""Labels in a message, and unknown ones of a file."""
_SCORED = re.compile(r"O|[BIES]-.+", re.DOTALL)  # IOB1, IOB2 and BIOES, as seqeval reads them
_CONVERT = (
    "spans are scored in B-, I-, O and, of BIOES, E- and S-; write U- and W- as S-, L- as E- and "
    "M- as I-; or score words with task.name=pos_tags"
)


def label_set(
    task: Task, given: tuple[str, ...] | None, train: Rows, origin: str = ""
) -> tuple[str, ...]:
    """Return the labels in the order of the classifier's outputs.

    The task's own, or those given beside the data, or what the training rows have, numbers by
    size; tags closed over B- and I- (and E- and S-, if there are any), because a language may have
    an I-COLOR where English only ever has a B-COLOR.

    Args:
        task: a row of the table.
        given: those that `origin` names.
        train: the training rows.
        origin: where the given ones are from, for messages.

    Raises:
        UserError: there is nothing to learn, no spans where spans are scored or spans in a scheme
            that is not scored, a name that cannot be written.
    """
    labels = task.labels or given
    if labels is None:
        found = {*_flat(train)}
        for label in found:
            if not label.isprintable():
                check_name(label, _place(train, label))
        if train.numbered:
            labels = tuple(sorted(found, key=int))
        else:
            labels = closed(found) if task.kind == "token" else tuple(sorted(found))
    if len(labels) < 2:
        raise UserError(f"{train.origin}: there is one label only, {', '.join(labels)}")
    if task.metric == "f1":
        _check_spans(task, labels, train, origin)
    return labels


def _check_spans(task: Task, labels: Sequence[str], train: Rows, origin: str) -> None:
    """Raise UserError for tags that the score of spans would misread, or that have no spans."""
    if not any(re.match("[A-Z]-", label) for label in labels):
        raise UserError(
            f"{train.origin}: no tag begins with {BEGIN} or {INSIDE}, and task.name={task.name} "
            "scores spans; task.name=pos_tags scores words"
        )
    for label in labels:
        if not _SCORED.fullmatch(label):
            where = _place(train, label) or origin or train.origin
            raise UserError(f"{where}: the tag {label!r} is of no span: {_CONVERT}")


def closed(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags sorted, O first, B- and I- of a kind both there, and O if there are spans.

    In BIOES, E- and S- as well.
    """
    found = set(tags)
    spans = {tag for tag in found if tag.startswith((BEGIN, INSIDE))}
    prefixes = [BEGIN, INSIDE]
    if spans and any(tag.startswith((END, SINGLE)) for tag in found):
        prefixes += [END, SINGLE]
        spans = {tag for tag in found if tag.startswith(tuple(prefixes))}
    kinds = {tag[len(BEGIN) :] for tag in spans}
    found |= {prefix + kind for kind in kinds for prefix in prefixes}
    if kinds:
        found.add(OUTSIDE)
    return tuple(sorted(found, key=lambda tag: (tag != OUTSIDE, tag)))


def named(rows: Rows, train: Rows, names: Sequence[str] | None) -> Rows:
    """Return rows that have names for labels where the file has their numbers.

    Args:
        rows: of any file; without `names` their numbers stay, and are names.
        train: the training rows.
        names: the task's or those beside the data, in the order of the numbers.

    Raises:
        UserError: with file:line where numbers and names are mixed, or for a number too large.
    """
    if rows.labels is None:
        return rows
    if rows.numbered != train.numbered:
        here, there = ("numbers", "names") if rows.numbered else ("names", "numbers")
        raise UserError(
            f"{rows.where(0)}: its labels are {here}, and those of {train.origin} are {there}; "
            "write all of them alike"
        )
    if not rows.numbered or names is None:
        return rows
    name_of = {str(number): name for number, name in enumerate(names)}
    try:
        labels = [
            name_of[label] if isinstance(label, str) else [name_of[tag] for tag in label]
            for label in rows.labels
        ]
    except KeyError as error:
        (label,) = error.args
        raise UserError(
            f"{_place(rows, label)}: label {label}, and there are {len(names)} names, for 0 to "
            f"{len(names) - 1}"
        ) from None
    return replace(rows, labels=labels)


def renamed(rows: Rows, names: Mapping[str, str]) -> Rows:
    """Return rows of one label each, spelt as `names` has them where it has them."""
    if not names or rows.labels is None:
        return rows
    return replace(rows, labels=[names.get(str(label), str(label)) for label in rows.labels])


def number(rows: Rows, labels: Sequence[str], hint: str = "") -> Split:
    """Return rows with label numbers in place of names; `hint` goes behind an error.

    Raises:
        UserError: with file:line for a label that is not in the set, of each the first row.
    """
    number_of = {label: index for index, label in enumerate(labels)}
    try:
        numbers = np.fromiter((number_of[name] for name in _flat(rows)), np.int32)
    except KeyError:
        unknown = [name for name in dict.fromkeys(_flat(rows)) if name not in number_of]
        said = [_unknown(rows, name, labels) + hint for name in unknown[:SHOWN]]
        if len(unknown) > SHOWN:
            said[-1] += f" (and {len(unknown) - SHOWN:,} more unknown labels)"
        raise UserErrors(said) from None
    return Split(rows.text_a, rows.text_b, numbers, rows.origin)


def _unknown(rows: Rows, name: str, labels: Sequence[str]) -> str:
    known = listed(labels)
    row, word = next(_places(rows, name))
    if word is None:
        return f"{rows.where(row)}: unknown label {name!r}; there are {known}"
    text = rows.text_a[row][word]
    return f"{rows.where(row, word)}: unknown tag {name!r} of {text!r}; there are {known}"


def listed(labels: Sequence[str]) -> str:
    """The first of some labels, in quotes: a space at an end is seen then."""
    return ", ".join(map(repr, labels[:SHOWN])) + (", ..." if len(labels) > SHOWN else "")


def _places(rows: Rows, name: str) -> Iterator[tuple[int, int | None]]:
    """Rows that have a label, or the rows and places of words that have a tag."""
    for row, label in enumerate(rows.labels or ()):
        if isinstance(label, str):
            if label == name:
                yield row, None
        elif name in label:
            yield row, label.index(name)


def _place(rows: Rows, name: str) -> str:
    """file:line of the first that has a label; nothing if there is none."""
    return next((rows.where(row, word or 0) for row, word in _places(rows, name)), "")


def _flat(rows: Rows) -> Iterator[str]:
    """Labels of rows, or tags of all sentences end to end."""
    for label in rows.labels or ():
        if isinstance(label, str):
            yield label
        else:
            yield from label
