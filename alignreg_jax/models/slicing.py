"""Encoders with fewer attention heads, feed-forward units and layers: the parameters that are left.

A unit owns columns of some kernels and rows of an output kernel. Without them a layer computes what
it computes with those rows at zero: a layer without units still adds its output biases and has both
LayerNorms. A layer that is left out does nothing; the two are not the same.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from flax import traverse_util
from jaxtyping import Bool

from alignreg_jax.models.architecture import XlmrConfig

Units = Mapping[str, Bool[np.ndarray, "layers ..."]]
"""What is kept: `heads` `[layers, heads]`, `ffn` `[layers, units]`, and `layers` `[layers]` where
whole layers are left out."""

# The units that a layer's parameter is made of, and along which axis; all others are of hidden size
_AXES = {
    "attention/query/kernel": ("heads", 1),
    "attention/query/bias": ("heads", 0),
    "attention/key/kernel": ("heads", 1),
    "attention/key/bias": ("heads", 0),
    "attention/value/kernel": ("heads", 1),
    "attention/value/bias": ("heads", 0),
    "attention/output/kernel": ("heads", 0),
    "intermediate/kernel": ("ffn", 1),
    "intermediate/bias": ("ffn", 0),
    "output/kernel": ("ffn", 0),
}


def sliced(
    params: Mapping[str, Any], config: XlmrConfig, units: Units
) -> tuple[dict[str, Any], XlmrConfig]:
    """Keep some heads, feed-forward units and layers of a model; pure numpy, exact.

    Args:
        params: with stacked encoder parameters.
        config: their architecture.
        units: which are kept; a layer may lose all of a kind. Those of a layer that is left out do
            not matter.

    Returns:
        The parameters, all but the encoder's shared, and their architecture. Encoder parameters
        stay stacked if all layers keep equally many units; otherwise each layer has its own.

    Raises:
        ValueError: layers that are not stacked, sizes or masks that are not the architecture's, or
            no layer that is kept.
    """
    if not config.stacked:
        raise ValueError("only stacked layers can be sliced")
    check_sizes(params["encoder"], config)
    sizes, layers = config.layers[0], config.num_layers
    units = {"layers": np.ones(layers, bool), **units}
    wanted = {"heads": (layers, sizes.heads), "ffn": (layers, sizes.ffn), "layers": (layers,)}
    for kind, shape in wanted.items():
        found = units[kind].shape
        if found != shape:
            raise ValueError(f"mask of {kind} is {list(found)}, the encoder has {list(shape)}")
    chosen = np.flatnonzero(units["layers"]).tolist()
    if not chosen:
        raise ValueError("no layer is kept")
    entries = {"heads": np.repeat(units["heads"], sizes.head_size, axis=1), "ffn": units["ffn"]}

    def layer_slice(path: str, leaf: np.ndarray, layer: int) -> np.ndarray:
        if path not in _AXES:
            return leaf[layer]
        kind, axis = _AXES[path]
        return np.compress(entries[kind][layer], leaf[layer], axis)

    heads, ffn = (
        np.count_nonzero(units[kind][chosen], axis=1).tolist() for kind in ("heads", "ffn")
    )
    config = replace(config, num_layers=len(chosen)).with_sizes(heads, ffn)
    encoder: dict[str, np.ndarray] = {}
    for path, stacked in _flat(params["encoder"]).items():
        leaf = np.asarray(stacked)
        parts = [layer_slice(path, leaf, layer) for layer in chosen]
        if config.stacked:
            encoder[path] = np.stack(parts)
        else:
            encoder |= {f"{layer}/{path}": part for layer, part in enumerate(parts)}
    return {**params, "encoder": traverse_util.unflatten_dict(encoder, sep="/")}, config


def evened(config: XlmrConfig) -> XlmrConfig:
    """The architecture with all layers as large as the largest."""
    sizes = config.layers
    heads, ffn = max(each.heads for each in sizes), max(each.ffn for each in sizes)
    return config.with_sizes([heads] * len(sizes), [ffn] * len(sizes))


def padded(params: Mapping[str, Any], config: XlmrConfig) -> dict[str, Any]:
    """Give uneven layers empty heads and units, so that they stack; what they compute stays.

    A head that is empty attends with zeros and hands on none, an empty unit is gelu(0) = 0, and the
    rows of both in the output kernels are zero.

    Args:
        params: with a subtree for each layer.
        config: their architecture.

    Returns:
        Parameters of `evened(config)`, all but the encoder's shared.
    """
    check_sizes(params["encoder"], config)
    whole, head_size, ffn = evened(config).layers[0]
    wanted = {"heads": whole * head_size, "ffn": ffn}
    layers = [_flat(params["encoder"][str(layer)]) for layer in range(config.num_layers)]

    def filled(path: str, leaf: np.ndarray) -> np.ndarray:
        if path not in _AXES:
            return leaf
        kind, axis = _AXES[path]
        room = [(0, 0)] * leaf.ndim
        room[axis] = (0, wanted[kind] - leaf.shape[axis])
        return np.pad(leaf, room)

    stacked = {
        path: np.stack([filled(path, np.asarray(layer[path])) for layer in layers])
        for path in layers[0]
    }
    return {**params, "encoder": traverse_util.unflatten_dict(stacked, sep="/")}


def parameters(params: Mapping[str, Any]) -> int:
    """Count the parameters of a model."""
    return sum(int(np.size(leaf)) for leaf in _flat(params).values())


def absent_parameters(config: XlmrConfig, units: Units) -> int:
    """Count the parameters that an encoder loses with its units and layers: weights and biases.

    Args:
        config: of stacked layers.
        units: which are kept, as `sliced` takes them.
    """
    (heads, head_size, ffn), hidden = config.layers[0], config.hidden_size
    head, unit = head_size * (4 * hidden + 3), 2 * hidden + 1
    rest = 6 * hidden  # output biases and two LayerNorms
    whole = heads * head + ffn * unit + rest
    layers = units.get("layers", np.ones(config.num_layers, bool))
    lost = np.count_nonzero(~units["heads"], axis=1) * head
    lost = lost + np.count_nonzero(~units["ffn"], axis=1) * unit
    return int(np.where(layers, lost, whole).sum())


def check_sizes(encoder: Mapping[str, Any], config: XlmrConfig) -> None:
    """Raise ValueError, naming the layer, unless encoder parameters have the architecture's sizes.

    Args:
        encoder: arrays, or anything with their shapes.
        config: what they should be.
    """
    stacked, numbers = "attention" in encoder, [str(layer) for layer in range(config.num_layers)]
    if stacked != config.stacked:
        forms = ("a subtree for each layer", "stacked layers")
        raise ValueError(
            f"encoder parameters are {forms[stacked]}, the architecture has {forms[not stacked]}"
        )
    if not stacked and set(encoder) != set(numbers):
        raise ValueError(
            f"encoder parameters are of layers {', '.join(sorted(encoder, key=int))}; "
            f"the architecture has {', '.join(numbers)}"
        )
    shapes = {path: leaf.shape for path, leaf in _flat(encoder).items()}
    for layer, sizes in enumerate(config.layers):
        wanted = {"heads": sizes.heads * sizes.head_size, "ffn": sizes.ffn}
        for path, (kind, axis) in _AXES.items():
            shape = shapes[path][1:] if stacked else shapes[f"{layer}/{path}"]
            if shape[axis] != wanted[kind]:
                raise ValueError(
                    f"encoder layer {layer}: {path} is {list(shape)}, the architecture says "
                    f"{sizes.heads} heads of {sizes.head_size} and {sizes.ffn} feed-forward units"
                )


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.flatten_dict(dict(tree), sep="/")
