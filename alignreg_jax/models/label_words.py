"""Which rows of a language model's head stand for the labels: one word for each.

The head of `XLMRobertaForMaskedLM` scores every piece of the vocabulary. Restricted to a word for
each label, read at the first token, it is a classifier without a new parameter (Static Model
Pruning): label words come as the rows of the tied word embedding, or of the head's own matrix if
the checkpoint has one.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from alignreg_jax.errors import UserError
from alignreg_jax.models.names import TIED, WORD_EMBEDDING, name_table
from alignreg_jax.models.storage import Storage, few
from alignreg_jax.models.xlmr import XlmrConfig

DENSE = tuple(f"lm_head.{part}.{kind}" for part in ("dense", "layer_norm")
              for kind in ("weight", "bias"))  # fmt: skip
# One tensor if the head is tied to the embedding; if it is not, the decoder's is the one in use
_BIAS = ("lm_head.decoder.bias", "lm_head.bias")


class Rows(NamedTuple):
    """The tensors that score pieces, by their names in the checkpoint, and each label's row."""

    weight: str
    bias: str
    pieces: list[int]
    note: str


def pretrained(folder: Path, config: XlmrConfig) -> dict[str, np.ndarray]:
    """The leaves of the head that are the same whatever the words; none if it is not all there.

    By their paths in the subtree `head`.

    Raises:
        UserError: they cannot be read.
    """
    stored, table = Storage(folder), name_table(config, "label-words")
    if not set(DENSE) <= set(stored.names):
        return {}
    leaves = {}
    for name in DENSE:
        value, slot = stored.read(name), table[name]
        leaves[slot.path.removeprefix("head/")] = value.T if slot.transpose else value
    return leaves


def rows_of(
    folder: Path, held: Collection[str], labels: Sequence[str], words: Sequence[str]
) -> Rows:
    """Find the rows of a word for each label.

    Args:
        folder: of the checkpoint.
        held: names of its tensors.
        labels: of the data, in their order.
        words: one a label, in the same order, or as "label=word" in any.

    Raises:
        UserError: no language model's head, or not one word for each label that is one piece.
    """
    bias = next((name for name in _BIAS if name in held), _BIAS[-1])
    missing = [name for name in (*DENSE, bias) if name not in held]
    if missing:
        raise UserError(
            f"{folder}: model.head=label-words reads the language model's head, and {few(missing)}"
            " is not there; give a checkpoint of XLMRobertaForMaskedLM, or another model.head"
        )
    words = _in_order(labels, words)
    tokenizer = Tokenizer.from_buffer((folder / "tokenizer.json").read_bytes())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    pieces = [_piece(tokenizer, word) for word in words]
    for number, piece in enumerate(pieces):
        if piece in pieces[:number]:
            other = words[pieces.index(piece)]
            raise UserError(
                f"model.label_words: {other!r} and {words[number]!r} are one piece, so two labels"
                " would always have the same score"
            )
    said = (
        f"{label} is {tokenizer.id_to_token(piece)}"
        for label, piece in zip(labels, pieces, strict=True)
    )
    note = f"the head is the language model's, and {few(list(said), 8)}"
    return Rows(TIED if TIED in held else WORD_EMBEDDING, bias, pieces, note)


def _in_order(labels: Sequence[str], words: Sequence[str]) -> list[str]:
    """The word of each label."""
    if len(words) != len(labels):
        raise UserError(
            f"model.label_words has {len(words)} words, and there are {len(labels)} labels"
            f" ({few(labels, 8)}); give one for each, in this order or as label=word"
        )
    if not any("=" in word for word in words):
        return list(words)
    pairs = {label: word for label, _, word in (each.rpartition("=") for each in words)}
    if set(pairs) != set(labels):
        wrong = [word for word in words if word.rpartition("=")[0] not in labels] or list(words)
        raise UserError(
            f"model.label_words: {few(wrong)} should be label=word, every label of"
            f" {few(labels, 8)} once"
        )
    return [pairs[label] for label in labels]


def _piece(tokenizer: Tokenizer, word: str) -> int:
    found = tokenizer.encode(word, add_special_tokens=False)
    if len(found.ids) != 1:
        raise UserError(
            f"model.label_words: {word!r} is {len(found.ids)} pieces of the encoder's tokenizer"
            f" ({' '.join(found.tokens)}), and should be one"
        )
    if found.ids[0] == tokenizer.token_to_id("<unk>"):
        raise UserError(f"model.label_words: {word!r} is unknown to the encoder's tokenizer")
    return found.ids[0]
