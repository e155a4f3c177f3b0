"""What ends both halves of a layer in one kernel: bias, dropout, residual, LayerNorm (Triton).

The same function as the plain form in layer.py, which is what tests compare with. The forward pass
reads the product and the residual stream once and writes their sum and its normalisation; the
backward pass reads the sum once. Which units are dropped is drawn outside, as elsewhere, so that
masks do not depend on the kernel and a run resumes bitwise.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Bool, Float

from alignreg_jax.models.attention import why_no_kernel_of_ours

WIDEST = 4096
_ELEMENTS = 4096  # of a block of rows: what the registers of eight warps hold several of
_PULLED = 2048  # in the backward pass, which has three sums beside it
_PROGRAMS = 512  # of the backward pass at most: a few for every processor of a GPU


class Update(NamedTuple):
    """What a layer's half adds to the residual stream.

    Attributes:
        product: of its last matrix, in the dtype of products.
        bias: of that matrix; float32.
        kept: what dropout leaves; None: all.
        scale: of what it leaves.
    """

    product: Float[Array, "*rows width"]
    bias: Float[Array, " width"]
    kept: Bool[Array, "*rows width"] | None
    scale: float


def why_not_fused(width: int, devices: Any) -> str | None:
    """The reason why the kernel cannot be used, or None if it can."""
    if trouble := why_no_kernel_of_ours(devices):
        return trouble
    if width > WIDEST:
        return f"takes encoders of at most {WIDEST} hidden units; this one has {width}"
    return None


def add_and_normalize(
    hidden: Float[Array, "*rows width"],
    update: Update,
    scale: Float[Array, " width"],
    shift: Float[Array, " width"],
    epsilon: float,
    *,
    twice: bool = False,
    interpret: bool = False,
) -> tuple[Float[Array, "*rows width"], ...]:
    """LayerNorm of the residual stream and what is added to it (Ba et al. 2016).

    Args:
        hidden: the residual stream; float32.
        update: what is added.
        scale: of the normalised values.
        shift: added to them.
        epsilon: added to the variance.
        twice: give the result in the dtype of products, too, for one that reads it.
        interpret: run the kernels as plain JAX, for tests on a CPU.

    Returns:
        The result in float32, and in the other dtype if asked.
    """
    flat = [each.reshape(-1, hidden.shape[-1]) for each in (hidden, update.product)]
    kept = None
    if update.kept is not None:
        kept = update.kept.reshape(flat[0].shape).astype(jnp.int8)
    how = _How(update.scale, epsilon, update.product.dtype, twice, interpret)
    found: Any = _normalize(*flat, update.bias, kept, scale, shift, how)
    return tuple(each.reshape(hidden.shape) for each in found)


class _How(NamedTuple):
    """What of the arguments is known when it is compiled."""

    left: float
    epsilon: float
    dtype: Any  # of the product
    twice: bool
    interpret: bool


@partial(jax.custom_vjp, nondiff_argnums=(6,))
def _normalize(
    hidden: Float[Array, "rows width"],
    product: Float[Array, "rows width"],
    bias: Float[Array, " width"],
    kept: Array | None,
    scale: Float[Array, " width"],
    shift: Float[Array, " width"],
    how: _How,
) -> tuple[Float[Array, "rows width"], ...]:
    return _forward(hidden, product, bias, kept, scale, shift, how)[0]


def _forward(
    hidden: Array,
    product: Array,
    bias: Array,
    kept: Array | None,
    scale: Array,
    shift: Array,
    how: _How,
) -> tuple[tuple[Array, ...], tuple[Array | None, ...]]:
    rows, width = hidden.shape
    block, whole = _block(width, _ELEMENTS)
    part, number = (
        pl.BlockSpec((block, whole), lambda i: (i, 0)),
        pl.BlockSpec((block,), lambda i: (i,)),
    )
    vector = pl.BlockSpec((whole,), lambda i: (0,))
    masks = [] if kept is None else [kept]
    kinds = [jnp.float32, *([how.dtype] if how.twice else [])]
    total, mean, factor, *found = pl.pallas_call(
        partial(_sum_and_normalize, masks=len(masks), shape=(rows, width), how=how),
        out_shape=[
            jax.ShapeDtypeStruct((rows, width), jnp.float32),
            *[jax.ShapeDtypeStruct((rows,), jnp.float32)] * 2,
            *[jax.ShapeDtypeStruct((rows, width), kind) for kind in kinds],
        ],
        grid=(pl.cdiv(rows, block),),
        in_specs=[part, part, vector, vector, vector, *[part] * len(masks)],
        out_specs=[part, number, number, *[part] * len(kinds)],
        **_options(whole, how),
    )(hidden, product, bias, scale, shift, *masks)
    return tuple(found), (total, mean, factor, kept, scale)


def _backward(
    how: _How, residuals: tuple[Array | None, ...], pulls: tuple[Array, ...]
) -> tuple[Array | None, ...]:
    total, mean, factor, kept, scale = residuals
    assert total is not None
    rows, width = total.shape
    block, whole = _block(width, _PULLED)
    programs = min(_PROGRAMS, pl.cdiv(rows, block))
    turns = pl.cdiv(rows, block * programs)
    every = pl.BlockSpec((programs * turns * block, whole), lambda i: (0, 0))
    numbers = pl.BlockSpec((programs * turns * block,), lambda i: (0,))
    vector, sums = (
        pl.BlockSpec((whole,), lambda i: (0,)),
        pl.BlockSpec((None, whole), lambda i: (i, 0)),
    )
    masks = [] if kept is None else [kept]
    of_hidden, of_product, *found = pl.pallas_call(
        partial(_pull, masks=len(masks), shape=(rows, width), block=block, turns=turns, how=how),
        out_shape=[
            *[jax.ShapeDtypeStruct(total.shape, kind) for kind in (jnp.float32, how.dtype)],
            *[jax.ShapeDtypeStruct((programs, width), jnp.float32)] * 3,
        ],
        grid=(programs,),
        in_specs=[every, numbers, numbers, vector, *[every] * (len(masks) + len(pulls))],
        out_specs=[every, every, *[sums] * 3],
        **_options(whole, how),
    )(total, mean, factor, scale, *masks, *pulls)
    of_bias, of_scale, of_shift = (jnp.sum(each, axis=0) for each in found)
    return of_hidden, of_product, of_bias, None, of_scale, of_shift


_normalize.defvjp(_forward, _backward)


def _block(width: int, elements: int) -> tuple[int, int]:
    """Rows of a block, and its columns: Triton's arrays have powers of 2 as sizes."""
    whole = pl.next_power_of_2(width)
    return max(1, elements // whole), whole


def _options(whole: int, how: _How) -> dict[str, Any]:
    params = triton.CompilerParams(num_warps=4 if whole < 1024 else 8, num_stages=1)
    return {"interpret": how.interpret, "compiler_params": params}


def _row(ref: Any, width: int) -> Array:
    """A vector as a row, 0 behind its end."""
    columns = jnp.arange(ref.shape[0])
    return triton.load(ref, mask=columns < width, other=0)[None]


def _dropped(values: Array, masks: list[Array], left: float) -> Array:
    """As dropout.dropout: scaled in float32, rounded to the dtype of the values."""
    if not masks:
        return values
    found = jnp.where(masks[0] != 0, values.astype(jnp.float32) * left, 0.0)
    return found.astype(values.dtype)


def _sum_and_normalize(
    hidden: Any,
    product: Any,
    bias: Any,
    scale: Any,
    shift: Any,
    *refs: Any,
    masks: int,
    shape: tuple[int, int],
    how: _How,
) -> None:
    """A program of the forward pass: a block of rows."""
    kept, (total, mean, factor, *results) = refs[:masks], refs[masks:]
    (rows, width), block = shape, hidden.shape[0]
    there = pl.program_id(0) * block + jnp.arange(block) < rows
    real = jnp.arange(hidden.shape[1])[None] < width
    inside = there[:, None] & real

    def load(ref: Any) -> Array:
        return triton.load(ref, mask=inside, other=0)

    added = load(product)
    added = (added.astype(jnp.float32) + _row(bias, width)).astype(added.dtype)
    added = _dropped(added, [load(mask) for mask in kept], how.left)
    found = load(hidden) + added.astype(jnp.float32)
    middle = jnp.sum(found, axis=1) / width
    away = jnp.where(real, found - middle[:, None], 0.0)
    by = jax.lax.rsqrt(jnp.sum(away * away, axis=1) / width + how.epsilon)
    triton.store(total, found, mask=inside)
    triton.store(mean, middle, mask=there)
    triton.store(factor, by, mask=there)
    normal = away * by[:, None] * _row(scale, width) + _row(shift, width)
    for result in results:
        triton.store(result, normal.astype(result.dtype), mask=inside)


def _pull(
    total: Any,
    mean: Any,
    factor: Any,
    scale: Any,
    *refs: Any,
    masks: int,
    shape: tuple[int, int],
    block: int,
    turns: int,
    how: _How,
) -> None:
    """A program of the backward pass: some blocks of rows, and their part of the vectors' sums."""
    *given, of_hidden, of_product, of_bias, of_scale, of_shift = refs
    kept, pulls = given[:masks], given[masks:]
    (rows, width), whole = shape, total.shape[1]
    real = jnp.arange(whole)[None] < width
    weights, mine = _row(scale, width), pl.program_id(0) * turns

    def add(turn: Any, sums: tuple[Array, Array, Array]) -> tuple[Array, ...]:
        start = (mine + turn) * block
        there = start + jnp.arange(block) < rows
        inside, where = there[:, None] & real, pl.ds(start, block)

        def load(ref: Any) -> Array:
            return triton.load(ref.at[where, :], mask=inside, other=0)

        def number(ref: Any) -> Array:
            return triton.load(ref.at[where], mask=there, other=0)[:, None]

        pull = sum(load(each).astype(jnp.float32) for each in pulls)
        normal = jnp.where(inside, (load(total) - number(mean)) * number(factor), 0.0)
        scaled = pull * weights
        # Less its projections on the constant vector and on the normalised row
        constant = jnp.sum(scaled, axis=1)[:, None] / width
        along = jnp.sum(scaled * normal, axis=1)[:, None] / width
        moved = number(factor) * (scaled - constant - normal * along)
        triton.store(of_hidden.at[where, :], moved, mask=inside)
        given = _dropped(moved.astype(of_product.dtype), [load(mask) for mask in kept], how.left)
        triton.store(of_product.at[where, :], given, mask=inside)
        parts = (given.astype(jnp.float32), pull * normal, pull)
        return tuple(before + part for before, part in zip(sums, parts, strict=True))

    zero = jnp.zeros((block, whole), jnp.float32)
    found = jax.lax.fori_loop(0, turns, add, (zero, zero, zero))
    for ref, sums in zip((of_bias, of_scale, of_shift), found, strict=True):
        triton.store(ref, jnp.sum(sums, axis=0), mask=jnp.arange(whole) < width)
