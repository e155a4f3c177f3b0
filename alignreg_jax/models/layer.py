"""One transformer encoder layer of explicit sizes, and what it is made of.

The scan over layers of equal sizes and the loop over uneven ones (xlmr.py) both call it. The
arithmetic follows PyTorch's XLM-R: post-LayerNorm with the two-pass variance, exact GELU, dropout
in PyTorch's places.
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from alignreg_jax.models import dropout, fused_attention, fused_norm, pointwise
from alignreg_jax.models.architecture import LayerSizes, XlmrConfig
from alignreg_jax.models.attention import attend
from alignreg_jax.models.elastic import LayerTau, gate, present
from alignreg_jax.models.products import einsum, times

SQUARES, PRODUCTS = "squares", "products"
"""Collections in which a layer leaves, where asked, what its kernels are multiplied by: the squares
of each input, and the products of all with one another, summed over the real pieces of a batch."""

# How weights and context are computed; "xla" and "cudnn" are jax.nn.dot_product_attention's
Attention = Literal["einsum", "xla", "cudnn", "fused"]
Norm = Literal["plain", "fused"]
"""How a half of a layer ends: operation by operation, or in one kernel."""


def leave_inputs(
    module: nn.Module,
    name: str,
    inputs: Float[Array, "batch length units"],
    lengths: Int[Array, " batch"],
) -> None:
    """Leave `SQUARES` or `PRODUCTS` of what a kernel is multiplied by, in float32, where asked."""
    wanted = [each for each in (SQUARES, PRODUCTS) if module.is_mutable_collection(each)]
    if not wanted:
        return
    valid = jnp.arange(inputs.shape[1])[None] < lengths[:, None]
    real = jnp.where(valid[:, :, None], inputs.astype(jnp.float32), 0)
    for each in wanted:
        terms = "blu,blu->u" if each == SQUARES else "blu,blv->uv"
        module.put_variable(each, name, einsum(terms, real, real))


class Dropout(nn.Module):
    """Inverted dropout from the `dropout` stream; without the stream, or at rate 0, identity."""

    rate: float

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        if self.rate == 0.0 or not self.has_rng("dropout"):
            return inputs
        return dropout.dropout(inputs, self.rate, self.make_rng("dropout"))

    def keep(self, shape: tuple[int, ...]) -> tuple[Bool[Array, "..."] | None, float]:
        """What it leaves of an array of that shape, and the scale of that; None: all."""
        if self.rate == 0.0 or not self.has_rng("dropout"):
            return None, 1.0
        return dropout.keep(shape, self.rate, self.make_rng("dropout"))


class LayerNorm(nn.Module):
    """The parameters of LayerNorm, and its application; float32."""

    config: XlmrConfig

    def __call__(self, inputs: Float[Array, "*rows hidden"]) -> Float[Array, "*rows hidden"]:
        return pointwise.layer_norm(inputs, *self.vectors(inputs), self.config.layer_norm_eps)

    def add(
        self, hidden: Float[Array, "*rows hidden"], update: fused_norm.Update, twice: bool
    ) -> tuple[Float[Array, "*rows hidden"], ...]:
        """Of the sum of both, in one kernel; `twice`: in the dtype of products, too."""
        vectors, epsilon = self.vectors(hidden), self.config.layer_norm_eps
        return fused_norm.add_and_normalize(hidden, update, *vectors, epsilon, twice=twice)

    @nn.compact
    def vectors(self, inputs: Array) -> tuple[Float[Array, " hidden"], Float[Array, " hidden"]]:
        """Scale and bias."""
        width = inputs.shape[-1:]
        # Parameters may be host arrays
        scale = jnp.asarray(self.param("scale", nn.initializers.ones, width))
        return scale, jnp.asarray(self.param("bias", nn.initializers.zeros, width))


class Product(nn.Module):
    """A dense layer whose product is computed in `dtype`; its bias is not added yet."""

    width: int
    dtype: Any

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "*rows units"]
    ) -> tuple[Float[Array, "*rows width"], Float[Array, " width"]]:
        shape = (inputs.shape[-1], self.width)
        # A matrix without entries has no fan-in to scale by
        initial = nn.initializers.lecun_normal() if all(shape) else nn.initializers.zeros
        kernel = jnp.asarray(self.param("kernel", initial, shape))
        bias = jnp.asarray(self.param("bias", nn.initializers.zeros, shape[1:]))
        # Cast here, for each product: the gradients of what several of them read add up in float32
        return times(inputs.astype(self.dtype), kernel.astype(self.dtype)), bias


class Dense(Product):
    """A dense layer, and GELU if that is what follows.

    Not nn.Dense: that adds the bias in `dtype`, too, and so sums the bias' gradient over rows with
    too few digits.
    """

    gelu: bool = False

    def __call__(self, inputs: Float[Array, "*rows units"]) -> Float[Array, "*rows width"]:
        product, bias = super().__call__(inputs)
        return (pointwise.gelu if self.gelu else pointwise.add_bias)(product, bias)


def add_and_normalize(
    config: XlmrConfig, dtype: Any, norm: Norm, hidden: Array, inputs: Array, twice: bool
) -> tuple[Float[Array, "batch length hidden"], Float[Array, "batch length hidden"]]:
    """What ends a half of a layer: output projection, dropout, residual and LayerNorm.

    To be called in a module, of which "output" and "layer_norm" become parts. Returns the result
    and, if `twice`, the same for a product to read, where the kernel has rounded it already.
    """
    drop, normalize = Dropout(config.hidden_dropout), LayerNorm(config, name="layer_norm")
    if norm == "fused":
        product, bias = Product(config.hidden_size, dtype, name="output")(inputs)
        update = fused_norm.Update(product, bias, *drop.keep(product.shape))
        found = normalize.add(hidden, update, twice)
        return found[0], found[-1]
    output = Dense(config.hidden_size, dtype, name="output")(inputs)
    result = normalize(hidden + drop(output))
    return result, result


class SelfAttention(nn.Module):
    """Multi-head self-attention, its output projection, residual and LayerNorm.

    Returns what `add_and_normalize` does.

    Without heads the bias of the output projection is all that is added.
    """

    config: XlmrConfig
    sizes: LayerSizes
    dtype: Any
    attention: Attention
    norm: Norm

    @nn.compact
    def __call__(
        self,
        hidden: Float[Array, "batch length hidden"],
        lengths: Int[Array, " batch"],
        heads_present: Bool[Array, "batch 1 heads"] | None = None,
    ) -> tuple[Float[Array, "batch length hidden"], Float[Array, "batch length hidden"]]:
        config = self.config
        heads, head_size, _ = self.sizes

        def project(name: str) -> Float[Array, "batch length heads head_size"]:
            projected = Dense(heads * head_size, self.dtype, name=name)(hidden)
            return projected.reshape(*projected.shape[:2], heads, head_size)

        leave_inputs(self, "hidden", hidden, lengths)
        query, key, value = project("query"), project("key"), project("value")
        # cuDNN's kernel drops no weights: where there is dropout they are computed here
        rate = config.attention_dropout if self.has_rng("dropout") else 0.0
        valid = jnp.arange(hidden.shape[1])[None] < lengths[:, None]
        kept, scale = None, 1.0
        context: Any  # jax.custom_vjp hides the type of what attend returns
        if rate:
            shape = (hidden.shape[0], heads, *2 * hidden.shape[1:2])
            kept, scale = dropout.keep(shape, rate, self.make_rng("dropout"))
        if self.attention == "fused" and heads:
            context = fused_attention.attend(query, key, value, valid, kept, scale)
        elif self.attention == "einsum" or rate or not heads:
            by_head = [jnp.swapaxes(part, 1, 2) for part in (query, key, value)]
            context = jnp.swapaxes(attend(*by_head, valid, kept, scale), 1, 2)
        else:
            # A row of nothing but padding attends to its first position: its result is not used
            context = jax.nn.dot_product_attention(
                query,
                key,
                value,
                key_value_seq_lengths=jnp.maximum(lengths, 1),
                implementation="cudnn" if self.attention == "cudnn" else "xla",
            )
        if heads_present is not None:
            context = gate(context, heads_present)
        context = context.reshape(*hidden.shape[:2], heads * head_size)
        leave_inputs(self, "context", context, lengths)
        return add_and_normalize(config, self.dtype, self.norm, hidden, context, twice=True)


class EncoderLayer(nn.Module):
    """One transformer layer. Without feed-forward units their output bias is all that is added.

    Both LayerNorms stay in any case, but for a layer that is not there for a row at its size: that
    one hands on what entered it. With thresholds `tau` every row has a size.
    """

    config: XlmrConfig
    sizes: LayerSizes
    dtype: Any
    attention: Attention = "einsum"
    norm: Norm = "plain"

    @nn.compact
    def __call__(
        self,
        hidden: Float[Array, "batch length hidden"],
        lengths: Int[Array, " batch"],
        tau: LayerTau | None = None,
        sizes: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch length hidden"]:
        config, before = self.config, hidden
        masks = {} if tau is None or sizes is None else present(tau, sizes)
        options = self.dtype, self.attention, self.norm
        attention = SelfAttention(config, self.sizes, *options, name="attention")
        hidden, read = attention(hidden, lengths, masks.get("heads"))
        leave_inputs(self, "hidden", hidden, lengths)
        inner = Dense(self.sizes.ffn, self.dtype, gelu=True, name="intermediate")(read)
        if "ffn" in masks:
            inner = gate(inner, masks["ffn"])
        leave_inputs(self, "inner", inner, lengths)
        hidden, _ = add_and_normalize(config, self.dtype, self.norm, hidden, inner, twice=False)
        if "layers" in masks:
            hidden = jnp.where(masks["layers"][..., None], hidden, before)
        return hidden
