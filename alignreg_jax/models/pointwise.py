"""What stands between the matrix products: bias, GELU, LayerNorm, each with its own backward pass.

Left to itself autodiff keeps, or computes again and again, every intermediate value; here the
backward pass starts from what a matrix product or a sum left, and from LayerNorm's means. All of it
computes in float32, sums over rows above all: added up in bfloat16, a number stops growing at 256
times an addend.

The barriers say what XLA keeps in memory. One on residuals: nothing that the forward pass computed
from them serves the backward pass, too, and is stored for it. One on a result: what follows reads
that, in its dtype, instead of computing it again for itself.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_vjp
def add_bias(
    inputs: Float[Array, "*rows width"], bias: Float[Array, " width"]
) -> Float[Array, "*rows width"]:
    """`inputs + bias` in the dtype of `inputs`; bias and its gradient are float32."""
    return (inputs.astype(jnp.float32) + broadcast_last_axis(bias, inputs)).astype(inputs.dtype)


def _add_bias_forward(inputs: Array, bias: Array) -> tuple[Array, None]:
    return add_bias(inputs, bias), None


def _add_bias_backward(_: None, pull: Array) -> tuple[Array, Array]:
    return pull, sum_leading_axes(pull.astype(jnp.float32))


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


@jax.custom_vjp
def gelu(
    inputs: Float[Array, "*rows width"], bias: Float[Array, " width"]
) -> Float[Array, "*rows width"]:
    """GELU of `inputs + bias`, exact: x Φ(x) (Hendrycks and Gimpel 2016), as PyTorch computes it.

    Through erf; `jax.nn.gelu` goes through erfc, which is several times the arithmetic, and the
    results differ by less than 1e-6.

    Args:
        inputs: of any floating dtype, which is the result's.
        bias: float32.
    """
    value = inputs.astype(jnp.float32) + broadcast_last_axis(bias, inputs)
    return (value * _normal_cdf(value)).astype(inputs.dtype)


def _normal_cdf(value: Array) -> Array:
    return 0.5 * (1.0 + jax.lax.erf(value * 0.5**0.5))


def _gelu_forward(inputs: Array, bias: Array) -> tuple[Array, tuple[Array, Array]]:
    return gelu(inputs, bias), (inputs, bias)


def _gelu_backward(residuals: tuple[Array, Array], pull: Array) -> tuple[Array, Array]:
    inputs, bias = jax.lax.optimization_barrier(residuals)
    value = inputs.astype(jnp.float32) + broadcast_last_axis(bias, inputs)
    density = jnp.exp(-0.5 * value * value) * (2 * jnp.pi) ** -0.5
    moved = pull.astype(jnp.float32) * (_normal_cdf(value) + value * density)
    moved = jax.lax.optimization_barrier(moved.astype(inputs.dtype))
    return moved, sum_leading_axes(moved.astype(jnp.float32))


gelu.defvjp(_gelu_forward, _gelu_backward)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    inputs: Float[Array, "*rows width"],
    scale: Float[Array, " width"],
    bias: Float[Array, " width"],
    epsilon: float,
) -> Float[Array, "*rows width"]:
    """LayerNorm over the last axis (Ba et al. 2016).

    With the two-pass variance: E[x²] - E[x]² loses digits that PyTorch keeps.

    Args:
        inputs: float32, as all others.
        scale: of the normalised values.
        bias: added to them.
        epsilon: added to the variance.
    """
    return _layer_norm_forward(inputs, scale, bias, epsilon)[0]


def _layer_norm_forward(
    inputs: Array, scale: Array, bias: Array, epsilon: float
) -> tuple[Array, tuple[Array, ...]]:
    mean = jnp.mean(inputs, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(inputs - mean), axis=-1, keepdims=True)
    factor = jax.lax.rsqrt(variance + epsilon)
    normal = (inputs - mean) * factor
    result = normal * broadcast_last_axis(scale, inputs) + broadcast_last_axis(bias, inputs)
    return result, (inputs, mean, factor, scale)


def _layer_norm_backward(
    epsilon: float, residuals: tuple[Array, ...], pull: Array
) -> tuple[Array, Array, Array]:
    del epsilon
    inputs, mean, factor, scale = jax.lax.optimization_barrier(residuals)
    normal = (inputs - mean) * factor
    scaled = pull * broadcast_last_axis(scale, inputs)
    # Less its projections on the constant vector and on the normalised row
    constant = jnp.mean(scaled, axis=-1, keepdims=True)
    along = jnp.mean(scaled * normal, axis=-1, keepdims=True)
    moved = factor * (scaled - constant - normal * along)
    moved = jax.lax.optimization_barrier(moved)
    return moved, sum_leading_axes(pull * normal), sum_leading_axes(pull)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


def broadcast_last_axis(vector: Array, like: Array) -> Array:
    """Reshape a vector so that it broadcasts along the last axis of `like`."""
    return vector.reshape((1,) * (like.ndim - 1) + vector.shape)


def sum_leading_axes(values: Float[Array, "*rows width"]) -> Float[Array, " width"]:
    """Sum over all axes but the last, in two steps: in one, too few columns keep a GPU busy."""
    if values.ndim > 2:
        values = jax.lax.optimization_barrier(jnp.sum(values, axis=-2))
    return jnp.sum(values, axis=range(values.ndim - 1))
