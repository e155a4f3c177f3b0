"""GPTQ: round a matrix to four bits input by input, and let the inputs behind make up for it.

Frantar et al. 2023 (arXiv 2210.17323, Algorithm 1). Of a matrix W and what it is multiplied by, X,
the error |XW - XW'|² is kept small: what an input's weights lose by rounding moves those of the
inputs behind it so that the output changes least. The factor of H = XᵀX that says how is that of
`pruning.sparsegpt`, the same idea with weights that go instead of weights that are rounded.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float16, Float32, Int8
from scipy.linalg import solve_triangular

BLOCK = 32
"""Inputs that share a scale."""

STEPS = 7
"""Steps on either side of zero. There is one more below, which is left out: a scale by it would be
that of encoders that came in Q4_0 blocks, whose fine-tuning then rounds away."""

DAMPING = 0.01
"""Share of the mean diagonal that is added to it, so that H can be inverted."""


class Rounded(NamedTuple):
    """A matrix with one scale for each block of inputs of an output unit.

    Scales are stored in 16 bits, as multiples of `unit`, so that small weights have as many digits.
    """

    steps: Int8[np.ndarray, "inputs outputs"]
    scale: Float16[np.ndarray, "blocks outputs"]
    unit: Float32[np.ndarray, " outputs"]

    def kernel(self) -> Float32[np.ndarray, "inputs outputs"]:
        """What it stands for."""
        scale = self.scale.astype(np.float32)[np.arange(len(self.steps)) // BLOCK]
        return self.steps * scale * self.unit


def rounded(
    kernel: Float[np.ndarray, "inputs outputs"],
    gram: Float[np.ndarray, "inputs inputs"] | None = None,
) -> Rounded:
    """Round a matrix to 15 steps; a weight of zero, as pruning leaves it, stays zero.

    Args:
        kernel: the matrix.
        gram: XᵀX of the inputs that it meets; None, or one that is not finite: every weight is
            rounded by itself.
    """
    largest = np.abs(kernel).max(axis=0, initial=0.0)
    unit = np.where(largest > 0, largest, 1).astype(np.float32)
    weights, stays = kernel / unit.astype(np.float64), kernel != 0
    steps = np.zeros(kernel.shape, np.int8)
    scales = []
    upper = None if gram is None or not np.isfinite(gram).all() else _factor(gram)
    for start in range(0, len(weights), BLOCK):
        block = weights[start : start + BLOCK]
        end = start + len(block)
        scale = (np.abs(block).max(axis=0) / STEPS).astype(np.float16)
        each = scale.astype(np.float64)
        parts = np.divide(1, each, out=np.zeros_like(each), where=each != 0)
        errors = np.zeros_like(block)
        for row in range(len(block)):
            at = start + row
            found = np.clip(np.rint(block[row] * parts), -STEPS, STEPS) * stays[at]
            steps[at] = found
            if upper is not None:
                errors[row] = (block[row] - found * each) / upper[at, at]
                block[row:] -= np.outer(upper[at, at:end], errors[row])
        if upper is not None:
            weights[end:] -= upper[start:end, end:].T @ errors
        scales.append(scale)
    return Rounded(steps, np.stack(scales), unit)


def _factor(gram: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """U, upper, of H⁻¹ = UᵀU: row j has what an error at input j does to those behind it.

    From the other end, H = LLᵀ, so that L alone is inverted.
    """
    gram = gram.astype(np.float64)
    mean = np.diagonal(gram).mean()
    gram[np.diag_indices_from(gram)] += DAMPING * mean if mean > 0 else 1.0
    lower = np.linalg.cholesky(gram[::-1, ::-1])
    return solve_triangular(lower, np.eye(len(gram)), lower=True)[::-1, ::-1]
