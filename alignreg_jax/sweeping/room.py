"""How many seeds a device has room for, side by side: an estimate, on the safe side."""

import jax

from alignreg_jax.models.xlmr import XlmrConfig

_COPIES = 4  # float32 values a parameter: itself, two moments, its gradient
_ACTIVATIONS = 20  # values of hidden size a token and layer; the compiler counts 13 to 20
_USABLE = 0.75  # of the memory: the rest is for the reference, the data, an evaluation


def seeds_that_fit(architecture: XlmrConfig, rows: int, length: int, limit: int) -> int:
    """Seeds whose training fits into `limit` bytes; at least 1.

    Args:
        architecture: of the encoder, with all rows of its word embedding.
        rows: in a microbatch.
        length: of the longest row, in pieces.
        limit: memory of a device.
    """
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    layer = 4 * hidden * hidden + 2 * hidden * inner
    parameters = architecture.vocab_size * hidden + architecture.num_layers * layer
    per_token = _ACTIVATIONS * hidden + 2 * architecture.num_heads * length  # attention maps
    activations = rows * length * architecture.num_layers * per_token
    return max(1, int(_USABLE * limit / (4 * (_COPIES * parameters + activations))))


def memory_of_a_device() -> int | None:
    """Bytes of the smallest local device; None where that is not told, as of CPUs."""
    limits: list[int] = []
    for device in jax.local_devices():
        stats = device.memory_stats() or {}
        if "bytes_limit" not in stats:
            return None
        limits.append(stats["bytes_limit"])
    return min(limits)
