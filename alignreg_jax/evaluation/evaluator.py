"""Predict every language in one pass: their rows share batches, and one fetch brings them all."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from alignreg_jax.data.batching import bucket_edges, evaluation_plan, renumbered
from alignreg_jax.data.encoding import Encoded, concatenate
from alignreg_jax.errors import NonFiniteLoss
from alignreg_jax.models.elastic import Tau
from alignreg_jax.support.progress import progress
from alignreg_jax.training import forward
from alignreg_jax.training.forward import NOT_FINITE
from alignreg_jax.training.state import DeviceData

Splits = Mapping[tuple[str, str], Encoded]  # (split, language) -> rows


class Evaluator:
    """Predicts any subset of the splits it was given; their rows stay on the device."""

    def __init__(
        self,
        splits: Splits,
        *,
        predict: Callable[..., tuple[Array, Array]],
        place: Callable[[Any], Any],
        batch_size: int,
        steps_per_dispatch: int,
        max_length: int,
    ):
        """Join the splits and place them; `place` puts host arrays on every device."""
        self._splits = dict(splits)
        self._rows = _spans({key: encoded.rows for key, encoded in splits.items()})
        self._targets = _spans({key: len(encoded.labels) for key, encoded in splits.items()})
        self._joined = concatenate(list(splits.values()))
        self._data = place(DeviceData.from_encoded(self._joined))
        self._predict, self._place = predict, place
        self._batch_size, self._steps = batch_size, steps_per_dispatch
        self._edges = bucket_edges(max_length, per_doubling=4)

    def predictions(
        self,
        params: Any,
        keys: list[tuple[str, str]],
        description: str,
        at: tuple[Tau, float] | None = None,
    ) -> dict[tuple[str, str], np.ndarray]:
        """Predicted class of every row, or word, of the named splits, in file order.

        -1 is a word that was cut off, or that has no piece. With `at`, thresholds and a size, the
        model answers at that size; one program serves all sizes.

        Raises:
            NonFiniteLoss: logits that are NaN or infinite; it names the split and language.
        """
        chosen = np.concatenate([self._rows[key] for key in keys])
        plan = evaluation_plan(
            self._joined.lengths[chosen],
            batch_size=self._batch_size,
            edges=self._edges,
            steps_per_dispatch=self._steps,
        )
        found = self._place(np.zeros(self._data.targets + 1, np.int32))
        size = None if at is None else self._place((dict(at[0]), np.float32(at[1])))
        with progress(len(chosen), description, "examples") as bar:
            found = forward.through(
                self._predict,
                found,
                params,
                self._data,
                renumbered(plan, chosen),
                shape=(self._steps, self._batch_size),
                place=self._place,
                update=bar.update,
                at=size,
            )
        classes = np.asarray(jax.device_get(found))
        for key in keys:
            _check_finite(key, self._splits[key], classes[self._targets[key]])
        return {key: _answers(self._splits[key], classes[self._targets[key]]) for key in keys}


def _spans(counts: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], np.ndarray]:
    """Where the rows, or targets, of each split are among those of all splits."""
    found, start = {}, 0
    for key, count in counts.items():
        found[key] = np.arange(start, start + count)
        start += count
    return found


def _check_finite(key: tuple[str, str], encoded: Encoded, classes: np.ndarray) -> None:
    wrong = classes == NOT_FINITE
    if not wrong.any():
        return
    if encoded.per_token:
        wrong = np.logical_or.reduceat(wrong, encoded.offsets)
    split, language = key
    raise NonFiniteLoss(
        f"logits are not finite in {np.count_nonzero(wrong)} of the {encoded.rows} rows of "
        f"{language} {split}, so there is nothing to score: the encoder's activations overflow, "
        "or training diverged; try model.dtype=float32 or a lower train.learning_rate"
    )


def _answers(encoded: Encoded, classes: np.ndarray) -> np.ndarray:
    """Of tokens' classes those where words begin, in the order of the words."""
    if encoded.words is None:
        return classes
    begins = encoded.words >= 0
    answers = np.full(encoded.word_count, -1, np.int32)
    answers[encoded.words[begins]] = classes[begins]
    return answers
