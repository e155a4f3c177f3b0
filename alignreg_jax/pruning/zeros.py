"""Kernels that come with zeros: an encoder that was pruned before. Host arithmetic only."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import KERNELS

Standing = Mapping[str, np.ndarray]
"""Weights of every matrix that are not zero, `[layers]` for every kernel."""

# More zeros than this are no accident: trained weights are hardly ever exactly zero, and rounding
# to 4 bits leaves 14.5 % of the bundled encoder's so
_PRUNED, _PRUNED_IF_QUANTIZED = 0.01, 0.3


def standing(kernels: Mapping[str, Any]) -> Standing:
    """Count the weights that are not zero."""
    return {
        name: np.array([np.count_nonzero(matrix) for matrix in kernels[name]])
        for name in prunable.named(kernels)
    }


def note(kernels: Mapping[str, Any], *, quantized: bool, kept: bool) -> str | None:
    """What to say of an encoder that was pruned before; None if it was not.

    Args:
        kernels: the encoder's, on the host.
        quantized: whether its weights were rounded to 4 bits.
        kept: whether the run keeps zeros.
    """
    if not kernels:  # layers of uneven sizes
        return None
    share = 1 - _total(standing(kernels)) / _weights(prunable.sizes(kernels))
    if kept:
        return f"pruning.keep_zeros: {share:.1%} of the prunable weights are zero and stay so"
    if share <= (_PRUNED_IF_QUANTIZED if quantized else _PRUNED):
        return None
    return (
        f"{share:.1%} of the encoder's prunable weights are exactly zero, as pruning leaves them. "
        "Training moves them like all others; pruning.keep_zeros=true keeps them at zero"
    )


def as_cut(
    fractions: Callable[[int], float],
    sizes: Mapping[str, tuple[int, int]],
    standing: Standing,
    scope: masks.Scope,
) -> Callable[[int], float]:
    """A schedule as it comes about where weights are zero, and stay so, from the start.

    Cuts nest: a matrix that has fewer weights than a cut would leave keeps them all.

    Args:
        fractions: phase -> the share of the prunable weights that its cut is asked to leave; 1 in
            phase 0.
        sizes: matrices and weights per matrix of every kernel.
        standing: of the encoder.
        scope: of the cuts.

    Returns:
        phase -> the share that remains in it.
    """

    def remaining(phase: int) -> float:
        keep = masks.keep_counts(sizes, fractions(phase), scope)
        if scope == "global":
            left = min(int(keep), _total(standing))
        else:
            left = sum(int(np.minimum(keep[name], standing[name]).sum()) for name in KERNELS)
        return left / _weights(sizes)

    return remaining


def check_first_cut(asked: float, before: float, after: float) -> None:
    """Check that a schedule begins by pruning something.

    Args:
        asked: the share of the prunable weights that the first cut is to leave.
        before: the share that stands before it.
        after: the share that it leaves.

    Raises:
        UserError: it leaves everything.
    """
    if after >= before:
        raise UserError(
            f"pruning.keep_zeros: {before:.1%} of the prunable weights are not zero, and the first "
            f"cut is to leave {asked:.1%}, which prunes nothing; begin lower, with pruning.final "
            "and fewer pruning.steps, or with pruning.schedule=explicit"
        )


def _total(standing: Standing) -> int:
    return sum(int(counts.sum()) for counts in standing.values())


def _weights(sizes: Mapping[str, tuple[int, int]]) -> int:
    return sum(layers * per_matrix for layers, per_matrix in sizes.values())
