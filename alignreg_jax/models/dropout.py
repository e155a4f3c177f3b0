"""Dropout whose random bits cost a quarter of `jax.random.bernoulli`'s."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def dropout(inputs: Float[Array, "*shape"], rate: float, key: Array) -> Float[Array, "*shape"]:
    """Zero each element with probability `rate` and scale the others to keep the mean.

    One 32-bit random word serves two elements, 16 bits each: generating the words is most of the
    cost. The rate is therefore rounded to a multiple of 2^-16 (0.1 becomes 0.100006) and the scale
    uses the rounded one, so the expectation is exact.

    Args:
        inputs: `[*shape]`.
        rate: probability of zero, in [0, 1).
        key: a typed PRNG key.

    Returns:
        `[*shape]` in the dtype of `inputs`.
    """
    threshold = round(rate * 2**16)
    last = inputs.shape[-1]
    words = jax.random.bits(key, (*inputs.shape[:-1], (last + 1) // 2), jnp.uint32)
    halves = jax.lax.bitcast_convert_type(words, jnp.uint16)  # [..., words, 2]
    halves = halves.reshape(*inputs.shape[:-1], -1)[..., :last]
    scale = 1.0 / (1.0 - threshold / 2**16)
    return jnp.where(halves >= threshold, inputs * jnp.asarray(scale, inputs.dtype), 0)
