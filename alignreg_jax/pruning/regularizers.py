"""Regularizers: how far pruned kernels are from their reference. Pure, and trained by autodiff.

Every matrix contributes one number; sums run over the matrices (72 in XLM-R base). Accumulation is
in float32 at least, whatever the kernels' type.
"""

from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from alignreg_jax.pruning.kernels import Kernels, named

Reduce = Literal["sum", "mean"]


def cosine(
    pruned: Kernels, reference: Kernels, *, per_unit: bool = True, signed: bool = False
) -> Float[Array, ""]:
    """Compute the negative mean cosine similarity, -(1/L) sum_l rho_l (paper Eq. 2 and 3).

    Args:
        pruned: kernels with their pruned weights at zero, `[layers, in, out]`.
        reference: the kernels to stay aligned with.
        per_unit: compare column by column (Eq. 2); otherwise every matrix as one vector.
        signed: without the paper's absolute value, so that an inverted unit is not aligned.

    Returns:
        A scalar in [-1, 0] ([-1, 1] when signed).
    """
    similarity = cosine_similarity(pruned, reference, per_unit=per_unit, signed=signed)
    return -_reduce(similarity, "mean")


def cosine_similarity(
    pruned: Kernels, reference: Kernels, *, per_unit: bool = True, signed: bool = False
) -> dict[str, Float[Array, " layers"]]:
    """Compute rho of every matrix (paper Eq. 2): the mean similarity of its columns.

    A column that is zero on either side has similarity 0 and gradient 0, where the printed form is
    NaN; it still counts in the mean.
    """
    return {
        name: _similarity(pruned[name], reference[name], per_unit=per_unit, signed=signed)
        for name in named(reference)
    }


def frobenius(
    pruned: Kernels, reference: Kernels, *, squared: bool = True, reduce: Reduce = "sum"
) -> Float[Array, ""]:
    """Compute the Frobenius distance to the reference (the second term of paper Eq. 6).

    Eq. 6 is printed as a choice of mask; as a training term it pulls surviving weights to the
    reference, and the default (squared, summed over matrices) is the form whose scale suits the
    paper's weight of 5e-4.

    Args:
        pruned: kernels with their pruned weights at zero, `[layers, in, out]`.
        reference: kernels of the same shapes.
        squared: the squared norm of every matrix; else the norm, with gradient 0 at distance 0.
        reduce: over matrices.
    """
    distances = {
        name: _square_norm(_widen(reference[name]) - _widen(pruned[name]), axes=(-2, -1))
        for name in named(pruned)
    }
    if not squared:
        distances = {name: _safe_sqrt(distance) for name, distance in distances.items()}
    return _reduce(distances, reduce)


def square_distance(
    parameters: Mapping[str, Float[Array, "..."]], reference: Mapping[str, Float[Array, "..."]]
) -> Float[Array, ""]:
    """Compute the summed squared distance of parameters that are no kernels, by their paths.

    With `frobenius` on the kernels this is L2-SP, the pull of every pretrained parameter to where
    it started (Li et al. 2018, without the term on the new head). Without parameters it is 0.
    """
    distances = [
        jnp.sum(jnp.square(_widen(parameters[path]) - _widen(reference[path])))
        for path in sorted(reference)
    ]
    return sum(distances, start=jnp.float32(0))


def l2(pruned: Kernels) -> Float[Array, ""]:
    """Compute the sum of squared weights, the classic companion of magnitude pruning."""
    return _reduce(
        {name: _square_norm(_widen(pruned[name]), axes=(-2, -1)) for name in named(pruned)}, "sum"
    )


def zero_columns(kernels: Kernels) -> Int[Array, ""]:
    """Count the units that have no weight left: the cosine no longer sees them."""
    empty = [jnp.all(kernels[name] == 0, axis=-2) for name in named(kernels)]
    return sum((jnp.sum(units, dtype=jnp.int32) for units in empty), start=jnp.int32(0))


def _similarity(
    pruned: Float[Array, "layers rows columns"],
    reference: Float[Array, "layers rows columns"],
    *,
    per_unit: bool,
    signed: bool,
) -> Float[Array, " layers"]:
    pruned, reference = _widen(pruned), _widen(reference)
    axes = (-2,) if per_unit else (-2, -1)
    dots = jnp.sum(pruned * reference, axis=axes)
    squares = _square_norm(pruned, axes), _square_norm(reference, axes)
    valid = (squares[0] > 0) & (squares[1] > 0)
    # where twice: the inner one keeps 0/0 out of the gradient, which the outer one alone would not.
    lengths = [jnp.sqrt(jnp.where(valid, square, 1)) for square in squares]
    cosines = jnp.where(valid, dots / lengths[0] / lengths[1], 0)
    if not signed:
        cosines = jnp.abs(cosines)
    return jnp.mean(cosines.reshape(cosines.shape[0], -1), axis=-1)


def _square_norm(matrix: Float[Array, "..."], axes: tuple[int, ...]) -> Float[Array, "..."]:
    return jnp.sum(matrix * matrix, axis=axes)


def _safe_sqrt(square: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _widen(kernel: Float[Array, "..."]) -> Float[Array, "..."]:
    return kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))


def _reduce(per_matrix: dict[str, Float[Array, " layers"]], reduce: Reduce) -> Float[Array, ""]:
    values = jnp.concatenate([per_matrix[name] for name in named(per_matrix)])
    return jnp.sum(values) if reduce == "sum" else jnp.mean(values)
