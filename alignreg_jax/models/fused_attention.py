"""Attention with dropout in one kernel: its weights never leave the processor (Pallas, Triton).

The same function as attention.attend, which lays the weights out and is what tests compare with. A
program computes all weights of a block of queries at once, so that no softmax has to be corrected
as keys come (Dao et al. 2022 do, for lengths that do not fit): a task's rows have at most 512
pieces. The backward pass computes weights again from queries and keys. Which weights are dropped is
drawn outside, as elsewhere, so that masks do not depend on the kernel and a run resumes bitwise.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Bool, Float

from alignreg_jax.models.attention import why_no_kernel_of_ours

Heads = Float[Array, "batch length heads head_size"]
LONGEST = 512
_BLOCK = 64  # at most so many queries of a program, or keys
_WEIGHTS = 8192  # of a program at most: with more its registers do not suffice, by ptxas
_SIZES = (16, 32, 64, 128)


def why_not_fused(head_size: int, length: int, dtype: Any, devices: Any) -> str | None:
    """The reason why the kernel cannot be used, or None if it can."""
    if trouble := why_no_kernel_of_ours(devices):
        return trouble
    if dtype != jnp.bfloat16:
        return "needs model.dtype=bfloat16"
    if head_size not in _SIZES:
        return f"takes heads of 16, 32, 64 or 128 units; the encoder's have {head_size}"
    if length > LONGEST:
        return f"takes rows of at most {LONGEST} pieces, and these have up to {length}"
    return None


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def attend(
    query: Heads,
    key: Heads,
    value: Heads,
    valid: Bool[Array, "batch length"],
    kept: Bool[Array, "batch heads length length"] | None,
    scale: float,
    interpret: bool = False,
) -> Heads:
    """Softmax attention, its weights dropped.

    Arguments and result as attention.attend, but heads come behind positions, as a matrix product
    leaves them. `interpret` runs the kernels as plain JAX, for tests on a CPU.
    """
    return _forward(query, key, value, valid, kept, scale, interpret)[0]


def _forward(
    query: Heads,
    key: Heads,
    value: Heads,
    valid: Array,
    kept: Array | None,
    scale: float,
    interpret: bool,
) -> tuple[Heads, tuple[Array | None, ...]]:
    given = (query, key, value, valid.astype(jnp.int8), _bytes(kept))
    blocks = _Blocks(query.shape)
    context = pl.pallas_call(
        partial(_context, length=query.shape[1], scale=scale),
        out_shape=jax.ShapeDtypeStruct(query.shape, query.dtype),
        grid=blocks.grid,
        in_specs=[blocks.part, blocks.all, blocks.all, blocks.valid, *blocks.masks(kept, rows=1)],
        out_specs=blocks.part,
        **blocks.options(interpret),
    )(*given[: 4 if kept is None else 5])
    return context, given


def _bytes(kept: Array | None) -> Array | None:
    return None if kept is None else kept.astype(jnp.int8)


def _backward(
    scale: float, interpret: bool, residuals: tuple[Array | None, ...], pull: Heads
) -> tuple[Array | None, ...]:
    query, key, value, valid, kept = residuals
    assert query is not None
    masks = [] if kept is None else [kept]
    blocks, length = _Blocks(query.shape), query.shape[1]
    like = jax.ShapeDtypeStruct(query.shape, query.dtype)
    batch, _, heads, _ = query.shape
    number = jax.ShapeDtypeStruct((batch, heads, length), jnp.float32)
    of_query, *numbers = pl.pallas_call(
        partial(_pull_query, length=length, scale=scale),
        out_shape=[like, number, number, number],
        grid=blocks.grid,
        in_specs=[
            *(blocks.part, blocks.part, blocks.all, blocks.all, blocks.valid),
            *blocks.masks(kept, rows=1),
        ],
        out_specs=[blocks.part, *[blocks.numbers] * 3],
        **blocks.options(interpret),
    )(query, pull, key, value, valid, *masks)
    blocks = _Blocks(query.shape, most=_BLOCK * LONGEST)
    of_key, of_value = pl.pallas_call(
        partial(_pull_key, length=length, scale=scale, block=blocks.size),
        out_shape=[like, like],
        grid=blocks.grid,
        in_specs=[
            *(blocks.part, blocks.part, blocks.all, blocks.all, blocks.valid),
            *[blocks.all_numbers] * 3,
            *blocks.masks(kept, rows=0),
        ],
        out_specs=[blocks.part, blocks.part],
        **blocks.options(interpret),
    )(key, value, query, pull, valid, *numbers, *masks)
    return of_query, of_key, of_value, None, None


attend.defvjp(_forward, _backward)


class _Blocks:
    """How queries, or keys, are divided among programs: by row, head, and block of positions."""

    def __init__(self, shape: tuple[int, ...], most: int = _WEIGHTS):
        batch, length, heads, head_size = shape
        # Triton's arrays have powers of 2 as sizes, its products at least 16 of each
        whole = max(16, pl.next_power_of_2(length))
        self.size, self.whole = min(_BLOCK, whole, most // whole), whole
        self.grid = (batch, heads, pl.cdiv(length, self.size))
        self.part = pl.BlockSpec((None, self.size, None, head_size), lambda b, h, i: (b, i, h, 0))
        self.all = pl.BlockSpec((None, whole, None, head_size), lambda b, h, i: (b, 0, h, 0))
        self.valid = pl.BlockSpec((None, whole), lambda b, h, i: (b, 0))
        self.numbers = pl.BlockSpec((None, None, self.size), lambda b, h, i: (b, h, i))
        self.all_numbers = pl.BlockSpec((None, None, whole), lambda b, h, i: (b, h, 0))

    def masks(self, kept: Array | None, rows: int) -> list[pl.BlockSpec]:
        """Of the weights of a block of queries (rows=1), or of a block of keys."""
        if kept is None:
            return []
        if rows:
            shape, place = (self.size, self.whole), lambda b, h, i: (b, h, i, 0)
        else:
            shape, place = (self.whole, self.size), lambda b, h, i: (b, h, 0, i)
        return [pl.BlockSpec((None, None, *shape), place)]

    def options(self, interpret: bool) -> dict[str, Any]:
        """Of every call."""
        params = triton.CompilerParams(num_warps=4 if self.whole <= 128 else 8, num_stages=2)
        return {"interpret": interpret, "compiler_params": params}


def _load(ref: Any, first: Any, count: int, length: int, where: Any = None) -> Array:
    """Positions `first` and following of a reference, 0 behind the last there is."""
    inside = first + jnp.arange(count) < length
    part = ref if where is None else ref.at[where]
    shape = (count, *part.shape[1:])
    mask = jnp.broadcast_to(inside.reshape(count, *[1] * (len(shape) - 1)), shape)
    return triton.load(part, mask=mask, other=0)


def _store(ref: Any, found: Array, first: Any, length: int) -> None:
    inside = first + jnp.arange(found.shape[0]) < length
    mask = inside.reshape(-1, *[1] * (found.ndim - 1))
    triton.store(ref, found.astype(ref.dtype), mask=jnp.broadcast_to(mask, found.shape))


def _dropped(ref: Any, rows: Any, columns: Any, length: int, where: Any = None) -> Array:
    """Which weights are kept, of rows and columns by their positions."""
    part = ref if where is None else ref.at[where]
    inside = (rows[:, None] < length) & (columns[None] < length)
    return triton.load(part, mask=inside, other=0) != 0


def _logits(query: Array, key: Array, valid: Array, columns: Array, length: int) -> Array:
    """As attention.attend has them; those of positions that do not exist are minus infinity."""
    found = triton.dot(query, key, trans_b=True) * query.shape[-1] ** -0.5
    found = jnp.where(valid[None], found, jnp.finfo(jnp.float32).min)
    return jnp.where(columns[None] < length, found, -jnp.inf)


def _weights(logits: Array) -> tuple[Array, Array, Array]:
    """Softmax over keys; the largest logit and the sum of a row."""
    most = jnp.max(logits, axis=1)
    found = jnp.exp(logits - most[:, None])
    total = jnp.sum(found, axis=1)
    return found / total[:, None], most, total


def _context(
    query: Any, key: Any, value: Any, valid: Any, *refs: Any, length: int, scale: float
) -> None:
    """A program of the forward pass: the context of a block of queries."""
    *masks, result = refs
    size, whole = query.shape[0], key.shape[0]
    first = pl.program_id(2) * size
    columns = jnp.arange(whole)
    allowed = _load(valid, 0, whole, length) != 0
    logits = _logits(
        _load(query, first, size, length), _load(key, 0, whole, length), allowed, columns, length
    )
    weights, _, _ = _weights(logits)
    if masks:
        kept = _dropped(masks[0], first + jnp.arange(size), columns, length)
        weights = jnp.where(kept, weights * scale, 0.0)
    values = _load(value, 0, whole, length)
    _store(result, triton.dot(weights.astype(values.dtype), values), first, length)


def _pull_query(
    query: Any, pull: Any, key: Any, value: Any, valid: Any, *refs: Any, length: int, scale: float
) -> None:
    """A program of the backward pass: a block of queries; leaves what the keys' programs need."""
    *masks, of_query, most_ref, total_ref, along_ref = refs
    size, whole = query.shape[0], key.shape[0]
    first = pl.program_id(2) * size
    columns = jnp.arange(whole)
    allowed, keys = _load(valid, 0, whole, length) != 0, _load(key, 0, whole, length)
    logits = _logits(_load(query, first, size, length), keys, allowed, columns, length)
    weights, most, total = _weights(logits)
    gradient = triton.dot(
        _load(pull, first, size, length), _load(value, 0, whole, length), trans_b=True
    )
    if masks:
        kept = _dropped(masks[0], first + jnp.arange(size), columns, length)
        gradient = jnp.where(kept, gradient * scale, 0.0)
    # In a row of padding only softmax gives weight to positions that are masked
    weights = jnp.where(allowed[None], weights, 0.0)
    along = jnp.sum(weights * gradient, axis=1)
    moved = weights * (gradient - along[:, None]) * query.shape[1] ** -0.5
    _store(of_query, triton.dot(moved.astype(keys.dtype), keys), first, length)
    for ref, found in ((most_ref, most), (total_ref, total), (along_ref, along)):
        _store(ref, found, first, length)


def _pull_key(
    key: Any,
    value: Any,
    query: Any,
    pull: Any,
    valid: Any,
    most: Any,
    total: Any,
    along: Any,
    *refs: Any,
    length: int,
    scale: float,
    block: int,
) -> None:
    """A program of the backward pass: a block of keys and values, over all blocks of queries."""
    *masks, of_key, of_value = refs
    size, head_size = key.shape
    first = pl.program_id(2) * size
    columns = first + jnp.arange(size)
    keys, values = _load(key, first, size, length), _load(value, first, size, length)
    inside = columns < length
    allowed = triton.load(valid.at[pl.ds(first, size)], mask=inside, other=0) != 0

    def add(index: Any, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        start = index * block
        rows = start + jnp.arange(block)
        where = pl.ds(start, block)
        queries = _load(query, start, block, length, where)
        pulls = _load(pull, start, block, length, where)
        weights = jnp.exp(
            _logits(queries, keys, allowed, columns, length)
            - _load(most, start, block, length, where)[:, None]
        )
        # Behind the last query the sum is 0
        divisor = jnp.where(rows < length, _load(total, start, block, length, where), 1.0)
        weights = jnp.where(rows[:, None] < length, weights / divisor[:, None], 0.0)
        gradient = triton.dot(pulls, values, trans_b=True)
        used = weights
        if masks:
            kept = _dropped(masks[0], rows, columns, length, where)
            used = jnp.where(kept, weights * scale, 0.0)
            gradient = jnp.where(kept, gradient * scale, 0.0)
        weights = jnp.where(allowed[None], weights, 0.0)
        moved = weights * (gradient - _load(along, start, block, length, where)[:, None])
        moved = moved * head_size**-0.5
        return (
            sums[0] + triton.dot(moved.astype(queries.dtype), queries, trans_a=True),
            sums[1] + triton.dot(used.astype(pulls.dtype), pulls, trans_a=True),
        )

    zero = jnp.zeros((size, head_size), jnp.float32)
    found = jax.lax.fori_loop(0, pl.cdiv(length, block), add, (zero, zero))
    for ref, total_of in zip((of_key, of_value), found, strict=True):
        _store(ref, total_of, first, length)
