"""Predictions as files: one form of text, and the folders that XGLUE's own script looks in."""

from itertools import groupby
from pathlib import Path

from alignreg_jax.data.schema import Texts
from alignreg_jax.data.tasks import XglueFiles


def text(answers: Texts) -> str:
    """One label a line; in token tasks one tag a line, and a blank line between sentences."""
    blocks = [answers] if not answers or isinstance(answers[0], str) else answers
    return "\n".join("".join(f"{label}\n" for label in block) for block in blocks)


def read(content: str, *, in_words: bool) -> Texts:
    """What `text` has written."""
    lines = content.removesuffix("\n").split("\n")
    if not in_words:
        return lines
    return [list(sentence) for there, sentence in groupby(lines, bool) if there]


def path(files: XglueFiles, split: str, language: str) -> Path:
    """Where XGLUE's evaluation script looks; the folder of the split is its --prediction_dir."""
    return Path(split, files.folder, f"{language}.prediction")
