"""Lookahead pruning: what a weight is worth to its layer together with the layers around it.

Park et al. 2020 ("Lookahead: A Far-Sighted Alternative of Magnitude-based Pruning") score a weight
by how much the product of three consecutive matrices changes when it is set to zero,

    S[a, b] = W[a, b]^2 * sum_c before[c, a]^2 * sum_d after[b, d]^2,

the squared Frobenius norm of that change. They treat networks that are chains; a transformer is
not one, so what comes before and after a kernel is a choice, the `boundary`.
"""

import itertools
from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from alignreg_jax.pruning.kernels import KERNELS, Kernels

Boundary = Literal["block", "residual", "chain"]

_Factors = dict[str, Float[Array, "layers _"]]

_QUERY, _KEY, _VALUE, _ATTENTION_OUTPUT, _INTERMEDIATE, _OUTPUT = KERNELS


class _Stream(NamedTuple):
    """Factors `[layers, hidden]` where a block reads the residual stream and writes to it."""

    attention_reads: Float[Array, "layers hidden"]
    attention_writes: Float[Array, "layers hidden"]
    feed_forward_reads: Float[Array, "layers hidden"]
    feed_forward_writes: Float[Array, "layers hidden"]


def lookahead(
    kernels: Kernels,
    *,
    boundary: Boundary = "block",
    layernorm: Mapping[str, Float[Array, "..."]] | None = None,
) -> Kernels:
    """Score a weight by the squared change of the products it takes part in.

    Every weight is scored with its neighbours as they are before the cut (the authors' base mode).
    Biases and the GELU are ignored, as the authors ignore biases and the ReLU.

    Args:
        kernels: pruned weights at zero, `[layers, in, out]`.
        boundary: what counts as a neighbour.
            "block": kernels that meet inside a block: value and attention output (their product
            VO), query and key (the bilinear form QK'), intermediate and output. For these the
            score is exactly the change. The residual stream, which many kernels read and
            write, is a boundary with factor 1.
            "residual": the stream counts too: all that wrote last and all that read next, their
            squares summed, plus one for the identity beside them, times the squared scale of the
            LayerNorm between (the authors' rules for skip connections and batch normalisation). A
            LayerNorm's division by the standard deviation depends on the token and is left out.
            "chain": the kernels as a chain in their order in the network: query, key, value,
            attention output, intermediate, output, the next layer's query. The shapes fit, but
            query, key and value do not follow one another; it is what a port makes that takes
            modules as they are listed.
        layernorm: scales of the LayerNorms, for "residual" only: `embeddings` `[hidden]`,
            `attention` and `output` `[layers, hidden]`.

    Returns:
        Scores of the kernels' shapes, float32, in the squared form above.

    Raises:
        ValueError: boundary "residual" without `layernorm`.
    """
    squares = {name: jnp.square(kernels[name].astype(jnp.float32)) for name in KERNELS}
    rows = {name: jnp.sum(squares[name], axis=-1) for name in KERNELS}
    columns = {name: jnp.sum(squares[name], axis=-2) for name in KERNELS}
    if boundary == "chain":
        before, after = _chain(rows, columns)
    else:
        if boundary == "block":
            one = jnp.ones_like(rows[_QUERY])
            stream = _Stream(one, one, one, one)
        elif layernorm is None:
            raise ValueError("lookahead: boundary='residual' needs the scales in layernorm")
        else:
            stream = _residual_stream(rows, columns, layernorm)
        before, after = _block(rows, columns, stream)
    return {
        name: squares[name] * before[name][:, :, None] * after[name][:, None, :] for name in KERNELS
    }


def _block(rows: _Factors, columns: _Factors, stream: _Stream) -> tuple[_Factors, _Factors]:
    """Neighbours inside a block; query and key follow each other, one of them transposed."""
    before = {
        _QUERY: stream.attention_reads,
        _KEY: stream.attention_reads,
        _VALUE: stream.attention_reads,
        _ATTENTION_OUTPUT: columns[_VALUE],
        _INTERMEDIATE: stream.feed_forward_reads,
        _OUTPUT: columns[_INTERMEDIATE],
    }
    after = {
        _QUERY: columns[_KEY],
        _KEY: columns[_QUERY],
        _VALUE: rows[_ATTENTION_OUTPUT],
        _ATTENTION_OUTPUT: stream.attention_writes,
        _INTERMEDIATE: rows[_OUTPUT],
        _OUTPUT: stream.feed_forward_writes,
    }
    return before, after


def _residual_stream(
    rows: _Factors, columns: _Factors, layernorm: Mapping[str, Float[Array, "..."]]
) -> _Stream:
    scales = {name: jnp.square(layernorm[name].astype(jnp.float32)) for name in layernorm}
    readers = rows[_QUERY] + rows[_KEY] + rows[_VALUE]
    nothing = jnp.zeros_like(readers[:1])
    # Before the first block the embeddings are the identity alone; after the last there is no
    # kernel, and its factor is 1 as at the end of the authors' chains.
    entering = jnp.concatenate([scales["embeddings"][None], scales["output"][:-1]])
    written = jnp.concatenate([nothing, columns[_OUTPUT][:-1]])
    leaving = scales["output"][:-1] * (1 + readers[1:])
    return _Stream(
        attention_reads=entering * (1 + written),
        attention_writes=scales["attention"] * (1 + rows[_INTERMEDIATE]),
        feed_forward_reads=scales["attention"] * (1 + columns[_ATTENTION_OUTPUT]),
        feed_forward_writes=jnp.concatenate([leaving, nothing + 1]),
    )


def _chain(rows: _Factors, columns: _Factors) -> tuple[_Factors, _Factors]:
    before = {name: columns[previous] for previous, name in itertools.pairwise(KERNELS)}
    after = {name: rows[following] for name, following in itertools.pairwise(KERNELS)}
    first, last = KERNELS[0], KERNELS[-1]
    before[first] = jnp.concatenate([jnp.ones_like(columns[last][:1]), columns[last][:-1]])
    after[last] = jnp.concatenate([rows[first][1:], jnp.ones_like(rows[first][:1])])
    return before, after
