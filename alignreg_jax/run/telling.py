"""What a run says of its inputs once all of them have been checked."""

import logging
from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer

from alignreg_jax.data import coverage
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.models import checkpoints
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import zeros
from alignreg_jax.run.rows import Data
from alignreg_jax.training.state import frozen_counts

log = logging.getLogger(__name__)


def found(data: Data, encoder: checkpoints.Loaded, keep_zeros: bool) -> None:
    """Say what is odd in data and encoder, what is left out, and what is new."""
    kernels, _ = prunable.split(encoder.params)
    pruned = zeros.note(kernels, quantized=encoder.quantized, kept=keep_zeros)
    for note in (*data.dataset.notes, *encoder.notes, *([pruned] if pruned else ())):
        log.info("%s", note)
    if encoder.skipped:
        log.info("not used from the checkpoint: %s", ", ".join(encoder.skipped))
    if encoder.initialised:
        log.info(
            "not in the checkpoint, so drawn from the seed: %s", ", ".join(encoder.initialised)
        )


def frozen(encoder: checkpoints.Loaded, freeze: Sequence[str]) -> None:
    """Say how much stands still."""
    for prefix, count in frozen_counts(encoder.params, freeze).items():
        log.info("train.freeze: %s parameters of %s stay as they are", f"{count:,}", prefix)


def coverage_of(
    tokenizer: Tokenizer,
    max_length: int,
    data: Data,
    train: Encoded,
    text: Mapping[str, Encoded],
    evaluation: Mapping[tuple[str, str], Encoded],
) -> None:
    """Say where the tokenizer lacks words, and where rows were cut."""
    named = {"en.train": train}
    named |= {f"{language}.unlabelled": rows for language, rows in text.items()}
    named |= {f"{language}.{split}": rows for (split, language), rows in evaluation.items()}
    unknown = tokenizer.token_to_id("<unk>")
    special = tokenizer.num_special_tokens_to_add(data.train.text_b is not None)
    for note in coverage.notes(named, unknown, max_length, special):
        log.info("%s", note)
