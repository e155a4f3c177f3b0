"""What the encoder's matrices read, measured on texts."""

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
from alignreg_jax.compress.onnx.products import Form
from alignreg_jax.data.encoding import Encoded

_BATCH = 32

Largest = Mapping[str, Float32[np.ndarray, " units"]]
"""By name of an activation in the graph, the largest size of every unit over texts."""

Grams = Mapping[str, Float32[np.ndarray, "units units"]]
"""By name of an activation in the graph, XᵀX over the pieces of texts."""


def largest(network: Network, encoded: Encoded, texts: int = 128) -> Largest:
    """Measure how large every unit becomes.

    Args:
        network: the model.
        encoded: texts of the kind that it will meet.
        texts: how many of them to look at, evenly spread.
    """
    found: dict[str, Any] = {}
    for name, values in _activations(network, encoded, texts):
        found[name] = np.maximum(found.get(name, 0.0), np.abs(values).max(axis=0))
    return found


def grams(
    network: Network, encoded: Encoded, limits: Mapping[str, float], texts: int = 512
) -> Grams:
    """Measure which units go together.

    Args:
        network: the model.
        encoded: texts of the kind that it will meet.
        limits: by name of an activation how far its values go; what goes further is computed apart.
        texts: how many of them to look at, evenly spread.
    """
    found: dict[str, Any] = {}
    for name, values in _activations(network, encoded, texts):
        if name in limits:
            values = np.clip(values, -limits[name], limits[name])
        found[name] = found.get(name, 0.0) + values.T @ values
    # What the last layer reads of the first token alone, under a name of its own in the graph that
    # is served, counts as all of them do
    last = network.config.num_layers - 1
    source = f"layer{last - 1}.ffn.norm" if last else "embedding_norm"
    if source in found:
        found[f"layer{last}.first"] = found[source]
    return found


def _activations(
    network: Network, encoded: Encoded, texts: int
) -> Iterator[tuple[str, Float32[np.ndarray, "pieces units"]]]:
    """Name and values of what the matrices read, batch by batch, without padding."""
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
    if not names:  # all heads and units are cut
        return
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/model.onnx", save_as_external_data=True)
        session = sessions.session(Path(folder) / "model.onnx")
        for inputs in _batches(encoded, texts, network.config.pad_token_id):
            there = inputs["attention_mask"].astype(bool)
            outputs: Any = session.run(names, inputs)
            for name, values in zip(names, outputs, strict=True):
                yield name, values[there]


def _batches(encoded: Encoded, texts: int, pad: int) -> Iterator[dict[str, Any]]:
    chosen = np.unique(np.linspace(0, encoded.rows - 1, min(texts, encoded.rows)).astype(int))
    chosen = chosen[np.argsort(encoded.lengths[chosen], kind="stable")]
    for start in range(0, len(chosen), _BATCH):
        spans = [
            slice(encoded.offsets[row], encoded.offsets[row] + encoded.lengths[row])
            for row in chosen[start : start + _BATCH]
        ]
        yield sessions.feed([encoded.ids[span] for span in spans], pad)
