"""Whether two models say the same: the rows they are asked, and how far apart their answers are."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int32
from tokenizers import Tokenizer

from alignreg_jax.data.sources import DEMO_DATA
from alignreg_jax.models import xlmr
from alignreg_jax.models.elastic import Tau
from alignreg_jax.models.saving import TOKENIZER
from alignreg_jax.models.xlmr import Head, Params, XlmrConfig

TEXTS = 8
"""Texts of every bundled language that are compared."""

_RANDOM = 16  # rows of every length
_LENGTHS = (8, 32, 128)  # in pieces; rows are padded to one of them
_BATCH = 32


class Network(NamedTuple):
    """A model to ask; without a head it answers with the last hidden states.

    With `at`, thresholds and a size, it is asked at that size.
    """

    params: Params
    config: XlmrConfig
    head: Head | None
    at: tuple[Tau, float] | None = None


class Questions(NamedTuple):
    """Rows of pieces, and of how many languages the texts among them are."""

    rows: list[list[int]]
    texts: int
    languages: int


def questions(folder: Path, config: XlmrConfig) -> Questions:
    """Rows for a model: random pieces in several lengths, and bundled texts if it has a tokenizer.

    Any tokenizer reads any text; one without their words makes <unk> of them, and the random pieces
    are there, too.

    Args:
        folder: of the model.
        config: its architecture.
    """
    random = np.random.default_rng(0)
    lengths = sorted({min(length, config.max_length) for length in _LENGTHS})
    rows = [
        random.integers(0, config.vocab_size, random.integers(1, length, endpoint=True)).tolist()
        for length in lengths
        for _ in range(_RANDOM)
    ]
    if not (folder / TOKENIZER).exists():
        return Questions(rows, 0, 0)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(lengths[-1])
    files = sorted(DEMO_DATA.glob("intents/*.test.jsonl"))
    texts = [text for file in files for text in _first(file)]
    read = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    return Questions(rows + [ids for ids in read if ids], len(texts), len(files))


def largest_difference(one: Network, other: Network, rows: Sequence[list[int]]) -> float:
    """The largest difference of two models' answers in float32, padding left out.

    Answers are logits; not a number counts as infinitely far.

    Args:
        one: a model.
        other: another one, of equal outputs.
        rows: pieces of every row.
    """
    pad, most = one.config.pad_token_id, 0.0
    placed = [each._replace(params=jax.device_put(dict(each.params))) for each in (one, other)]
    for ids, lengths in _batches(rows, one.config.max_length, pad):
        answers = [np.asarray(_ask(network, ids, lengths)) for network in placed]
        valid = lengths > 0
        if answers[0].ndim == 3:
            valid = np.arange(ids.shape[1]) < lengths[:, None]
        answers = [answer[valid] for answer in answers]
        apart = np.abs(answers[0] - answers[1]).max(initial=0.0)
        most = max(most, float(apart) if np.isfinite(apart) else float("inf"))
    return most


def _ask(network: Network, ids: np.ndarray, lengths: np.ndarray) -> jax.Array:
    params, config, head, at = network
    labels = 1 if head is None else params["head"]["out"]["bias"].shape[0]
    model = xlmr.XlmrModel(config, head or "linear", labels)
    elastic = None if at is None else (dict(at[0]), np.full(len(ids), at[1], np.float32))
    return _answers(model, head is None, params, ids, lengths, elastic)


def _encoded(
    model: xlmr.XlmrModel, params: Params, ids: jax.Array, lengths: jax.Array, elastic: Any
) -> Float[jax.Array, "batch length hidden"]:
    return xlmr.hidden_states(model, params, ids, lengths, elastic)[-1]


@partial(jax.jit, static_argnums=(0, 1))
def _answers(
    model: xlmr.XlmrModel, encoder: bool, params: Params, ids: jax.Array, lengths: jax.Array,
    elastic: Any,
) -> jax.Array:  # fmt: skip
    return (_encoded if encoder else xlmr.logits)(model, params, ids, lengths, elastic=elastic)


def _batches(
    rows: Sequence[list[int]], longest: int, pad: int
) -> Iterator[tuple[Int32[np.ndarray, "batch length"], Int32[np.ndarray, " batch"]]]:
    """Rows of like lengths together; a last batch is filled up with empty rows."""
    widths = sorted({min(length, longest) for length in _LENGTHS})
    for shorter, width in zip([0, *widths], widths, strict=False):
        fitting = [row for row in rows if shorter < len(row) <= width]
        for start in range(0, len(fitting), _BATCH):
            ids = np.full((_BATCH, width), pad, np.int32)
            lengths = np.zeros(_BATCH, np.int32)
            for place, row in enumerate(fitting[start : start + _BATCH]):
                ids[place, : len(row)], lengths[place] = row, len(row)
            yield ids, lengths


def _first(file: Path) -> list[str]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(TEXTS), strict=False)]
