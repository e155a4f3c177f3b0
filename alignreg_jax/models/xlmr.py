"""XLM-RoBERTa in Flax: embeddings, encoder and classification heads.

This file and layer.py alone import `flax.linen`. Everything outside sees plain nested dicts of
parameters:

    embeddings/{word,position,token_type}/embedding, embeddings/layer_norm/{scale,bias}
    encoder/attention/{query,key,value,output}/{kernel,bias}, encoder/attention/layer_norm/...
    encoder/{intermediate,output}/{kernel,bias}, encoder/layer_norm/{scale,bias}
    head/dense/{kernel,bias}, head/layer_norm/{scale,bias}, head/out/{kernel,bias}

Encoder leaves carry a leading `[layers]` axis, kernels are `[layers, in, out]`. Layers of uneven
sizes cannot be stacked: each has a subtree of its own, `encoder/0/attention/query/kernel` and so
on, with the leaves of one layer. Masks and pruning know the stacked form only.
Positions are counted from padding, as PyTorch does.

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

from alignreg_jax.models.architecture import XlmrConfig
from alignreg_jax.models.elastic import Elastic, as_arrays
from alignreg_jax.models.layer import (
    PRODUCTS,
    SQUARES,
    Attention,
    Dense,
    Dropout,
    EncoderLayer,
    LayerNorm,
    Norm,
)
from alignreg_jax.models.products import PRODUCT
from alignreg_jax.models.slicing import check_sizes

Params = Mapping[str, Any]
Head = Literal["dense-tanh-out", "linear", "token", "label-words"]


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

        # By the id, whatever the mask says: so PyTorch counts XLM-R's positions, and so it keeps
        # padding's own rows of both tables from being trained. A text can contain "<pad>".
        counted = ids != config.pad_token_id

        def trained(rows: Array) -> Array:
            return jnp.where(counted[..., None], rows, jax.lax.stop_gradient(rows))

        if config.family == "bert":
            places = jnp.arange(ids.shape[1]) + config.unused_positions
            positions = jnp.broadcast_to(places, ids.shape)
        else:
            seen = jnp.cumsum(counted, axis=1, dtype=jnp.int32)
            positions = seen * counted + config.pad_token_id
        hidden = pin(table(config.vocab_size, "word")(ids), self.pins.lookup)
        hidden = trained(pin(hidden, self.pins.hidden))
        hidden = hidden + table(config.type_vocab_size, "token_type")(jnp.zeros_like(ids))
        hidden = hidden + trained(table(config.max_positions, "position")(positions))
        hidden = LayerNorm(config, name="layer_norm")(hidden)
        return Dropout(config.hidden_dropout)(hidden)


class ClassificationHead(nn.Module):
    """Classifier: dropout, dense, tanh, dropout, out; or dropout, out.

    On the first token, which stands for the row; kind "token" is the shorter form on every token.
    Kind "label-words" is the language model's head, dense, GELU, LayerNorm, out, where the columns
    of `out` are the words of the labels. As in pretraining nothing is dropped there.
    """

    config: XlmrConfig
    kind: Head
    num_labels: int

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "batch length hidden"]
    ) -> Float[Array, "batch *length labels"]:
        config = self.config
        if self.kind == "label-words":
            inner = Dense(config.hidden_size, jnp.float32, gelu=True, name="dense")(hidden[:, 0])
            features = LayerNorm(config, name="layer_norm")(inner)
            return Dense(self.num_labels, jnp.float32, name="out")(features)
        rate = config.classifier_dropout
        drop = Dropout(config.hidden_dropout if rate is None else rate)
        chosen = hidden if self.kind == "token" else hidden[:, 0]
        features = drop(chosen)  # float32, as logits are
        if self.kind == "dense-tanh-out":
            inner = Dense(config.hidden_size, jnp.float32, name="dense")(features)
            features = drop(jnp.tanh(inner))
        return Dense(self.num_labels, jnp.float32, name="out")(features)


class LayerLoop(nn.Module):
    """Layers one after the other, each of its own sizes, with parameters under "0", "1", ..."""

    config: XlmrConfig
    dtype: Any
    attention: Attention
    norm: Norm
    remat: bool
    pins: Pins

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "batch length hidden"], lengths: Int[Array, " batch"]
    ) -> tuple[Float[Array, "batch length hidden"], Float[Array, "layers batch length hidden"]]:
        layer, outputs = nn.remat(EncoderLayer) if self.remat else EncoderLayer, []
        options = self.dtype, self.attention, self.norm
        for index, sizes in enumerate(self.config.layers):
            module = layer(self.config, sizes, *options, name=str(index))
            hidden = pin(module(hidden, lengths), self.pins.hidden)
            outputs.append(hidden)
        return hidden, jnp.stack(outputs)


class XlmrModel(nn.Module):
    """Encoder and head; call `logits` or `hidden_states` below rather than `apply`.

    Layers of equal sizes are scanned. Uneven ones are a loop, to which `unroll` means nothing.
    """

    config: XlmrConfig
    head: Head
    num_labels: int
    dtype: Any = jnp.float32
    remat: bool = False
    unroll: int = 1  # layers in one iteration of the scan: more to compile, less to copy
    attention: Attention = "einsum"
    norm: Norm = "plain"
    pins: Pins = Pins()

    def setup(self):
        self.embeddings = Embeddings(self.config, self.pins)
        self.head_module = ClassificationHead(self.config, self.head, self.num_labels, name="head")
        options = self.dtype, self.attention, self.norm
        if not self.config.stacked:
            self.encoder = LayerLoop(self.config, *options, self.remat, self.pins)
            return
        layer, whole = EncoderLayer, self.unroll >= self.config.num_layers
        if self.remat or not whole:
            # Keep what matrix products give for the backward pass and compute the rest again:
            # softmax, GELU and LayerNorm cost less than stacking their results over the layers.
            # Remat: keep nothing. Where XLA sees all layers at once it has to be kept from finding
            # that it knows everything already (prevent_cse).
            kept = jax.checkpoint_policies.save_only_these_names(PRODUCT)
            policy = None if self.remat else kept
            layer = nn.remat(layer, prevent_cse=whole, policy=policy)

        def body(
            module: nn.Module, hidden: Array, lengths: Array, tau: Any, sizes: Any
        ) -> tuple[Array, Array]:
            hidden = pin(module(hidden, lengths, tau, sizes), self.pins.hidden)
            return hidden, hidden

        # A transform of the layer itself, so that its parameters are stacked under "encoder"
        self.encoder = layer(self.config, self.config.layers[0], *options)
        self.scan_layers = nn.scan(
            body,
            variable_axes={"params": 0, SQUARES: 0, PRODUCTS: 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(nn.broadcast, 0, nn.broadcast),  # pyright: ignore[reportArgumentType]
            length=self.config.num_layers,
            unroll=self.unroll,
        )

    def encode(
        self, ids: Array, lengths: Array, elastic: Elastic | None = None
    ) -> tuple[Array, Array, Array]:
        """Embedding output, every layer's output stacked, and the last one."""
        embedded = pin(self.embeddings(ids), self.pins.hidden)
        if self.config.stacked:
            tau, sizes = elastic or (None, None)
            last, layers = self.scan_layers(self.encoder, embedded, lengths, tau, sizes)
        else:
            last, layers = self.encoder(embedded, lengths)
        return embedded, layers, last

    def __call__(self, ids: Array, lengths: Array, elastic: Elastic | None = None) -> Array:
        return self.head_module(self.encode(ids, lengths, elastic)[2])

    def classify(
        self, ids: Array, lengths: Array, elastic: Elastic | None = None
    ) -> tuple[Array, Array]:
        """Logits, and embedding output and every layer's stacked."""
        embedded, layers, last = self.encode(ids, lengths, elastic)
        return self.head_module(last), jnp.concatenate([embedded[None], layers])


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
    elastic: Elastic | None = None,
) -> Float[Array, "batch *length labels"]:
    """Logits of rows, or with a token head of tokens, in float32; a key turns dropout on.

    Args:
        model: the network.
        params: its parameters.
        ids: pieces, from `lengths` on `pad_token_id`.
        lengths: pieces of each row. What comes after is not attended to; a padding id before it
            is, because the text itself can contain `<pad>`. 0: a row that only fills up a batch.
        dropout_key: None: no dropout.
        elastic: `(tau, sizes)`, where rows have sizes of their own: a unit is there for a row if
            its threshold is at most the row's size (one training for all sizes: Hou et al. 2020,
            Li et al. 2022). All of it is traced, so one program serves every size. At size 1 the
            logits are those of the plain model to the last bit. None: the plain model.

    Raises:
        ValueError: parameters or thresholds that do not fit the architecture.
    """
    return _apply(model, params, ids, lengths, dropout_key, elastic)


def logits_and_states(
    model: XlmrModel,
    params: Params,
    ids: Int[Array, "batch length"],
    lengths: Int[Array, " batch"],
    dropout_key: Array | None = None,
    elastic: Elastic | None = None,
) -> tuple[Float[Array, "batch *length labels"], Float[Array, "outputs batch length hidden"]]:
    """As `logits`, and the hidden states that led to them, as `hidden_states` gives them."""
    return _apply(model, params, ids, lengths, dropout_key, elastic, "classify")


def hidden_states(
    model: XlmrModel,
    params: Params,
    ids: Int[Array, "batch length"],
    lengths: Int[Array, " batch"],
    elastic: Elastic | None = None,
) -> Float[Array, "outputs batch length hidden"]:
    """Embedding output and every layer's, `[layers + 1, batch, length, hidden]`, no dropout."""
    embedded, layers, _ = _apply(model, params, ids, lengths, elastic=elastic, method="encode")
    return jnp.concatenate([embedded[None], layers])


def input_products(
    model: XlmrModel,
    params: Params,
    ids: Int[Array, "batch length"],
    lengths: Int[Array, " batch"],
    *,
    squares: bool,
) -> dict[str, Float[Array, "layers inputs ..."]]:
    """Products of what every prunable kernel is multiplied by, summed over the rows' real pieces.

    By the kernel's name, float32, no dropout: XᵀX `[layers, in, in]`, or with `squares` its
    diagonal `[layers, in]` alone. The layers have to be of equal sizes.
    """
    wanted = SQUARES if squares else PRODUCTS
    _, left = model.apply({"params": params}, ids, lengths, method="encode", mutable=[wanted])
    encoder: Any = left[wanted]["encoder"]
    attention, hidden = encoder["attention"], encoder["attention"]["hidden"]
    return {
        **dict.fromkeys(("attention/query", "attention/key", "attention/value"), hidden),
        "attention/output": attention["context"],
        "intermediate": encoder["hidden"],
        "output": encoder["inner"],
    }


def _apply(
    model: XlmrModel,
    params: Params,
    ids: Array,
    lengths: Array,
    dropout_key: Array | None = None,
    elastic: Elastic | None = None,
    method: str | None = None,
) -> Any:
    check_sizes(params["encoder"], model.config)
    given = () if elastic is None else (as_arrays(elastic, model.config, ids.shape[0]),)
    rngs = None if dropout_key is None else {"dropout": dropout_key}
    return model.apply({"params": params}, ids, lengths, *given, rngs=rngs, method=method)


def init_params(model: XlmrModel, key: Array) -> Params:
    """Random parameters in this module's own tree; its shapes are checkpoints.py's contract."""
    ids = jnp.zeros((1, 2), jnp.int32)
    return model.init(key, ids, jnp.array([2]))["params"]
