"""Sentences cut into words: which piece carries a word's label."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.data.encoding import concatenate, encode
from alignreg_jax.data.schema import Split

START, END = 0, 2
MARK = "\u2581"
MANY = settings(deadline=None, max_examples=60)
SENTENCES = [
    ["turn", "on", "the", "unbelievablyluminous", "light"],
    ["打开", "厨房", "的", "灯"],
    ["เปิด", "ไฟ"],
    ["stop"],
    ["a", "", " ", "b"],
]
words_ = st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=8), min_size=1, max_size=5)


def split_of(sentences, labels=None):
    count = sum(map(len, sentences))
    numbers = range(count) if labels is None else labels
    return Split(sentences, None, np.array(list(numbers), np.int32), "memory")


def rows_of(encoded, flat):
    ends = encoded.offsets + encoded.lengths
    return [flat[a:b].tolist() for a, b in zip(encoded.offsets, ends, strict=True)]


def by_word(tokenizer, sentence):
    """Pieces of each word tokenised alone, which is what a sentence cut into words is."""
    tokenizer.no_truncation()
    return [
        tokenizer.encode([word], is_pretokenized=True, add_special_tokens=False).ids
        for word in sentence
    ]


def by_hand(tokenizer, sentences, max_length):
    """Ids, labels and words of every row, one piece at a time."""
    rows, first = [], 0
    for sentence in sentences:
        ids, words = [], []
        for number, pieces in enumerate(by_word(tokenizer, sentence)):
            ids += pieces
            words += [first + number, *[-1] * (len(pieces) - 1)] if pieces else []
        ids, words = ids[: max_length - 2], words[: max_length - 2]
        rows.append(([START, *ids, END], [-1, *words, -1]))
        first += len(sentence)
    return rows


@pytest.mark.parametrize("max_length", [64, 6, 4, 3])
def test_first_piece_of_each_word_has_its_label(tokenizer, max_length):
    encoded = encode(split_of(SENTENCES), tokenizer, max_length)
    expected = by_hand(tokenizer, SENTENCES, max_length)
    assert rows_of(encoded, encoded.ids) == [ids for ids, _ in expected]
    assert rows_of(encoded, encoded.words) == [words for _, words in expected]
    np.testing.assert_array_equal(encoded.labels, encoded.words)  # labels are numbered like words
    assert encoded.word_count == 16
    assert encoded.per_token
    assert {array.dtype for array in (encoded.labels, encoded.words)} == {np.dtype(np.int32)}


def test_some_words_have_several_pieces_and_some_none(tokenizer):
    pieces = [len(word) for sentence in SENTENCES for word in by_word(tokenizer, sentence)]
    assert max(pieces) > 1
    assert pieces.count(0) >= 1


@MANY
@given(words_, st.integers(3, 12))
def test_any_words(tokenizer, sentences, max_length):
    encoded = encode(split_of(sentences), tokenizer, max_length)
    expected = by_hand(tokenizer, sentences, max_length)
    assert rows_of(encoded, encoded.ids) == [ids for ids, _ in expected]
    assert rows_of(encoded, encoded.words) == [words for _, words in expected]
    assert encoded.word_count == sum(map(len, sentences))


def test_labels_come_from_the_split(tokenizer):
    labels = np.arange(16)[::-1] % 5
    encoded = encode(split_of(SENTENCES, labels), tokenizer, 64)
    begins = encoded.words >= 0
    np.testing.assert_array_equal(encoded.labels[begins], labels[encoded.words[begins]])
    assert (encoded.labels[~begins] == -1).all()


# ---- Without the mark of a space ---------------------------------------------------------------


@pytest.mark.parametrize("max_length", [64, 6, 4])
def test_stripped_pieces_are_looked_up_without_the_mark(tokenizer, max_length):
    encoded = encode(split_of(SENTENCES), tokenizer, max_length, strip_space_marker=True)
    first = 0
    for row, sentence in enumerate(SENTENCES):
        ids, words = [], []
        for number, pieces in enumerate(by_word(tokenizer, sentence)):
            bare = [tokenizer.id_to_token(piece).replace(MARK, "") for piece in pieces]
            found = [tokenizer.token_to_id(piece) for piece in bare if piece]
            ids += [3 if piece is None else piece for piece in found]  # 3 is <unk>
            words += [first + number, *[-1] * (len(found) - 1)] if found else []
        room = max_length - 2
        assert rows_of(encoded, encoded.words)[row] == [-1, *words[:room], -1]
        assert rows_of(encoded, encoded.ids)[row] == [START, *ids[:room], END]
        first += len(sentence)


def test_the_mark_alone_carries_no_label_once_it_is_stripped(tokenizer):
    mark = tokenizer.token_to_id(MARK)
    plain = encode(split_of([["打开", "灯"]]), tokenizer, 64)
    stripped = encode(split_of([["打开", "灯"]]), tokenizer, 64, strip_space_marker=True)
    assert mark in plain.ids[plain.words >= 0]
    assert mark not in stripped.ids
    assert (stripped.words >= 0).sum() == 2


# ---- Cache, and several splits -----------------------------------------------------------------


def assert_same(one, other):
    for name in ("ids", "offsets", "lengths", "labels", "words"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.word_count == other.word_count


def test_cache_gives_the_same(tokenizer, tmp_path):
    first = encode(split_of(SENTENCES), tokenizer, 6, cache_dir=tmp_path)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    assert_same(first, encode(split_of(SENTENCES), tokenizer, 6, cache_dir=tmp_path))
    assert file.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "changed",
    [
        lambda: split_of([["tu", "rn"], *SENTENCES[1:]], range(13)),
        lambda: split_of([*SENTENCES[:3], ["sto", "p"], *SENTENCES[4:]], range(17)),
        lambda: split_of(SENTENCES, [7] * 16),
    ],
    ids=["words", "boundaries", "labels"],
)
def test_cache_tells_splits_apart(tokenizer, tmp_path, changed):
    encode(split_of(SENTENCES), tokenizer, 64, cache_dir=tmp_path)
    cached = encode(changed(), tokenizer, 64, cache_dir=tmp_path)
    assert_same(cached, encode(changed(), tokenizer, 64))


def test_cache_tells_stripped_pieces_apart(tokenizer, tmp_path):
    encode(split_of(SENTENCES), tokenizer, 64, cache_dir=tmp_path)
    cached = encode(split_of(SENTENCES), tokenizer, 64, cache_dir=tmp_path, strip_space_marker=True)
    assert_same(cached, encode(split_of(SENTENCES), tokenizer, 64, strip_space_marker=True))


def test_a_cache_whose_words_do_not_fit_is_replaced(tokenizer, tmp_path):
    right = encode(split_of(SENTENCES), tokenizer, 64, cache_dir=tmp_path)
    (file,) = tmp_path.iterdir()
    with np.load(file) as stored:
        content = dict(stored)
    content["begins"] = np.where(content["begins"] >= 0, 99, -1).astype(np.int32)
    np.savez(file, **content)
    assert_same(right, encode(split_of(SENTENCES), tokenizer, 64, cache_dir=tmp_path))


def test_joined_splits_number_their_words_on(tokenizer):
    whole = encode(split_of(SENTENCES), tokenizer, 64)
    first = encode(split_of(SENTENCES[:2]), tokenizer, 64)
    second = encode(split_of(SENTENCES[2:], range(9, 16)), tokenizer, 64)
    assert_same(whole, concatenate([first, second]))
    assert_same(whole, replace(whole))
