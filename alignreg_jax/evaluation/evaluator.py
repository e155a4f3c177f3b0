"""Every language in one pass: rows of all languages share batches, and one fetch brings them."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from alignreg_jax.data.batching import bucket_edges, evaluation_plan
from alignreg_jax.data.encoding import Encoded, concatenate
from alignreg_jax.evaluation import metrics
from alignreg_jax.reporting.progress import progress
from alignreg_jax.training.state import DeviceData

Splits = Mapping[tuple[str, str], Encoded]  # (split, language) -> rows


class Evaluator:
    """Scores any subset of the splits it was given; their rows stay on the device."""

    def __init__(
        self,
        splits: Splits,
        *,
        predict: Callable[..., tuple[Array, Array]],
        place: Callable[[Any], Any],
        batch_size: int,
        steps_per_dispatch: int,
        max_length: int,
        metric: str,
    ):
        """Join the splits and place them; `place` puts host arrays on every device."""
        self._starts: dict[tuple[str, str], int] = {}
        start = 0
        for key, encoded in splits.items():
            self._starts[key] = start
            start += len(encoded.labels)
        self._splits = dict(splits)
        self._joined = concatenate(list(splits.values()))
        self._data = place(DeviceData.from_encoded(self._joined))
        self._predict, self._place = predict, place
        self._batch_size, self._steps = batch_size, steps_per_dispatch
        self._edges, self._metric = bucket_edges(max_length, per_doubling=4), metric

    def predictions(
        self, params: Any, keys: list[tuple[str, str]], description: str
    ) -> dict[tuple[str, str], np.ndarray]:
        """Predicted class of every row of the named splits, in file order."""
        spans = [
            np.arange(self._starts[key], self._starts[key] + len(self._splits[key].labels))
            for key in keys
        ]
        chosen = np.concatenate(spans)
        plan = evaluation_plan(
            self._joined.lengths[chosen],
            batch_size=self._batch_size,
            edges=self._edges,
            steps_per_dispatch=self._steps,
        )
        found = self._place(np.zeros(len(self._joined.labels) + 1, np.int32))
        done: list[tuple[Array, int]] = []
        with progress(len(chosen), description, "examples") as bar:
            for dispatch in plan:
                steps = len(dispatch.rows)
                rows = np.full((self._steps, self._batch_size), -1, np.int32)
                rows[:steps] = np.where(dispatch.rows >= 0, chosen[dispatch.rows], -1)
                found, token = self._predict(
                    found,
                    params,
                    self._data,
                    *self._place((rows, np.int32(steps))),
                    length=dispatch.length,
                )
                done.append((token, int(np.sum(dispatch.rows >= 0))))
                if len(done) > 1:  # one dispatch stays in flight while the bar tells the truth
                    token, count = done.pop(0)
                    token.block_until_ready()
                    bar.update(count)
            classes = np.asarray(jax.device_get(found))
            bar.update(sum(count for _, count in done))
        return {key: classes[span] for key, span in zip(keys, spans, strict=True)}

    def score(
        self, predictions: Mapping[tuple[str, str], np.ndarray]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Scores {split: {language: {metric: value}}} and row counts {split: {language: n}}."""
        scores: dict[str, Any] = {}
        examples: dict[str, Any] = {}
        for (split, language), classes in predictions.items():
            labels = self._splits[split, language].labels
            value = metrics.score(self._metric, labels, classes)
            scores.setdefault(split, {})[language] = {self._metric: value}
            examples.setdefault(split, {})[language] = len(labels)
        return scores, examples
