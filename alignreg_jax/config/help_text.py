"""The fields of a config as `--help` shows them, each with its value and what it means."""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

WIDTH, MEANING_AT = 100, 44
LONGEST = 8  # digits of a number, beyond which it is rounded to be read


def help_text(config: Any, default: Any, meanings: Mapping[str, str], prefix: str = "") -> str:
    """Every field, as a flag sets it, by section.

    Args:
        config: ConfigDict whose values are shown.
        default: likewise; a field that differs from it has a star.
        meanings: path -> sentence, in the order to show.
        prefix: part of the paths that has no heading of its own, "base.".
    """
    lines: list[str] = []
    before = None
    for path, meaning in meanings.items():
        section = path.removeprefix(prefix).rpartition(".")[0] if path.startswith(prefix) else ""
        if section != before:
            lines.append("")
            before = section
        value = _at(config, path)
        star = "*" if value != _at(default, path) else " "
        lines += _entry(f"{star} --config.{path}={shown(value)}", meaning)
    return "\n".join(lines[1:])


def shown(value: Any) -> str:
    """A value to be read: a list as a,b,c, long numbers rounded."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(shown, value))
    text = str(value)
    return f"{value:.4g}" if isinstance(value, float) and len(text) > LONGEST else text


def _entry(flag: str, meaning: str) -> list[str]:
    indent = " " * MEANING_AT
    text = textwrap.wrap(meaning, WIDTH - MEANING_AT, break_on_hyphens=False)
    if len(flag) < MEANING_AT - 1:
        return [flag.ljust(MEANING_AT) + text[0], *(indent + line for line in text[1:])]
    return [
        *_folded(flag),
        *(indent + line for line in text),
    ]


def _folded(flag: str) -> list[str]:
    """A long flag in lines that end behind a comma or before an @, where they can."""
    lines = [""]
    for part in re.split("(?<=,)|(?=@)", flag):
        if lines[-1] and len(lines[-1]) + len(part) > WIDTH:
            lines.append("    ")
        lines[-1] += part
    return [
        short for line in lines for short in textwrap.wrap(line, WIDTH, subsequent_indent="    ")
    ]


def _at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = config[name]
    return config
