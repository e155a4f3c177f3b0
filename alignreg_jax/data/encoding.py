"""From texts to token ids, once: tokenised in batches, kept flat, cached on disk.

`tokenizers` alone does the work, from the checkpoint's tokenizer.json as it is. Its post-processor
writes `<s> A </s>` and, for a pair, `<s> A </s></s> B </s>`; texts that are too long are cut
longest first, as in the code whose settings the paper copies.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import tokenizers
from jaxtyping import Int32
from tokenizers import Tokenizer

from alignreg_jax.data import words
from alignreg_jax.data.schema import Split
from alignreg_jax.data.words import Pieces
from alignreg_jax.errors import UserError

# Tokenised at once: bounds memory (0.1 MB a row of a page, 270 bytes a character of longer ones),
# paces the progress
ROWS_PER_CHUNK = 512
CHARACTERS_PER_CHUNK = 2**20


@dataclass(frozen=True, eq=False)
class Encoded:
    """Tokenised rows without padding: row i is `ids[offsets[i] : offsets[i] + lengths[i]]`.

    Attributes:
        ids: pieces of all rows, end to end.
        offsets: where each row begins.
        lengths: pieces in each row.
        labels: one a row; in token tasks one a piece, that of the word that begins there, or -1.
        words: in token tasks the number of the word, counted over all sentences, that begins at a
            piece, or -1; a word that was cut off, or that has no piece, is nowhere. Else None.
        word_count: words in all sentences, lost ones included.
    """

    ids: Int32[np.ndarray, " tokens"]
    offsets: Int32[np.ndarray, " rows"]
    lengths: Int32[np.ndarray, " rows"]
    labels: Int32[np.ndarray, " rows_or_tokens"]
    words: Int32[np.ndarray, " tokens"] | None = None
    word_count: int = 0

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.lengths)

    @property
    def per_token(self) -> bool:
        """Whether pieces have labels, not rows."""
        return self.words is not None


def load_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    """Read tokenizer.json from a model folder.

    Args:
        folder: the checkpoint's folder.
        vocab_size: rows of the word embedding.

    Raises:
        UserError: no such file, not a tokenizer, ids beyond the embedding (which a gather would
            clamp in silence), or not XLM-R's special tokens.
    """
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            f"{path}: missing; the encoder's own is required (transformers makes one of a "
            "sentencepiece model: AutoTokenizer.from_pretrained(folder).save_pretrained(folder))"
        )
    try:
        tokenizer = Tokenizer.from_buffer(path.read_bytes())  # from_file takes UTF-8 paths alone
    except Exception as error:  # the library raises nothing narrower
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a tokenizer ({reason})") from error
    last = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if last >= vocab_size:
        raise UserError(
            f"{path}: has ids up to {last}, but the model's embedding has {vocab_size} rows; "
            "tokenizer and model are not of one checkpoint"
        )
    if [tokenizer.num_special_tokens_to_add(pair) for pair in (False, True)] != [2, 4]:
        raise UserError(f"{path}: does not write <s> A </s></s> B </s>, so it is not XLM-R's")
    return tokenizer


def encode(
    split: Split,
    tokenizer: Tokenizer,
    max_length: int,
    *,
    cache_dir: Path | None = None,
    progress: Callable[[int], object] | None = None,
    strip_space_marker: bool = False,
) -> Encoded:
    """Tokenise a split, or read it from the cache.

    The tokenizer's truncation and padding are set to what is needed here. A cache that cannot be
    written costs time, not the run; a damaged file in it is replaced.

    Args:
        split: rows; file order is kept.
        tokenizer: from `load_tokenizer`.
        max_length: most tokens of a row, special tokens included.
        cache_dir: where to cache, usually `default_cache_dir()`; None: nowhere.
        progress: told the number of rows done since the last call.
        strip_space_marker: of words, take the mark of a space off every piece (words.py).

    Raises:
        UserError: `max_length` leaves no room for text, or there are 2**31 tokens or more.
    """
    special = tokenizer.num_special_tokens_to_add(split.text_b is not None)
    least = special + (1 if split.text_b is None else 2)
    if max_length < least:
        raise UserError(f"task.max_length={max_length}: at least {least}, {special} are special")
    key = _key(split, tokenizer, max_length, strip_space_marker)
    path = None if cache_dir is None else cache_dir / f"{key}.npz"
    encoded = None if path is None else _read(path, split)
    if encoded is not None:
        if progress is not None:
            progress(encoded.rows)
        return encoded
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    parts: list[Pieces] = []
    for texts in _chunks(split):
        if not split.in_words:
            parts.append(_pieces(texts, tokenizer))
        elif strip_space_marker:
            parts.append(words.stripped_pieces(texts, tokenizer, max_length))
        else:
            parts.append(words.word_pieces(texts, tokenizer))
        if progress is not None:
            progress(len(texts))
    ids, lengths, begins = (
        np.concatenate([np.empty(0, np.int32), *(part[index] for part in parts)])
        for index in range(3)
    )
    encoded = _encoded(split, ids, lengths, begins)
    if path is not None:
        _write(path, ids, lengths, begins)
    return encoded


def _pieces(texts: list, tokenizer: Tokenizer) -> Pieces:
    encodings = tokenizer.encode_batch_fast(texts)
    ids = chain.from_iterable(encoding.ids for encoding in encodings)
    lengths = np.fromiter(map(len, encodings), np.int32)
    return np.fromiter(ids, np.int32), lengths, np.empty(0, np.int32)


def _encoded(split: Split, ids: np.ndarray, lengths: np.ndarray, begins: np.ndarray) -> Encoded:
    """`begins`: in token tasks, per piece the number of a word in its own sentence, or -1."""
    if not split.in_words:
        return _ragged(ids, lengths, split.labels)
    counts = split.words
    firsts = np.repeat(np.cumsum(counts) - counts, lengths)
    numbers = np.where(begins >= 0, begins + firsts, -1).astype(np.int32)
    labels = np.where(begins >= 0, split.labels[numbers], -1).astype(np.int32)
    return replace(_ragged(ids, lengths, labels), words=numbers, word_count=int(counts.sum()))


def concatenate(parts: Sequence[Encoded]) -> Encoded:
    """Join data sets, rows in order; UserError from 2**31 tokens on."""

    def join(arrays: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate([np.empty(0, np.int32), *arrays])

    joined = _ragged(
        join(part.ids for part in parts),
        join(part.lengths for part in parts),
        join(part.labels for part in parts),
    )
    numbered = [part.words for part in parts if part.words is not None]
    if not numbered:
        return joined
    counts = [part.word_count for part in parts]
    firsts = np.cumsum([0, *counts])
    shifted = [
        np.where(numbers >= 0, numbers + first, -1).astype(np.int32)
        for numbers, first in zip(numbered, firsts, strict=False)
    ]
    return replace(joined, words=join(shifted), word_count=sum(counts))


def _ragged(ids: np.ndarray, lengths: np.ndarray, labels: np.ndarray) -> Encoded:
    ends = np.cumsum(lengths, dtype=np.int64)
    if len(ids) >= 2**31:
        raise UserError(f"the data have {len(ids)} tokens, more than 32-bit offsets can address")
    return Encoded(ids, (ends - lengths).astype(np.int32), lengths, labels)


def _chunks(split: Split) -> Iterator[list]:
    texts: list = split.text_a
    if split.text_b is not None:
        texts = list(zip(split.text_a, split.text_b, strict=True))
    chunk: list = []
    size = 0
    for text in texts:
        length = len(text) if isinstance(text, str) else sum(map(len, text))
        if chunk and (len(chunk) == ROWS_PER_CHUNK or size + length > CHARACTERS_PER_CHUNK):
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += length
    if chunk:
        yield chunk


def _key(split: Split, tokenizer: Tokenizer, max_length: int, stripped: bool) -> str:
    """Digest everything the ids depend on, and the labels beside them."""
    kind = f"words {stripped} " if split.in_words else ""
    digest = hashlib.sha256(f"1 {kind}{tokenizers.__version__} {max_length} ".encode())
    digest.update(_digest(tokenizer))
    for texts in (split.text_a, split.text_b):
        digest.update(b"none" if texts is None else np.array([len(t) for t in texts]).tobytes())
        if split.in_words:
            texts = list(chain.from_iterable(texts or ()))
            digest.update(np.array([len(word) for word in texts]).tobytes())
        parts: list = list(texts or ())
        for start in range(0, len(parts), ROWS_PER_CHUNK):  # not at once: they may be a gigabyte
            digest.update("".join(parts[start : start + ROWS_PER_CHUNK]).encode())
    digest.update(split.labels.tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _digest(tokenizer: Tokenizer) -> bytes:
    """Digest a tokenizer, whatever truncation and padding it was left with; 0.2 s for XLM-R's."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return hashlib.sha256(tokenizer.to_str().encode()).digest()


def _read(path: Path, split: Split) -> Encoded | None:
    """Return what the cache holds, or None if it holds nothing sound."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            ids, lengths = stored["ids"], stored["lengths"]
            begins = stored["begins"] if split.in_words else np.empty(0, np.int32)
    except Exception:  # absent, cut short, not a zip, a failed checksum: tokenise again
        return None
    whole = len(lengths) == split.rows and lengths.sum(dtype=np.int64) == len(ids)
    if not whole or {ids.dtype, lengths.dtype, begins.dtype} != {np.dtype(np.int32)}:
        return None
    if split.in_words and not (
        len(begins) == len(ids)
        and np.all(begins < np.repeat(split.words, lengths))
        and np.all(begins >= -1)
    ):
        return None
    return _encoded(split, ids, lengths, begins)


def _write(path: Path, ids: np.ndarray, lengths: np.ndarray, begins: np.ndarray) -> None:
    """Store by atomic rename, so that a reader never meets half a file.

    The umask says who may read it: a cache may be shared, and tempfile's files would be ours alone.
    """
    temporary = path.with_name(f"{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            np.savez(file, ids=ids, lengths=lengths, begins=begins)
        temporary.replace(path)
    except OSError:
        pass  # read-only or full: the next run tokenises again
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
