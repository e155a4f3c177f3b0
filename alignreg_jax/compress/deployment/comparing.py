"""How models answer and how long they take: the rows of the table that a deployed folder has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alignreg_jax.compress import gate
from alignreg_jax.compress.gate import Answers, Judged
from alignreg_jax.compress.onnx import graph, sessions
from alignreg_jax.compress.pooling import Pooling
from alignreg_jax.compress.served import Served
from alignreg_jax.data.encoding import Encoded, load_tokenizer
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation.summary import means
from alignreg_jax.models.architecture import XlmrConfig
from alignreg_jax.support.progress import progress

DENSE, ORIGINAL, SIZED = "dense", "original", "at its size"
FLOAT, ALL_PIECES = "fp32", "fp32, all pieces"
"""Names of models in float32: before pruning, as it was given, with fewer units, as it is served,
and as it is served where fewer pieces did not pass."""

SHAPES = ((1, 16), (1, 64), (32, 64))
"""Rows and pieces of the batches that are timed."""

BATCHES = (1, 32)
"""Rows at once when answers are compared: scales of eight-bit activations are those of a batch."""


@dataclass
class Line:
    """A model in the table.

    Attributes:
        name: what it is.
        path: its file.
        size: bytes of it.
        milliseconds: by shape, "1 x 16".
        judged: against the model before cuts of pieces and bits; empty if that is the model itself.
        scores: per cent of right answers by language, where labels are known.
        packed: bytes of the file as .gz; None: not made.
    """

    name: str
    path: Path
    size: int
    scores: Mapping[str, float]
    judged: Sequence[Judged] = ()
    milliseconds: dict[str, float] = field(default_factory=dict)
    packed: int | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """English, the mean of the others, and the worst language."""
        worst = min(self.scores, key=lambda name: self.scores[name], default=None)
        found = means(self.scores)
        return {
            "en": found["en"],
            "zero_shot_avg": found["zero_shot_avg"],
            "worst": worst and {"language": worst, "value": self.scores[worst]},
        }

    @property
    def flips(self) -> tuple[float, Judged] | None:
        """Per cent of answers that are others, and the language with most; None: not compared."""
        if not self.judged:
            return None
        whole = sum(each.flips for each in self.judged) / sum(each.answers for each in self.judged)
        return 100 * whole, max(self.judged, key=lambda each: each.share)


class Asked:
    """Rows as one tokenizer reads them."""

    def __init__(self, served: Served, folder: Path, config: XlmrConfig):
        """Tokenise them with the tokenizer of a model's folder."""
        longest = min(served.max_length or config.max_length, config.max_length)
        self.tokenizer = load_tokenizer(folder, config.vocab_size)
        self.pooling: Pooling | None = served.pooling
        self.pad, self.pieces, self.longest = config.pad_token_id, config.vocab_size, longest
        self.rows: Mapping[str, Encoded] = served.encoded(self.tokenizer, longest)

    def answers(self, path: Path, batch: int, name: str) -> dict[str, Answers]:
        """What a model answers, language by language."""
        model = sessions.session(path)
        total = sum(each.rows for each in self.rows.values())
        with progress(total, f"{name}, {batch} at once", "rows", delay=2.0) as bar:
            return {
                language: self._answers(model, each, batch, bar.update)
                for language, each in self.rows.items()
            }

    def _answers(self, model: Any, encoded: Encoded, batch: int, told: Any) -> Answers:
        if self.pooling is None:
            return gate.answers(sessions.answers(model, encoded, self.pad, batch, told))
        vectors = sessions.answers(model, encoded, self.pad, batch, told, self.pooling)
        return gate.nearest(vectors)


def reference(
    name: str, path: Path, asked: Asked, served: Served
) -> tuple[Line, dict[str, Answers]]:
    """The line of a model that others are compared with, and its answers.

    Raises:
        UserError: of a language it answers nothing that could be compared.
    """
    answers = asked.answers(path, BATCHES[-1], name)
    if silent := [language for language, each in answers.items() if not (each >= 0).any()]:
        needed = "two different texts" if asked.pooling else "a word with a piece"
        raise UserError(
            f"{', '.join(silent)}: the model gives no answer to compare; it takes {needed} at"
            " least, and numbers that are finite"
        )
    return Line(name, path, graph.size(path), _scores(answers, served)), answers


def line(
    name: str, path: Path, asked: Asked, served: Served, before: Mapping[str, Answers]
) -> Line:
    """The line of a model that is compared with the answers of another, `before`."""
    after = {batch: asked.answers(path, batch, name) for batch in BATCHES}
    gold = {language: split.labels for language, split in served.rows.items()}
    judged = gate.judge(before, after, gold)
    scores = _scores(after[BATCHES[-1]], served)
    return Line(name, path, graph.size(path), scores, judged)


def time(
    lines: Sequence[Line],
    pieces: int,
    longest: int,
    threads: int = 1,
    shapes: Sequence[tuple[int, int]] | None = None,
) -> None:
    """Measure how long the models take, side by side.

    Args:
        lines: where the times are written.
        pieces: how many all of them have.
        longest: most pieces of a row; longer shapes are left out, and one so long is measured if
            there is no other.
        threads: of ONNX Runtime.
        shapes: None: `SHAPES`.
    """
    models = [sessions.session(each.path, threads) for each in lines]
    fitting = [(batch, length) for batch, length in shapes or SHAPES if length <= longest]
    for batch, length in fitting or [(1, longest)]:
        found = sessions.milliseconds(models, batch, length, pieces)
        for each, value in zip(lines, found, strict=True):
            each.milliseconds[f"{batch} x {length}"] = value


def _scores(answers: Mapping[str, Answers], served: Served) -> dict[str, float]:
    scores = {}
    for language, split in served.rows.items():
        known = split.labels >= 0
        if known.any():
            right = np.count_nonzero(answers[language][known] == split.labels[known])
            scores[language] = 100 * right / int(np.count_nonzero(known))
    return scores
