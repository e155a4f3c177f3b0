"""Weights in 4-bit Q4_0 blocks, the form the bundled encoder is kept in.

A block holds 32 neighbouring weights in 18 bytes: a float16 scale d (little-endian), then 16 bytes
of which byte j carries weight j in its low nibble and weight j + 16 in its high one; a weight is
(nibble - 8) * d. In a safetensors file a quantised matrix `[out, in]` is a uint8 tensor
`[out, in / 32, 18]`; every other tensor is float16 or float32. uint8 therefore marks what is
quantised. (Format: llama.cpp's `block_q4_0`.)
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from safetensors.numpy import save as to_bytes

BLOCK = 32
BLOCK_BYTES = 2 + BLOCK // 2
FILE_NAME = "model.q4.safetensors"


def dequantize(
    blocks: UInt8[np.ndarray, "*rows blocks 18"],
) -> Float[np.ndarray, "*rows columns"]:
    """Weights of Q4_0 blocks as float32, exact: `[..., n, 18]` bytes to `[..., n * 32]`."""
    blocks = np.ascontiguousarray(blocks)
    scales = blocks[..., :2].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[..., 2:] & 15, blocks[..., 2:] >> 4], axis=-1)
    weights = (nibbles.astype(np.float32) - 8) * scales
    return weights.reshape(*blocks.shape[:-2], -1)


def quantize(
    weights: Float[np.ndarray, "*rows columns"],
) -> UInt8[np.ndarray, "*rows blocks 18"]:
    """Round to Q4_0 blocks: `[..., n * 32]` weights to `[..., n, 18]` bytes.

    The weight of largest magnitude in a block gets nibble 0, that is -8 steps, and thereby sets
    the scale and its sign; the others are rounded to the nearest of 16 steps, so the error is at
    most half a step (one step near the extreme of opposite sign, which is only 7 steps away).
    """
    grouped = np.asarray(weights, np.float32).reshape(*weights.shape[:-1], -1, BLOCK)
    largest = np.abs(grouped).argmax(axis=-1)[..., None]
    scales = (np.take_along_axis(grouped, largest, axis=-1) / -8).astype("<f2")
    exact = scales.astype(np.float32)
    steps = np.divide(grouped, exact, out=np.zeros_like(grouped), where=exact != 0)
    nibbles = np.clip(np.rint(steps) + 8, 0, 15).astype(np.uint8)
    packed = nibbles[..., : BLOCK // 2] | nibbles[..., BLOCK // 2 :] << 4
    return np.concatenate([scales.view(np.uint8), packed], axis=-1)


def save(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write Q4_0 blocks (uint8) and float tensors to one safetensors file."""
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    # save_file would make a file that only its owner can read
    path.write_bytes(to_bytes(contiguous, metadata={"format": "q4_0"}))
