"""Which row of a stored classification head is which label of the data.

Rows are matched by the names that config.json gives them, never by their number: data whose labels
are listed in another order would be scored on the wrong rows without a word.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignreg_jax.errors import UserError
from alignreg_jax.models.storage import few

NEW_HEAD = "model.new_head=true starts a new head"
_GENERIC = re.compile(r"LABEL_\d+")  # what transformers writes where nobody has named the labels
_LISTED = 8  # names of a label set that a message shows


def rows_of(
    labels: Sequence[str], *, config: Mapping[str, Any], path: Path, rows: int
) -> tuple[list[int], str | None]:
    """Find the row of each label in a head.

    Args:
        labels: of the data, in their order.
        config: what config.json says.
        path: of config.json, for messages.
        rows: of the head.

    Returns:
        The row of every label, and what is worth a note.

    Raises:
        UserError: the head has other labels than the data, or nothing says which is which.
    """
    named = _names(config, path)
    names = named or tuple(f"LABEL_{row}" for row in range(rows))
    if len(names) != rows:
        raise UserError(
            f"{path}: id2label names {len(names)} labels and the checkpoint's head has {rows}; "
            f"mend id2label, or {NEW_HEAD}"
        )
    if set(names) == set(labels):
        order = [names.index(label) for label in labels]
        moved = order != sorted(order)
        return order, "rows of the head put into the order of the data's labels" if moved else None
    if list(labels) == [str(row) for row in range(rows)]:
        if named is None:
            return list(range(rows)), None
        pairs = few([f"{row} is {name}" for row, name in enumerate(names)], _LISTED)
        return list(range(rows)), f"the data's labels are numbers, taken as the encoder's: {pairs}"
    head = f"{path}: the checkpoint's head has {rows} labels ({_listed(names, labels)})"
    found = f"the data {len(labels)} ({_listed(labels, names)})"
    if named is None:
        raise UserError(
            f"{head} and {found}, and nothing says which is which; write the names into id2label, "
            f"or {NEW_HEAD}"
        )
    hint = ""
    if set(labels) < set(names):
        hint = "name all of the head's in a labels.json beside the data, "
    raise UserError(f"{head} and {found}; {hint}spell them alike, or {NEW_HEAD}")


def check_use(config: Mapping[str, Any], path: Path, *, head: str, beside: bool) -> None:
    """Check that a stored head was made for what it is about to be used for.

    Heads of different kinds may have tensors of the same names.

    Args:
        config: what config.json says.
        path: of config.json, for messages.
        head: the form that the task needs.
        beside: whether the head is in a file of its own, as one over whole texts is.

    Raises:
        UserError: it classifies words instead of texts or the other way round, or gives numbers or
            any number of labels at once.
    """
    classes = config.get("architectures") or []
    of_words = any(str(name).endswith("ForTokenClassification") for name in classes) and not beside
    of_texts = beside or any(str(name).endswith("ForSequenceClassification") for name in classes)
    if (of_words and head != "token") or (of_texts and head == "token"):
        made, wanted = ("words", "texts") if of_words else ("texts", "words")
        raise UserError(
            f"{path}: the checkpoint's head labels {made} and the task {wanted}; {NEW_HEAD}"
        )
    problem = config.get("problem_type")
    if problem not in (None, "single_label_classification"):
        raise UserError(
            f"{path}: problem_type is {problem!r}, and here every row or word has one label of "
            f"several; {NEW_HEAD}"
        )


def labels_of(config: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The names that an export gives the rows of its head.

    Args:
        config: what config.json says.
        path: of config.json, for messages.

    Raises:
        UserError: it names none.
    """
    named = _by_row(config, "id2label", path, lambda key, value: (key, value))
    if not named:
        raise UserError(f"{path}: id2label is missing, so nobody knows the head's labels")
    return named


def _names(config: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    """Names in the order of the rows; None where nobody has given any."""
    maps = {
        "id2label": _by_row(config, "id2label", path, lambda key, value: (key, value)),
        "label2id": _by_row(config, "label2id", path, lambda key, value: (value, key)),
    }
    # transformers leaves the generic names in the one map when only the other is set
    given = {
        field: names
        for field, names in maps.items()
        if names and not all(map(_GENERIC.fullmatch, names))
    }
    if len(set(given.values())) > 1:
        raise UserError(f"{path}: id2label and label2id contradict each other")
    return next(iter(given.values()), None)


def _by_row(
    config: Mapping[str, Any], field: str, path: Path, split: Any
) -> tuple[str, ...] | None:
    """The names in one of config.json's two maps, by row; `split` gives (row, name) of an entry."""
    entries = config.get(field)
    if entries is None:
        return None
    try:
        pairs = [split(key, value) for key, value in entries.items()]
        names = {int(row): str(name) for row, name in pairs if isinstance(name, str | int)}
    except (AttributeError, TypeError, ValueError):
        raise UserError(f"{path}: {field} does not map rows to label names") from None
    if len(names) != len(pairs) or sorted(names) != list(range(len(names))):
        raise UserError(f"{path}: {field} should have every row from 0 on once")
    if len(set(names.values())) != len(names):
        raise UserError(f"{path}: {field} has a label name twice")
    return tuple(names[row] for row in range(len(names)))


def _listed(names: Sequence[str], others: Collection[str]) -> str:
    """All names, or of many those that are not among the others."""
    if len(names) <= _LISTED:
        return ", ".join(names)
    own = [name for name in names if name not in others]
    return f"among them {few(own, _LISTED)}" if own else few(names, _LISTED)
