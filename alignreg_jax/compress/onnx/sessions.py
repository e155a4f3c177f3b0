"""Models in ONNX Runtime: their answers to rows, and how long they take."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from jaxtyping import Float32, Int32, Int64

from alignreg_jax.compress.onnx.graph import HIDDEN
from alignreg_jax.compress.pooling import Pooling, pool
from alignreg_jax.data.encoding import Encoded

_ENOUGH, _LEAST, _MOST = 0.3, 5, 60  # seconds, and rounds, of a measurement

EXACT = ("session.x64quantprecision", "1")
"""Without it x86 processors without VNNI add products of eight bits in sixteen, which overflow;
on others it changes nothing. predict.py sets it, too, so that the gate judges what is served."""


def session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """Load a model on the CPU.

    Args:
        path: of the file.
        threads: 0: as many as ONNX Runtime likes.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors
    # Else threads of the model before would still wait for work while the next one is timed
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry(*EXACT)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def feed(rows: Sequence[Int32[np.ndarray, " _"]], pad: int) -> dict[str, Any]:
    """The inputs of a batch: rows filled up with padding to the longest, and what is none."""
    lengths = np.array([len(row) for row in rows])
    there = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(there.shape, pad, np.int64)
    ids[there] = np.concatenate(rows)
    return {"input_ids": ids, "attention_mask": there.astype(np.int64)}


def answers(
    model: onnxruntime.InferenceSession,
    encoded: Encoded,
    pad: int,
    batch: int,
    told: Callable[[int], object] = lambda rows: None,
    pooling: Pooling = "mean",
) -> Float32[np.ndarray, "rows_or_words labels"]:
    """Logits of every row, or of every word in the order of the text; without a head vectors.

    Args:
        model: with one output.
        encoded: rows.
        pad: id of the padding piece.
        batch: rows at once, those of like length together, as a server would.
        told: how many rows have been answered since the last time.
        pooling: what makes a vector of a row, for a model without a head.

    Returns:
        A word that has no piece within the length has NaN.
    """
    order = np.argsort(encoded.lengths, kind="stable")
    count = encoded.word_count if encoded.per_token else encoded.rows
    headless = model.get_outputs()[0].name == HIDDEN
    found: Any = None
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        spans = [
            slice(first, first + length)
            for first, length in zip(
                encoded.offsets[chosen].tolist(), encoded.lengths[chosen].tolist(), strict=True
            )
        ]
        inputs = feed([encoded.ids[span] for span in spans], pad)
        outputs: Any = model.run(None, inputs)
        (logits,) = outputs
        if headless:
            logits = pool(logits, inputs["attention_mask"], pooling)
        if found is None:
            found = np.full((count, logits.shape[-1]), np.nan, np.float32)
        if encoded.words is None:
            found[chosen] = logits
        else:
            for span, row in zip(spans, logits, strict=True):
                words = encoded.words[span]
                found[words[words >= 0]] = row[: len(words)][words >= 0]
        told(len(chosen))
    return found


def milliseconds(
    models: Sequence[onnxruntime.InferenceSession], batch: int, length: int, pieces: int
) -> list[float]:
    """The shortest time of each model for a batch of random pieces without padding, in turns.

    In turns, so that other work on the machine meets all of them; the shortest, because whatever
    disturbs a run only adds to it.
    """
    ids: Int64[np.ndarray, "batch length"] = np.random.default_rng(0).integers(
        min(4, pieces - 1), pieces, (batch, length)
    )
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    best = [float("inf")] * len(models)
    for model in models:
        model.run(None, inputs)
    begun, rounds = time.perf_counter(), 0
    while rounds < _LEAST or (
        rounds < _MOST and time.perf_counter() - begun < _ENOUGH * len(models)
    ):
        for index, model in enumerate(models):
            start = time.perf_counter()
            model.run(None, inputs)
            best[index] = min(best[index], 1e3 * (time.perf_counter() - start))
        rounds += 1
    return best
