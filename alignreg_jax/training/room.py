"""What a training step takes of a device's memory: an estimate, before anything is compiled."""

import os
from typing import Literal

import jax

from alignreg_jax.models.xlmr import XlmrConfig

Kept = Literal["all", "products", "inputs"]
"""What a layer keeps for the backward pass: everything, with all layers out of the loop; products
of matrices, in a loop over layers; or what enters it, with model.remat."""

BYTES: dict[Kept, tuple[tuple[int, int], tuple[int, int]]] = {
    "all": ((77, 8), (38, 5)),
    "products": ((44, 4), (95, 7)),
    "inputs": ((4, 0), (126, 12)),
}
"""Of a piece: in every layer, and once more in the one whose gradient is being computed; each for
every hidden value, and for every head and place that it attends to. These are what XLA counts in
float32 on a CPU (tests/training/test_room_of_a_step.py compares, to 7 %); in bfloat16 it counts as
many in the loop over layers, and a fifth less out of it."""

_COPIES = 4  # of what is trained: itself, two moments, its gradient


def step_bytes(
    architecture: XlmrConfig, rows: int, length: int, kept: Kept, *, trained: int, fixed: int = 0
) -> int:
    """Bytes of a step of `rows` rows of `length` pieces.

    Args:
        architecture: of the encoder.
        rows: at once: a microbatch, or a device's part of it.
        length: of the longest row, in pieces.
        kept: for the backward pass.
        trained: values that are trained.
        fixed: values that are there and are not trained.
    """
    return 4 * (_COPIES * trained + fixed) + rows * _row_bytes(architecture, length, kept)


def rows_that_fit(
    architecture: XlmrConfig,
    limit: int,
    length: int,
    kept: Kept,
    *,
    trained: int,
    fixed: int = 0,
) -> int:
    """The most rows whose step takes no more than `limit` bytes; arguments as `step_bytes`."""
    left = limit - step_bytes(architecture, 0, length, kept, trained=trained, fixed=fixed)
    return max(0, left // _row_bytes(architecture, length, kept))


def _row_bytes(architecture: XlmrConfig, length: int, kept: Kept) -> int:
    attended = architecture.num_heads * length
    layer, once = (
        hidden * architecture.hidden_size + places * attended for hidden, places in BYTES[kept]
    )
    return length * (architecture.num_layers * layer + once)


def memory_of_a_device() -> int | None:
    """Bytes of the smallest local device; None where that is not told, as of CPUs."""
    limits: list[int] = []
    for device in jax.local_devices():
        stats = device.memory_stats() or {}
        if "bytes_limit" not in stats:
            return None
        limits.append(stats["bytes_limit"])
    return min(limits)


def memory_of_the_host() -> int:
    """Bytes of this machine for each of its local devices."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return pages * size // jax.local_device_count()
