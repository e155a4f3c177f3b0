"""Pieces of sentences that are already cut into words, and where each word begins.

A word's first piece carries its label, as in BERT. Words are found by the tokenizer's own word
numbers and never by counting: a word may have no piece at all.
"""

from itertools import chain

import numpy as np
from jaxtyping import Int32
from tokenizers import Tokenizer

Pieces = tuple[
    Int32[np.ndarray, " tokens"], Int32[np.ndarray, " rows"], Int32[np.ndarray, " begins"]
]
"""Ids of all rows end to end, pieces in each row, and of every piece the number of the word of its
row that begins there, or -1; the last is empty where rows are not cut into words."""

_MARK = "\N{LOWER ONE EIGHTH BLOCK}"  # what SentencePiece writes for a space


def word_pieces(sentences: list[list[str]], tokenizer: Tokenizer) -> Pieces:
    """Tokenise every word on its own; the tokenizer cuts what is too long."""
    encodings = tokenizer.encode_batch(sentences, is_pretokenized=True)
    ids = chain.from_iterable(encoding.ids for encoding in encodings)
    begins = chain.from_iterable(_begins(encoding.word_ids) for encoding in encodings)
    lengths = np.fromiter(map(len, encodings), np.int32)
    return np.fromiter(ids, np.int32), lengths, np.fromiter(begins, np.int32)


def stripped_pieces(sentences: list[list[str]], tokenizer: Tokenizer, max_length: int) -> Pieces:
    """The same without the mark of a space, as XGLUE's baseline does for Thai and Chinese.

    Those are written without spaces, so that the first piece of a word is often the mark alone and
    would carry the label. Pieces are looked up again without it; what is not in the vocabulary is
    unknown, what is nothing else is dropped.
    """
    tokenizer.no_truncation()
    unknown = tokenizer.token_to_id("<unk>")
    empty = tokenizer.encode([], is_pretokenized=True, add_special_tokens=True).ids
    first, last = empty[:1], empty[1:]
    ids: list[int] = []
    begins: list[int] = []
    lengths: list[int] = []
    for encoding in tokenizer.encode_batch(
        sentences, is_pretokenized=True, add_special_tokens=False
    ):
        kept = [
            (tokenizer.token_to_id(piece), number)
            for token, number in zip(encoding.tokens, encoding.word_ids, strict=True)
            if (piece := token.replace(_MARK, ""))
        ][: max_length - len(empty)]
        ids += [*first, *(unknown if found is None else found for found, _ in kept), *last]
        begins += [-1, *_begins([number for _, number in kept]), -1]
        lengths.append(len(kept) + len(empty))
    return np.array(ids, np.int32), np.array(lengths, np.int32), np.array(begins, np.int32)


def _begins(numbers: list[int | None]) -> list[int]:
    """The number of a word where it begins, -1 at its other pieces and at special ones."""
    before = [None, *numbers]
    return [
        -1 if number is None or number == last else number
        for number, last in zip(numbers, before, strict=False)
    ]
