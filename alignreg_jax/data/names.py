"""Names of labels: what one may be, and which are hard to tell apart."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from alignreg_jax.data.alike import visible
from alignreg_jax.errors import UserError


def check_name(name: str, where: str) -> None:
    """Raise UserError for a name that cannot be written, or not on one line of a file.

    Predictions have a label a line; config.json, reports and cards are UTF-8.
    """
    categories = {unicodedata.category(letter) for letter in name}
    if "Cs" in categories:
        raise UserError(f"{where}: the label {name!a} has half a surrogate pair")
    if categories & {"Cc", "Zl", "Zp"}:
        raise UserError(
            f"{where}: the label {name!a} has a control character or line break, and labels "
            "are written one a line"
        )


def look_alikes(names: Iterable[str]) -> list[str]:
    """Return a line on each group of names that differ in white space, case or code points alone.

    They are classes of their own, and more often one that was spelt in two ways.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[visible(name)].append(name)
    return [
        f"labels that look alike are different classes: {_shown(group)}"
        for group in groups.values()
        if len(group) > 1
    ]


def _shown(group: list[str]) -> str:
    """Names in quotes; escaped where even a careful eye would see the same letters."""
    composed = {unicodedata.normalize("NFC", name) for name in group}
    return ", ".join(map(repr if len(composed) == len(group) else ascii, group))
