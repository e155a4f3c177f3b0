"""The network written out plainly in float64: what bfloat16, masks and fused code are held to.

PyTorch's outputs vouch for float32 (models/test_xlmr_parity.py); this needs no PyTorch.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np


def logits(config, head, params, ids, lengths):
    """Logits of rows, or with a token head of all positions; dropout is off."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        return np.asarray(_logits(config, head, _doubles(params), ids, lengths))


def gradients(config, head, params, ids, lengths, labels):
    """Of the mean cross-entropy over rows, or over tokens; -1 is no label."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        found = _gradients(config, head, _doubles(params), ids, lengths, labels)
        return jax.tree.map(np.array, found)  # to be written to, which jax's own are not


def _doubles(params):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


@partial(jax.jit, static_argnums=(0, 1))
def _logits(config, head, params, ids, lengths):
    table = {name: params["embeddings"][name]["embedding"]
             for name in ("word", "position", "token_type")}  # fmt: skip
    counted = ids != config.pad_token_id
    positions = jnp.cumsum(counted, axis=1) * counted + config.pad_token_id
    hidden = table["word"][ids] + table["position"][positions] + table["token_type"][0]
    hidden = _normalise(hidden, params["embeddings"]["layer_norm"], config)
    valid = (jnp.arange(ids.shape[1]) < lengths[:, None])[:, None, None]
    size = config.hidden_size // config.num_heads

    def layer(hidden, leaf):
        attention = leaf["attention"]
        query, key, value = (
            _dense(hidden, attention[name]).reshape(*ids.shape, config.num_heads, size)
            for name in ("query", "key", "value")
        )
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(size)
        weights = jax.nn.softmax(jnp.where(valid, scores, -1e30), axis=-1)
        context = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(hidden.shape)
        hidden = hidden + _dense(context, attention["output"])
        hidden = _normalise(hidden, attention["layer_norm"], config)
        inner = _dense(hidden, leaf["intermediate"])
        inner = inner * 0.5 * (1 + jax.scipy.special.erf(inner / np.sqrt(2)))
        return _normalise(hidden + _dense(inner, leaf["output"]), leaf["layer_norm"], config), None

    hidden, _ = jax.lax.scan(layer, hidden, params["encoder"])
    features = hidden if head == "token" else hidden[:, 0]
    if head == "dense-tanh-out":
        features = jnp.tanh(_dense(features, params["head"]["dense"]))
    return _dense(features, params["head"]["out"])


@partial(jax.jit, static_argnums=(0, 1))
def _gradients(config, head, params, ids, lengths, labels):
    def loss(params):
        scores = jax.nn.log_softmax(_logits(config, head, params, ids, lengths))
        chosen = jnp.take_along_axis(scores, jnp.maximum(labels, 0)[..., None], axis=-1)[..., 0]
        return -jnp.mean(chosen, where=labels >= 0)

    return jax.grad(loss)(params)


def _dense(values, leaf):
    return values @ leaf["kernel"] + leaf["bias"]


def _normalise(values, leaf, config):
    centred = values - jnp.mean(values, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return centred / jnp.sqrt(variance + config.layer_norm_eps) * leaf["scale"] + leaf["bias"]
