"""Weights in eight bits, symmetric, so that a weight of zero, as pruning leaves it, stays zero.

And rows of a table in four, and how four bits are stored; those of matrices: `gptq`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float16, Float32, Int8, UInt8

from alignreg_jax.compress.onnx import gptq

STEPS = 127
"""Steps on either side of zero. With 63 the sum of two products with eight-bit inputs fits sixteen
bits, which x86 processors without VNNI add in without a check."""

BLOCK = 128
"""Inputs that share a scale in `blocks`."""


class Columns(NamedTuple):
    """A matrix with one scale for each output unit."""

    steps: Int8[np.ndarray, "inputs outputs"]
    scale: Float32[np.ndarray, " outputs"]


class Blocks(NamedTuple):
    """A matrix with one scale for each block of inputs of an output unit, about 128."""

    steps: UInt8[np.ndarray, "outputs blocks size"]
    scale: Float32[np.ndarray, "outputs blocks"]


class Rows(NamedTuple):
    """A table with one scale for each block of a row; steps from -8 to 7.

    The last block is filled up with zeros.
    """

    steps: Int8[np.ndarray, "rows blocks size"]
    scale: Float16[np.ndarray, "rows blocks"]


def columns(kernel: Float[np.ndarray, "inputs outputs"], steps: int = STEPS) -> Columns:
    """Round to multiples of a scale for each output unit, that of its largest weight."""
    largest = np.abs(kernel).max(axis=0, initial=0.0)
    scale = np.where(largest > 0, largest / steps, 1).astype(np.float32)
    rounded = np.clip(np.rint(kernel / scale), -steps, steps)
    return Columns(rounded.astype(np.int8), scale)


def blocks(kernel: Float[np.ndarray, "inputs outputs"], size: int = BLOCK) -> Blocks:
    """Round to multiples of a scale for every `size` inputs of an output unit.

    As MatMulNBits of ONNX Runtime takes them: about 128, the zero point that it has by default; the
    largest weight of a block takes the end that has one step more. Inputs are filled up with zeros
    to a multiple of `size`, which are stored and multiplied: widths that `size` divides cost least.
    """
    inputs, outputs = kernel.shape
    filled = np.zeros((-(-inputs // size) * size, outputs), np.float32)
    filled[:inputs] = kernel
    grouped = filled.T.reshape(outputs, -1, size)
    at = np.abs(grouped).argmax(axis=-1)[..., None]
    scale = np.take_along_axis(grouped, at, axis=-1) / -128
    each = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    rounded = np.clip(np.rint(grouped * each) + 128, 0, 255)
    return Blocks(rounded.astype(np.uint8), scale[..., 0])


def rows(table: Float[np.ndarray, "rows width"]) -> Rows:
    """Round every row to sixteen steps, a scale for every `gptq.BLOCK` values.

    The largest of a block is eight steps from zero, on the side that has eight: the rule of Q4_0,
    so that a table that came in such blocks, and was not trained since, stays what it is.
    """
    count, width = table.shape
    blocks = -(-width // gptq.BLOCK)
    filled = np.zeros((count, blocks * gptq.BLOCK), np.float32)
    filled[:, :width] = table
    grouped = filled.reshape(count, blocks, gptq.BLOCK)
    at = np.abs(grouped).argmax(axis=-1)[..., None]
    scale = (np.take_along_axis(grouped, at, axis=-1) / -8).astype(np.float16)
    each = scale.astype(np.float32)
    found = np.divide(grouped, each, out=np.zeros_like(grouped), where=each != 0)
    return Rows(np.clip(np.rint(found), -8, 7).astype(np.int8), scale[..., 0])


def packed(
    low: Int8[np.ndarray, "*shape"], high: Int8[np.ndarray, "*shape"]
) -> UInt8[np.ndarray, "*shape"]:
    """Two steps a byte, each by its last four bits: -1 is 15."""
    return (low & 15).astype(np.uint8) | (high & 15).astype(np.uint8) << 4
