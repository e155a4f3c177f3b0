"""Scores to masks: exact counts, reproducible ties, pruned stays pruned; per matrix or global."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer, Shaped, UInt16, UInt32

from alignreg_jax.errors import UserError
from alignreg_jax.pruning.kernels import KERNELS, Kernels, Masks, named
from alignreg_jax.support import processes

Scope = Literal["layer", "global", "kind", "output", "n:4"]
"""One cut for each of the 72 matrices, or one for all of them together. "kind": one for each kernel
over all layers; learned masks divide it among the layers (learned.py). "output" and "n:4": within
each output of a matrix, and within four neighbouring inputs of it (groups.py)."""

NEIGHBOURS: Scope = "n:4"

Keep = Any
"""How many weights stay: int32 `[layers]` for every kernel (layer), one int32 for every kernel
(kind), or one (global)."""

_PerMatrix = dict[str, Shaped[Array, " layers"]]


def ones(kernels: Mapping[str, Any]) -> Masks:
    """Make the masks of a dense network: everything kept."""
    return {name: jnp.ones(kernels[name].shape, bool) for name in named(kernels)}


def nonzero(kernels: Kernels) -> Masks:
    """Make the masks of a network that was pruned before: kept is what is not zero."""
    return {name: kernels[name] != 0 for name in named(kernels)}


def keep_counts(sizes: Mapping[str, tuple[int, int]], remaining: float, scope: Scope) -> Keep:
    """Count the weights to keep, on the host: float32 on the device is off by 11 at 85 million.

    Args:
        sizes: matrices and weights per matrix of every kernel (`kernels.sizes`).
        remaining: fraction of the original weights to keep, in [0, 1]. Always cumulative: rounding
            round after round would drift from it.
        scope: "layer" rounds for every matrix, "kind" for every kernel over its layers, "global"
            once for the total; "output" and "n:4" are as "layer".

    Raises:
        UserError: a cut has more weights than a 32-bit counter holds; "n:4" cannot leave that.
    """
    if scope == NEIGHBOURS and remaining not in (1.0, 0.75, 0.5, 0.25):
        raise UserError(
            f"pruning.scope={NEIGHBOURS}: 3, 2 or 1 of four weights stay, so a cut leaves 75, 50 or"
            f" 25 % of them, not {100 * remaining:.1f} %; set pruning.schedule=explicit,"
            " pruning.explicit=0.75,0.5 and pruning.steps=2, for example"
        )
    cuts = {name: per_matrix for name, (_, per_matrix) in sizes.items()}
    if scope == "kind":
        cuts = {name: layers * per_matrix for name, (layers, per_matrix) in sizes.items()}
    if scope == "global":
        cuts = {"all kernels": sum(layers * per_matrix for layers, per_matrix in sizes.values())}
    for name, weights in cuts.items():
        if weights > np.iinfo(np.int32).max:
            raise UserError(
                f"pruning.scope={scope}: {weights:,} weights in {name} are more than one cut can "
                "count; use pruning.scope=layer or a smaller model"
            )
    if scope == "global":
        return np.int32(round(cuts["all kernels"] * remaining))
    if scope == "kind":
        return {name: np.int32(round(weights * remaining)) for name, weights in cuts.items()}
    return {
        name: np.full(layers, round(per_matrix * remaining), np.int32)
        for name, (layers, per_matrix) in sizes.items()
    }


def top_k(scores: Kernels, masks: Masks, keep: Keep, scope: Scope) -> Masks:
    """Keep exactly the `keep` highest-scoring weights among those that still stand.

    Ties go to the lower position in (kernel order, layer, in, out). A pruned weight stays pruned;
    asked for more than stand, it keeps all that do. Scores may be negative or infinite; -0 equals
    0, and NaN is below minus infinity, so that a broken score never displaces a sound one.

    Finds the cut by bisection on the bits of the scores, so it only ever compares, counts and
    selects: no sort, no gather, no scatter. It shards like its inputs, and with `keep` traced it
    compiles once for all pruning steps.

    Args:
        scores: float32 `[layers, in, out]` for every kernel.
        masks: which weights stand.
        keep: the counts (`keep_counts`), numbers or traced.
        scope: what one cut covers.

    Returns:
        The new masks, nested in the old ones.
    """
    names = named(scores)
    counts: _PerMatrix = {
        name: jnp.broadcast_to(keep if scope == "global" else keep[name], masks[name].shape[:1])
        for name in names
    }
    keys = {name: ordered(scores[name], masks[name]) for name in names}

    # Two rounds over 16-bit digits instead of one over 32-bit keys: half the memory traffic, which
    # is what a counting pass costs. In the second round a key above (below) the first digit of the
    # cut becomes the largest (smallest) digit, so that it counts always (never).
    high = {name: (keys[name] >> 16).astype(jnp.uint16) for name in names}
    top = _bisect(high, counts, scope)
    low = {name: _second_digit(keys[name], high[name], _spread(top[name])) for name in names}
    bottom = _bisect(low, counts, scope)
    cut = {name: (top[name].astype(jnp.uint32) << 16) | bottom[name] for name in names}

    above = {name: keys[name] > _spread(cut[name]) for name in names}
    equal = {name: keys[name] == _spread(cut[name]) for name in names}
    certain = _pool(_count_all(above), scope)
    wanted = {name: counts[name] - certain[name] for name in names}
    if scope == "global":
        wanted = _share_in_order(wanted, _count_all(equal))
    return {name: masks[name] & (above[name] | _first(equal[name], wanted[name])) for name in names}


def apply(kernels: Kernels, masks: Masks) -> Kernels:
    """Set pruned weights to exactly zero; the gradient of a pruned weight is then zero too."""
    return {name: jnp.where(masks[name], kernels[name], 0) for name in named(kernels)}


def statistics(kernels: Mapping[str, Any], masks: Mapping[str, Any]) -> dict[str, Any]:
    """Count on the host what is kept.

    A kept weight may be zero (a quantised checkpoint has many), so `nonzero` is reported beside
    `kept`; it counts kept weights that are not zero.

    Returns:
        `kept_by_layer` (a list over layers for every kernel), `kept`, `nonzero`, `prunable`.
    """
    kept, nonzero = processes.fetch(_counts(dict(kernels), dict(masks)))
    kept_by_layer = {name: [int(count) for count in kept[name]] for name in named(masks)}
    return {
        "kept_by_layer": kept_by_layer,
        "kept": sum(sum(counts) for counts in kept_by_layer.values()),
        "nonzero": sum(int(count) for name in kept_by_layer for count in nonzero[name]),
        "prunable": sum(int(np.prod(masks[name].shape)) for name in kept_by_layer),
    }


def pack(masks: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Pack masks for `np.savez`: big-endian bits in C order, and `<name>/shape` beside them."""
    packed = {}
    for name in named(masks):
        mask = np.asarray(masks[name])
        packed[name] = np.packbits(mask, axis=None, bitorder="big")
        packed[f"{name}/shape"] = np.asarray(mask.shape, np.int64)
    return packed


def unpack(packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Read masks back as Boolean numpy arrays: the inverse of `pack`.

    Raises:
        UserError: a kernel or its shape is missing.
    """
    masks = {}
    for name in KERNELS:
        if name not in packed or f"{name}/shape" not in packed:
            raise UserError(f"masks.npz: {name!r} is missing; it is not a file of this program")
        shape = tuple(int(length) for length in packed[f"{name}/shape"])
        count = int(np.prod(shape))
        bits = np.unpackbits(packed[name], count=count, bitorder="big")
        masks[name] = bits.astype(bool).reshape(shape)
    return masks


def ordered(
    scores: Float[Array, "layers rows columns"], standing: Bool[Array, "layers rows columns"]
) -> UInt32[Array, "layers rows columns"]:
    """Map float32 to integers of the same order, none of them zero: that is what is pruned."""
    bits = jax.lax.bitcast_convert_type(scores.astype(jnp.float32), jnp.uint32)
    sign = jnp.uint32(1 << 31)
    bits = jnp.where(bits == sign, 0, bits)
    keys = jnp.where(bits < sign, bits | sign, ~bits)
    not_a_number = (bits & ~sign) > 0x7F800000
    return jnp.where(standing, jnp.where(not_a_number, 1, keys), 0)


def _second_digit(
    keys: UInt32[Array, "layers rows columns"],
    high: UInt16[Array, "layers rows columns"],
    top: UInt16[Array, "layers 1 1"],
) -> UInt16[Array, "layers rows columns"]:
    low = keys.astype(jnp.uint16)
    return jnp.where(high == top, low, jnp.where(high > top, jnp.uint16(0xFFFF), jnp.uint16(0)))


def _bisect(
    digits: dict[str, UInt16[Array, "layers _ _"]], keep: _PerMatrix, scope: Scope
) -> _PerMatrix:
    """Find for every cut the largest digit that at least `keep` of the digits reach."""

    def try_bit(step: Int[Array, ""], cut: _PerMatrix) -> _PerMatrix:
        bit = jnp.uint16(1) << (15 - step).astype(jnp.uint16)
        candidate = {name: cut[name] | bit for name in digits}
        reached = _pool(
            _count_all({name: digits[name] >= _spread(candidate[name]) for name in digits}), scope
        )
        return {
            name: jnp.where(reached[name] >= keep[name], candidate[name], cut[name])
            for name in digits
        }

    start = {name: jnp.zeros(digits[name].shape[:1], jnp.uint16) for name in digits}
    return jax.lax.fori_loop(0, 16, try_bit, start)


def _count_all(marked: Mapping[str, Bool[Array, "layers _ _"]]) -> _PerMatrix:
    return {name: _count(each) for name, each in marked.items()}


def _count(marked: Bool[Array, "layers rows columns"]) -> Int[Array, " layers"]:
    # A row is summed in 16 bits where it fits: four times as fast on CPU as summing in 32.
    narrow = jnp.uint16 if marked.shape[-1] < 2**16 else jnp.uint32
    return jnp.sum(jnp.sum(marked, axis=-1, dtype=narrow), axis=-1, dtype=jnp.int32)


def _pool(counts: _PerMatrix, scope: Scope) -> _PerMatrix:
    """Add counts up over what one cut covers; every matrix is told its cut's total."""
    if scope == "layer":
        return counts
    total = sum(jnp.sum(counts[name], dtype=jnp.int32) for name in named(counts))
    return {name: jnp.broadcast_to(total, each.shape) for name, each in counts.items()}


def _share_in_order(wanted: _PerMatrix, ties: _PerMatrix) -> _PerMatrix:
    """Deal one global number of ties out to the matrices, first come first served."""
    in_order = jnp.concatenate([ties[name] for name in named(ties)])
    before = jnp.cumsum(in_order) - in_order
    shares, start = {}, 0
    for name in named(ties):
        stop = start + ties[name].shape[0]
        shares[name] = jnp.clip(wanted[name] - before[start:stop], 0, ties[name])
        start = stop
    return shares


def _first(
    marked: Bool[Array, "layers rows columns"], wanted: Integer[Array, " layers"]
) -> Bool[Array, "layers rows columns"]:
    """Keep the first `wanted` marks of every matrix, row by row.

    Only one row can be kept in part, so running sums over the rows and over the columns of that
    row are enough; a running sum over all weights would cost more than everything else.
    """
    per_row = jnp.sum(marked, axis=-1, dtype=jnp.int32)
    upto = jnp.cumsum(per_row, axis=-1)
    left = wanted[:, None] - (upto - per_row)
    whole = per_row <= left
    partial = (left > 0) & ~whole
    columns = jnp.sum(marked & partial[:, :, None], axis=-2, dtype=jnp.int32)
    left_in_partial = jnp.sum(jnp.where(partial, left, 0), axis=-1, keepdims=True)
    early = jnp.cumsum(columns, axis=-1) <= left_in_partial
    return marked & (whole[:, :, None] | (partial[:, :, None] & early[:, None, :]))


def _spread(per_matrix: Shaped[Array, " layers"]) -> Shaped[Array, "layers 1 1"]:
    return per_matrix[:, None, None]


@jax.jit
def _counts(kernels: dict[str, Any], masks: dict[str, Any]) -> tuple[_PerMatrix, _PerMatrix]:
    nonzero = {name: masks[name] & (kernels[name] != 0) for name in named(masks)}
    return _count_all(cast(Any, masks)), _count_all(nonzero)
