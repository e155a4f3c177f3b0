"""XLM-RoBERTa in Flax: encoder and classification heads, layers stacked along a leading axis.

The one file that imports `flax.linen`. Everything outside sees plain nested dicts of parameters:

    embeddings/{word,position,token_type}/embedding, embeddings/layer_norm/{scale,bias}
    encoder/attention/{query,key,value,output}/{kernel,bias}, encoder/attention/layer_norm/...
    encoder/{intermediate,output}/{kernel,bias}, encoder/layer_norm/{scale,bias}
    head/dense/{kernel,bias}, head/out/{kernel,bias}

Encoder leaves carry a leading `[layers]` axis, kernels are `[layers, in, out]`. The arithmetic
follows PyTorch's XLM-R: post-LayerNorm with the two-pass variance, exact GELU, positions counted
from padding, dropout in PyTorch's places.

In bfloat16 the matrix products are, as under PyTorch's autocast; what enters and leaves LayerNorm
(the residual stream) and every sum over rows is float32. docs/performance.md has what that gains
and costs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Int

from alignreg_jax.models import dropout, pointwise
from alignreg_jax.models.attention import attend, precision

Params = Mapping[str, Any]
Head = Literal["dense-tanh-out", "linear", "token"]
# How weights and context are computed; the latter two are those of jax.nn.dot_product_attention
Attention = Literal["einsum", "xla", "cudnn"]


@dataclass(frozen=True)
class XlmrConfig:
    """The architecture, as a config.json of model_type xlm-roberta states it.

    `max_positions` counts the rows of the position table (514 in XLM-R base), of which the first
    `pad_token_id + 1` never serve a token.
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_positions: int
    type_vocab_size: int = 1
    layer_norm_eps: float = 1e-5
    pad_token_id: int = 1
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    classifier_dropout: float | None = None  # None: as hidden_dropout

    @property
    def max_length(self) -> int:
        """Longest input in pieces, specials included."""
        return self.max_positions - self.pad_token_id - 1


@dataclass(frozen=True)
class Pins:
    """Where the forward pass holds its activations on a mesh; nowhere by default.

    Left alone, XLA follows the axis that the kernels are stored over, and every device computes
    the whole batch.

    Attributes:
        lookup: of the word embeddings, as the sharded table gives them.
        hidden: of the hidden states between layers.
    """

    lookup: NamedSharding | None = None
    hidden: NamedSharding | None = None


def pin(array: Array, where: NamedSharding | None) -> Array:
    """Constrain an array to a sharding, if there is one."""
    return array if where is None else jax.lax.with_sharding_constraint(array, where)


class Dropout(nn.Module):
    """Inverted dropout from the `dropout` stream; without the stream, or at rate 0, identity."""

    rate: float

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        if self.rate == 0.0 or not self.has_rng("dropout"):
            return inputs
        return dropout.dropout(inputs, self.rate, self.make_rng("dropout"))


class LayerNorm(nn.Module):
    """The parameters of LayerNorm, and its application; float32."""

    config: XlmrConfig

    @nn.compact
    def __call__(self, inputs: Float[Array, "*rows hidden"]) -> Float[Array, "*rows hidden"]:
        width = inputs.shape[-1:]
        # Parameters may be host arrays
        scale = jnp.asarray(self.param("scale", nn.initializers.ones, width))
        bias = jnp.asarray(self.param("bias", nn.initializers.zeros, width))
        return pointwise.layer_norm(inputs, scale, bias, self.config.layer_norm_eps)


class Dense(nn.Module):
    """A dense layer whose product is computed in `dtype`, and GELU if that is what follows.

    Not nn.Dense: that adds the bias in `dtype`, too, and so sums the bias' gradient over rows with
    too few digits.
    """

    width: int
    dtype: Any
    gelu: bool = False

    @nn.compact
    def __call__(self, inputs: Float[Array, "*rows units"]) -> Float[Array, "*rows width"]:
        shape = (inputs.shape[-1], self.width)
        kernel = jnp.asarray(self.param("kernel", nn.initializers.lecun_normal(), shape))
        bias = jnp.asarray(self.param("bias", nn.initializers.zeros, shape[1:]))
        # Cast here, for each product: the gradients of what several of them read add up in float32
        product = jnp.matmul(
            inputs.astype(self.dtype), kernel.astype(self.dtype), precision=precision(self.dtype)
        )
        return (pointwise.gelu if self.gelu else pointwise.add_bias)(product, bias)


class Embeddings(nn.Module):
    """Word, position and type embeddings, summed, normalised, dropped."""

    config: XlmrConfig
    pins: Pins

    @nn.compact
    def __call__(self, ids: Int[Array, "batch length"]) -> Float[Array, "batch length hidden"]:
        config = self.config

        # In float32 whatever the model computes in: looked up narrower, the whole table would be
        # cast in every step, and the gradient of a frequent piece summed with too few digits
        def table(rows: int, name: str) -> nn.Embed:
            return nn.Embed(rows, config.hidden_size, name=name)

        # By the id, whatever the mask says: so PyTorch counts positions, and so it keeps padding's
        # own rows of both tables from being trained. A text can contain "<pad>".
        counted = ids != config.pad_token_id

        def trained(rows: Array) -> Array:
            return jnp.where(counted[..., None], rows, jax.lax.stop_gradient(rows))

        positions = jnp.cumsum(counted, axis=1, dtype=jnp.int32) * counted + config.pad_token_id
        hidden = pin(table(config.vocab_size, "word")(ids), self.pins.lookup)
        hidden = trained(pin(hidden, self.pins.hidden))
        hidden = hidden + table(config.type_vocab_size, "token_type")(jnp.zeros_like(ids))
        hidden = hidden + trained(table(config.max_positions, "position")(positions))
        hidden = LayerNorm(config, name="layer_norm")(hidden)
        return Dropout(config.hidden_dropout)(hidden)


class SelfAttention(nn.Module):
    """Multi-head self-attention, its output projection, residual and LayerNorm."""

    config: XlmrConfig
    dtype: Any
    attention: Attention

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "batch length hidden"], lengths: Int[Array, " batch"]
    ) -> Float[Array, "batch length hidden"]:
        config = self.config
        heads = config.num_heads
        head_size = config.hidden_size // heads

        def project(name: str) -> Float[Array, "batch length heads head_size"]:
            projected = Dense(config.hidden_size, self.dtype, name=name)(hidden)
            return projected.reshape(*projected.shape[:2], heads, head_size)

        query, key, value = project("query"), project("key"), project("value")
        # No fused kernel draws dropout on the weights: where it is on they are computed here
        rate = config.attention_dropout if self.has_rng("dropout") else 0.0
        if self.attention == "einsum" or rate:
            by_head = [jnp.swapaxes(part, 1, 2) for part in (query, key, value)]
            kept, scale = None, 1.0
            if rate:
                shape = (*by_head[0].shape[:3], hidden.shape[1])
                kept, scale = dropout.keep(shape, rate, self.make_rng("dropout"))
            valid = jnp.arange(hidden.shape[1])[None] < lengths[:, None]
            context = jnp.swapaxes(attend(*by_head, valid, kept, scale), 1, 2)
        else:
            # A row of nothing but padding attends to its first position: its result is not used
            context = jax.nn.dot_product_attention(
                query,
                key,
                value,
                key_value_seq_lengths=jnp.maximum(lengths, 1),
                implementation=self.attention,
            )
        context = context.reshape(hidden.shape)
        output = Dense(config.hidden_size, self.dtype, name="output")(context)
        output = Dropout(config.hidden_dropout)(output)
        return LayerNorm(config, name="layer_norm")(hidden + output)


class EncoderLayer(nn.Module):
    """One transformer layer; the scan over layers and an unrolled runtime both call it."""

    config: XlmrConfig
    dtype: Any
    attention: Attention = "einsum"

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "batch length hidden"], lengths: Int[Array, " batch"]
    ) -> Float[Array, "batch length hidden"]:
        config = self.config
        attention = SelfAttention(config, self.dtype, self.attention, name="attention")
        hidden = attention(hidden, lengths)
        inner = Dense(config.intermediate_size, self.dtype, gelu=True, name="intermediate")(hidden)
        output = Dense(config.hidden_size, self.dtype, name="output")(inner)
        output = Dropout(config.hidden_dropout)(output)
        return LayerNorm(config, name="layer_norm")(hidden + output)


class ClassificationHead(nn.Module):
    """Classifier: dropout, dense, tanh, dropout, out; or dropout, out.

    On the first token, which stands for the row; kind "token" is the shorter form on every token.
    """

    config: XlmrConfig
    kind: Head
    num_labels: int

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "batch length hidden"]
    ) -> Float[Array, "batch *length labels"]:
        config = self.config
        rate = config.classifier_dropout
        drop = Dropout(config.hidden_dropout if rate is None else rate)
        chosen = hidden if self.kind == "token" else hidden[:, 0]
        features = drop(chosen)  # float32, as logits are
        if self.kind == "dense-tanh-out":
            inner = Dense(config.hidden_size, jnp.float32, name="dense")(features)
            features = drop(jnp.tanh(inner))
        return Dense(self.num_labels, jnp.float32, name="out")(features)


class XlmrModel(nn.Module):
    """Encoder and head; call `logits` or `hidden_states` below rather than `apply`."""

    config: XlmrConfig
    head: Head
    num_labels: int
    dtype: Any = jnp.float32
    remat: bool = False
    unroll: int = 1  # layers in one iteration of the scan: more to compile, less to copy
    attention: Attention = "einsum"
    pins: Pins = Pins()

    def setup(self):
        self.embeddings = Embeddings(self.config, self.pins)
        layer, whole = EncoderLayer, self.unroll >= self.config.num_layers
        if self.remat or not whole:
            # Keep what matrix products give for the backward pass and compute the rest again:
            # softmax, GELU and LayerNorm cost less than stacking their results over the layers.
            # Remat: keep nothing. Where XLA sees all layers at once it has to be kept from finding
            # that it knows everything already (prevent_cse).
            policy = None if self.remat else jax.checkpoint_policies.dots_saveable
            layer = nn.remat(layer, prevent_cse=whole, policy=policy)

        def body(module: nn.Module, hidden: Array, lengths: Array) -> tuple[Array, Array]:
            hidden = pin(module(hidden, lengths), self.pins.hidden)
            return hidden, hidden

        # A transform of the layer itself, so that its parameters are stacked under "encoder"
        self.encoder = layer(self.config, self.dtype, self.attention)
        self.scan_layers = nn.scan(
            body,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=nn.broadcast,  # pyright: ignore[reportArgumentType]
            length=self.config.num_layers,
            unroll=self.unroll,
        )
        self.head_module = ClassificationHead(self.config, self.head, self.num_labels, name="head")

    def encode(self, ids: Array, lengths: Array) -> tuple[Array, Array, Array]:
        """Embedding output, every layer's output stacked, and the last one."""
        embedded = pin(self.embeddings(ids), self.pins.hidden)
        last, layers = self.scan_layers(self.encoder, embedded, lengths)
        return embedded, layers, last

    def __call__(self, ids: Array, lengths: Array) -> Array:
        return self.head_module(self.encode(ids, lengths)[2])


def unrolled(platform: str, layers: int) -> int:
    """Layers in an iteration of the loop over them where the user does not say.

    Out of a loop XLA need not stack what the backward pass wants of every layer: on a GPU that is
    a quarter of the step. It takes longer to compile, which a run on a CPU seldom earns back.
    """
    return layers if platform == "gpu" else 1


def logits(
    model: XlmrModel,
    params: Params,
    ids: Int[Array, "batch length"],
    lengths: Int[Array, " batch"],
    dropout_key: Array | None = None,
) -> Float[Array, "batch *length labels"]:
    """Logits of rows, or with a token head of tokens, in float32; a key turns dropout on.

    Args:
        model: the network.
        params: its parameters.
        ids: pieces, from `lengths` on `pad_token_id`.
        lengths: pieces of each row. What comes after is not attended to; a padding id before it
            is, because the text itself can contain `<pad>`. 0: a row that only fills up a batch.
        dropout_key: None: no dropout.
    """
    rngs = None if dropout_key is None else {"dropout": dropout_key}
    found: Any = model.apply({"params": params}, ids, lengths, rngs=rngs)
    return found


def hidden_states(
    model: XlmrModel,
    params: Params,
    ids: Int[Array, "batch length"],
    lengths: Int[Array, " batch"],
) -> Float[Array, "outputs batch length hidden"]:
    """Embedding output and every layer's, `[layers + 1, batch, length, hidden]`, no dropout."""
    outputs: Any = model.apply({"params": params}, ids, lengths, method="encode")
    embedded, layers, _ = outputs
    return jnp.concatenate([embedded[None], layers])


def init_params(model: XlmrModel, key: Array) -> Params:
    """Random parameters in this module's own tree; its shapes are checkpoints.py's contract."""
    ids = jnp.zeros((1, 2), jnp.int32)
    return model.init(key, ids, jnp.array([2]))["params"]
