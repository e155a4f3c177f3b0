"""Models with empty attention heads and feed-forward units, and their layers in plain float64."""

import numpy as np
import pytest
import tiny
from flax import traverse_util

from alignreg_jax.compress import agreement
from alignreg_jax.models import checkpoints
from alignreg_jax.run.export import write_export

SIZE = tiny.HIDDEN // tiny.HEADS
# By layer: heads and units whose output rows are zero, and those that add a constant
SILENT = {"heads": {0: [0], 1: []}, "ffn": {0: range(20), 1: [5]}}
CONSTANT = {"heads": {0: [], 1: [2]}, "ffn": {0: [30, 31], 1: range(40, 49)}}
LEFT = {"heads": [3, 3], "ffn": [tiny.INNER - 22, tiny.INNER - 10]}


@pytest.fixture(autouse=True)
def few_texts(monkeypatch):
    """Of two languages and one length: less to compile and to compute."""
    monkeypatch.setattr(agreement, "TEXTS", 1)
    monkeypatch.setattr(agreement, "_LENGTHS", (16,))


def flat(params):
    return traverse_util.flatten_dict(params, sep="/")


def nested(leaves):
    return traverse_util.unflatten_dict(leaves, sep="/")


def load(world, head="dense-tanh-out", words=(), source=None):
    """The world's encoder with a head whose logits are of the size of trained ones."""
    folder = source or world.encoder
    loaded = checkpoints.load(folder, head=head, labels=tiny.LABELS, seed=3, words=words)
    random, leaves = np.random.default_rng(4), {}
    for path, leaf in flat(loaded.params).items():
        leaves[path] = np.array(leaf)
        if path.startswith("head/") and path.endswith("kernel"):
            leaves[path] = leaf / leaf.std() * leaf.shape[0] ** -0.5
        if path.endswith("bias"):
            leaves[path] = random.normal(0, 0.3, leaf.shape).astype(np.float32)
    return nested(leaves), loaded.config


def empty(params, silent=SILENT, constant=CONSTANT):
    """The parameters with the zeros that make units empty."""
    leaves = {path: np.array(leaf) for path, leaf in flat(params).items()}
    for rows, columns, kind, size in (
        ("attention/output", "attention/value", "heads", SIZE),
        ("output", "intermediate", "ffn", 1),
    ):
        for layer in range(tiny.LAYERS):
            for unit in silent[kind][layer]:
                leaves[f"encoder/{rows}/kernel"][layer, unit * size : (unit + 1) * size] = 0
            for unit in constant[kind][layer]:
                leaves[f"encoder/{columns}/kernel"][layer, :, unit * size : (unit + 1) * size] = 0
    return nested(leaves)


def no_heads(units):
    """The same units without the heads: what has a stock form."""
    return {**units, "heads": {0: [], 1: []}}


def write(world, folder, head="dense-tanh-out", heads=True, card="# card\n", **options):
    """An export with empty units; returns its folder."""
    params, config = load(world, head, **options)
    chosen = (SILENT, CONSTANT) if heads else (no_heads(SILENT), no_heads(CONSTANT))
    source = options.get("source") or world.encoder
    write_export(
        folder,
        params=empty(params, *chosen),
        config=config,
        head=head,
        labels=tiny.LABELS,
        source=source,
        card=card,
    )
    return folder


def layers(params):
    """Flat parameters of every layer, of either form, in float64."""
    encoder = params["encoder"]
    if "attention" in encoder:
        count = len(encoder["output"]["bias"])
        return [
            {path: np.float64(leaf[layer]) for path, leaf in flat(encoder).items()}
            for layer in range(count)
        ]
    return [
        {path: np.float64(leaf) for path, leaf in flat(encoder[str(layer)]).items()}
        for layer in range(len(encoder))
    ]


def run(params, hidden, head_size=SIZE):
    """Hidden states `[length, hidden]` after every layer, unit by unit: a zero adds exactly 0."""
    from alignreg_jax.compress.empty_units import gelu

    states = []
    for leaf in layers(params):
        added = leaf["attention/output/bias"].copy()[None].repeat(len(hidden), 0)
        for head in range(leaf["attention/query/bias"].size // head_size):
            own = slice(head * head_size, (head + 1) * head_size)
            query, key, value = (
                hidden @ leaf[f"attention/{name}/kernel"][:, own]
                + leaf[f"attention/{name}/bias"][own]
                for name in ("query", "key", "value")
            )
            weights = np.exp(query @ key.T * head_size**-0.5)
            weights /= weights.sum(-1, keepdims=True)
            added = added + weights @ value @ leaf["attention/output/kernel"][own]
        hidden = _normal(hidden + added, leaf, "attention/layer_norm")
        added = leaf["output/bias"].copy()[None].repeat(len(hidden), 0)
        for unit in range(leaf["intermediate/bias"].size):
            inner = gelu(
                hidden @ leaf["intermediate/kernel"][:, unit] + leaf["intermediate/bias"][unit]
            )
            added = added + inner[:, None] * leaf["output/kernel"][unit]
        hidden = _normal(hidden + added, leaf, "layer_norm")
        states.append(hidden)
    return np.stack(states)


def _normal(hidden, leaf, name):
    centred = hidden - hidden.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * leaf[f"{name}/scale"] + leaf[f"{name}/bias"]
