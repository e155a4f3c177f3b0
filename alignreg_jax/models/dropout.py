"""Dropout by 16 random bits for an element, of which `jax.random.bernoulli` takes 32."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt16, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def dropout(inputs: Float[Array, "*shape"], rate: float, key: Array) -> Float[Array, "*shape"]:
    """Zero each element with probability `rate` and scale the others to keep the mean.

    Elements have 16 random bits each: generating bits is most of the cost. The rate is therefore
    rounded to a multiple of 2^-16 (0.1 becomes 0.100006) and the scale uses the rounded one, so the
    expectation is exact.

    Args:
        inputs: `[*shape]`.
        rate: probability of zero, in [0, 1).
        key: a typed PRNG key (threefry).

    Returns:
        `[*shape]` in the dtype of `inputs`.
    """
    kept, scale = keep(inputs.shape, rate, key)
    # Scaled in float32: rounded to bfloat16 the scale itself would be 0.2 % off
    return jnp.where(kept, inputs.astype(jnp.float32) * scale, 0.0).astype(inputs.dtype)


def keep(shape: tuple[int, ...], rate: float, key: Array) -> tuple[Bool[Array, "..."], float]:
    """What dropout leaves of an array of that shape, and the scale of what it leaves."""
    threshold = round(rate * 2**16)
    return random_bits(key, shape) >= threshold, 1.0 / (1.0 - threshold / 2**16)


def random_bits(key: Array, shape: tuple[int, ...]) -> UInt16[Array, "..."]:
    """16 random bits for every element, the same numbers on any mesh and any platform.

    One threefry block gives 64 bits and serves four elements; `jax.random.bits` keeps 32 of them.
    The counter is an element's position, so every device computes its own part and no other.
    """
    if math.prod((*shape[:-1], math.ceil(shape[-1] / 4))) >= 2**32:
        raise ValueError(f"an array of shape {shape} has too many elements for dropout")
    return jax.lax.platform_dependent(
        jax.random.key_data(key),
        cpu=partial(_block_of_each, shape=shape),
        default=partial(_four_of_each_block, shape=shape),
    )


def _four_of_each_block(key: UInt32[Array, "2"], shape: tuple[int, ...]) -> UInt16[Array, "..."]:
    """Blocks are computed once, and the four parts of each are laid side by side."""
    *leading, last = shape
    blocks = (*leading, math.ceil(last / 4))
    words = _threefry(key, _positions(blocks))
    halves = jax.lax.bitcast_convert_type(jnp.stack(words, axis=-1), jnp.uint16)
    return halves.reshape(*leading, 4 * blocks[-1])[..., :last]


def _block_of_each(key: UInt32[Array, "2"], shape: tuple[int, ...]) -> UInt16[Array, "..."]:
    """The same bits; each element computes its block by itself and takes its part.

    Four times the arithmetic, and faster: in the loop over layers XLA's compiler for CPUs has
    vector instructions for this form and none for the other.
    """
    *leading, last = shape
    column = jax.lax.broadcasted_iota(jnp.uint32, shape, len(leading))
    row = _positions((*leading, 1))
    one, other = _threefry(key, row * jnp.uint32(math.ceil(last / 4)) + (column >> 2))
    word = jnp.where(column & 2 == 0, one, other)
    return jnp.where(column & 1 == 0, word, word >> 16).astype(jnp.uint16)


def _positions(shape: tuple[int, ...]) -> UInt32[Array, "*shape"]:
    """Every element's number, counted along the last axis first."""
    strides = (math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    position = jnp.zeros(shape, jnp.uint32)
    for axis, stride in enumerate(strides):
        position += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride)
    return position


def _threefry(
    key: UInt32[Array, "2"], counter: UInt32[Array, "*blocks"]
) -> tuple[UInt32[Array, "*blocks"], UInt32[Array, "*blocks"]]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011), bit for bit JAX's threefry2x32_p.

    The counter is the second word of what is encrypted; the first is 0.

    Written out: on a CPU the primitive becomes a loop of many small kernels, and a training step of
    the demo takes a fifth longer to compile.
    """
    one, other = key  # fails for keys of another generator
    keys = (one, other, one ^ other ^ jnp.uint32(0x1BD11BDA))
    first, second = jnp.broadcast_to(keys[0], counter.shape), counter + keys[1]
    for turn in range(5):
        for rotation in _ROTATIONS[turn % 2]:
            first = first + second
            second = second << jnp.uint32(rotation) | second >> jnp.uint32(32 - rotation)
            second = first ^ second
        first = first + keys[(turn + 1) % 3]
        second = second + keys[(turn + 2) % 3] + jnp.uint32(turn + 1)
    return first, second
