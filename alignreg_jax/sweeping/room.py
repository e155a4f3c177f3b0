"""How many seeds a device has room for, side by side: an estimate, on the safe side."""

from alignreg_jax.models.xlmr import XlmrConfig
from alignreg_jax.training.room import step_bytes

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
    trained = architecture.vocab_size * hidden + architecture.num_layers * layer
    one = step_bytes(architecture, rows, length, "all", trained=trained)
    return max(1, int(_USABLE * limit / one))
