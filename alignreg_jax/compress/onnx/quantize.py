"""Weights in eight bits, symmetric, so that a weight of zero, as pruning leaves it, stays zero."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int8, UInt8

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
