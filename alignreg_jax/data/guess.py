"""Which task a folder of one's own is for, where nobody says."""

import json
from pathlib import Path

from alignreg_jax.data import lines
from alignreg_jax.data.folders import look
from alignreg_jax.data.jsonl import read_labels
from alignreg_jax.errors import UserError

_LOOKED_AT = 100  # rows, and more where none of them has a tag other than O
_OF_SPANS = ("B-", "I-", "E-", "S-")


def task_of(folder: Path) -> str:
    """Which task reads the English training rows, by the first of them that tell.

    Of tags that are numbers the names in labels.json tell. What cannot be read is "folder"; that
    task then says what is wrong.
    """
    tags: set[object] = set()
    try:
        for count, (_, line) in enumerate(lines.rows(look(folder).files["en", "train"])):
            if count >= _LOOKED_AT and tags != {"O"}:
                break
            row = json.loads(line)
            tags.update(row["tags"] if "tokens" in row else ())
        if any(type(tag) is int for tag in tags):
            tags.update(read_labels(folder) or ())
    except (OSError, UserError, KeyError, TypeError, ValueError, RecursionError):
        return "folder"
    spans = any(str(tag).startswith(_OF_SPANS) for tag in tags)
    return ("tokens" if spans else "pos_tags") if tags else "folder"
