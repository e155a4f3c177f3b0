"""Units of activations that go far beyond all others, found in texts.

A feed-forward unit or two of such encoders is up to ten times beyond the next, mostly on <s> and
</s>, to which attention goes that has nowhere to go. One scale for the whole activation then leaves
a few steps for all others. Such units are divided down to the size of the others and their weights
multiplied, or what goes beyond the limit is computed apart, in float32 (`products.Form`).
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from jaxtyping import Float32
from onnx import TensorProto, helper

from alignreg_jax.compress.agreement import Network
from alignreg_jax.compress.onnx import graph, sessions
from alignreg_jax.compress.onnx.products import Form, Outlying
from alignreg_jax.data.encoding import Encoded

FEW, MANY = (8, 3.0), (16, 1.5)
"""Units of an activation, and how many times the limit without them the largest value must be."""

_BATCH = 32

Largest = Mapping[str, Float32[np.ndarray, " units"]]
"""By name of an activation in the graph, the largest size of every unit over texts."""


def largest(network: Network, encoded: Encoded, texts: int = 128) -> Largest:
    """Measure the activations that the encoder's matrices read.

    Args:
        network: the model.
        encoded: texts of the kind that it will meet.
        texts: how many of them to look at, evenly spread.
    """
    model = graph.build(network, Form(whole=True))
    names = sorted(
        {
            node.input[0]
            for node in model.graph.node
            if node.op_type == "MatMul"
            and node.name.startswith("layer")
            and node.input[1].endswith(".weight")
        }
    )
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    found: dict[str, Any] = dict.fromkeys(names, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/model.onnx", save_as_external_data=True)
        session = sessions.session(Path(folder) / "model.onnx")
        for inputs in _batches(encoded, texts, network.config.pad_token_id):
            there = inputs["attention_mask"].astype(bool)
            outputs: Any = session.run(names, inputs)
            for name, values in zip(names, outputs, strict=True):
                found[name] = np.maximum(found[name], np.abs(values[there]).max(axis=0))
    return found


def beyond(found: Largest, units: int, factor: float) -> dict[str, Outlying]:
    """Find the units that go far beyond all others of their activation.

    Args:
        found: what `largest` measured.
        units: so many of an activation at most.
        factor: the largest value is at least so many times the limit, that of the next unit.

    Returns:
        By name of the activation; without those that have no such units.
    """
    chosen = {name: _beyond(values, units, factor) for name, values in found.items()}
    return {name: each for name, each in chosen.items() if each is not None}


def _batches(encoded: Encoded, texts: int, pad: int) -> Iterator[dict[str, Any]]:
    chosen = np.unique(np.linspace(0, encoded.rows - 1, min(texts, encoded.rows)).astype(int))
    chosen = chosen[np.argsort(encoded.lengths[chosen], kind="stable")]
    for start in range(0, len(chosen), _BATCH):
        spans = [
            slice(encoded.offsets[row], encoded.offsets[row] + encoded.lengths[row])
            for row in chosen[start : start + _BATCH]
        ]
        yield sessions.feed([encoded.ids[span] for span in spans], pad)


def _beyond(largest: np.ndarray, units: int, factor: float) -> Outlying | None:
    if len(largest) <= units:
        return None
    order = np.argsort(-largest, kind="stable")
    limit = float(largest[order[units]])
    if not 0 < factor * limit < largest[order[0]]:
        return None
    chosen = np.sort(order[:units])
    return Outlying(chosen, largest[chosen], limit)
