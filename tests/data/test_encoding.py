import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.data import encoding
from alignreg_jax.data.encoding import concatenate, encode, load_tokenizer
from alignreg_jax.data.schema import Split
from alignreg_jax.errors import UserError
from alignreg_jax.support.caches import default_cache_dir

START, END = 0, 2
MANY = settings(deadline=None, max_examples=60)

TEXTS = ["turn on the kitchen light", "", "включи свет", "打开厨房的灯", "a\u2028b  c", "stop"]
texts = st.lists(st.text(max_size=30), max_size=6)


def split_of(first, second=None, labels=None):
    numbers = range(len(first)) if labels is None else labels
    return Split(list(first), second, np.array(list(numbers), np.int32), "memory")


def rows_of(encoded):
    ends = encoded.offsets + encoded.lengths
    return [encoded.ids[a:b].tolist() for a, b in zip(encoded.offsets, ends, strict=True)]


def pieces(tokenizer, text):
    """The ids of a text alone, cut nowhere, without special tokens."""
    tokenizer.no_truncation()
    return tokenizer.encode(text, add_special_tokens=False).ids


def cut_longest_first(first, second, room):
    """Drop pieces one by one from the longer text; of two equal ones the one that was longer,
    or else the second, keeps the odd piece."""
    keep = [len(first), len(second)]
    favourite = 0 if len(first) > len(second) else 1
    while sum(keep) > room:
        longer = 1 - favourite if keep[0] == keep[1] else int(keep[1] > keep[0])
        keep[longer] -= 1
    return first[: keep[0]], second[: keep[1]]


def assert_same(one, other):
    for name in ("ids", "offsets", "lengths", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == np.int32


def test_rows_are_flat_and_in_order(tokenizer):
    encoded = encode(split_of(TEXTS, labels=[3, 1, 4, 1, 5, 9]), tokenizer, 32)
    assert encoded.rows == 6
    assert encoded.labels.tolist() == [3, 1, 4, 1, 5, 9]
    assert rows_of(encoded) == [[START, *pieces(tokenizer, text), END] for text in TEXTS]
    assert rows_of(encoded)[1] == [START, END]


@MANY
@given(texts, st.integers(3, 12))
def test_a_long_text_loses_its_end(tokenizer, first, max_length):
    encoded = encode(split_of(first), tokenizer, max_length)
    expected = [[START, *pieces(tokenizer, text)[: max_length - 2], END] for text in first]
    assert rows_of(encoded) == expected


@MANY
@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=5), st.data())
def test_a_long_pair_is_cut_longest_first(tokenizer, pairs, data):
    max_length = data.draw(st.integers(6, 24))
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    encoded = encode(split_of(first, second), tokenizer, max_length)
    expected = []
    for text, other in pairs:
        a, b = pieces(tokenizer, text), pieces(tokenizer, other)
        a, b = cut_longest_first(a, b, max_length - 4)
        expected.append([START, *a, END, END, *b, END])
    assert rows_of(encoded) == expected


def test_padding_saved_with_a_tokenizer_is_not_used(tokenizer_json, tmp_path):
    (tmp_path / "tokenizer.json").write_text(tokenizer_json)
    padded = load_tokenizer(tmp_path, 10092)
    plain = encode(split_of(TEXTS), padded, 32)
    padded.enable_padding(pad_id=1, pad_token="<pad>", length=16)
    assert_same(encode(split_of(TEXTS), padded, 32), plain)


def test_chunks_do_not_show(tokenizer, monkeypatch):
    whole = encode(split_of(TEXTS), tokenizer, 32)
    monkeypatch.setattr(encoding, "ROWS_PER_CHUNK", 4)
    done = []
    assert_same(encode(split_of(TEXTS), tokenizer, 32, progress=done.append), whole)
    assert done == [4, 2]


def test_joined_parts_keep_their_rows(tokenizer):
    parts = [encode(split_of(TEXTS[:n], labels=[n] * n), tokenizer, 32) for n in (2, 0, 3)]
    joined = concatenate(parts)
    assert rows_of(joined) == [row for part in parts for row in rows_of(part)]
    assert joined.labels.tolist() == [2, 2, 3, 3, 3]
    assert concatenate([]).rows == 0


def test_more_tokens_than_offsets_can_address_are_refused():
    ids = np.broadcast_to(np.int32(0), 2**31)
    with pytest.raises(UserError, match="2147483648 tokens"):
        encoding._ragged(ids, np.array([2**31 - 1, 1], np.int32), np.zeros(2, np.int32))


def test_too_little_room_for_text_is_an_error(tokenizer):
    with pytest.raises(UserError, match="max_length=2: at least 3"):
        encode(split_of(["a"]), tokenizer, 2)
    with pytest.raises(UserError, match="max_length=5: at least 6"):
        encode(split_of(["a"], ["b"]), tokenizer, 5)


# Cache


def only_file(folder):
    (path,) = folder.iterdir()
    return path


def test_the_cache_is_read_the_second_time(tokenizer, tmp_path):
    split = split_of(TEXTS)
    first = encode(split, tokenizer, 32, cache_dir=tmp_path)
    assert_same(encode(split, tokenizer, 32, cache_dir=tmp_path), first)
    np.savez(only_file(tmp_path), ids=first.ids + 1, lengths=first.lengths)
    done = []
    again = encode(split, tokenizer, 32, cache_dir=tmp_path, progress=done.append)
    np.testing.assert_array_equal(again.ids, first.ids + 1)
    assert done == [6]


def test_whatever_changes_the_ids_changes_the_key(tokenizer, tokenizer_json, tmp_path):
    (tmp_path / "model").mkdir()
    settings_of = json.loads(tokenizer_json)
    settings_of["normalizer"] = {"type": "Lowercase"}
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(settings_of))
    other = load_tokenizer(tmp_path / "model", 10092)
    cases = [
        (split_of(["ab", "c"]), tokenizer, 32),
        (split_of(["a", "bc"]), tokenizer, 32),
        (split_of(["ab", "c"], labels=[1, 1]), tokenizer, 32),
        (split_of(["ab", "c"], ["", ""]), tokenizer, 32),
        (split_of(["ab", "c"]), tokenizer, 33),
        (split_of(["ab", "c"]), other, 32),
    ]
    for count, (split, used, max_length) in enumerate(cases, start=1):
        encode(split, used, max_length, cache_dir=tmp_path / "cache")
        assert len(list((tmp_path / "cache").iterdir())) == count
    for split, used, max_length in cases:  # nor do earlier settings of the tokenizer change it
        encode(split, used, max_length, cache_dir=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == len(cases)


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    middle = content.index(b"ids.npy") + 150
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda _: b"", lambda _: b"not a zip"])
def test_a_damaged_cache_file_is_replaced(tokenizer, tmp_path, damage):
    split = split_of(TEXTS)
    first = encode(split, tokenizer, 32, cache_dir=tmp_path)
    path = only_file(tmp_path)
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    assert_same(encode(split, tokenizer, 32, cache_dir=tmp_path), first)
    with np.load(only_file(tmp_path)) as stored:
        np.testing.assert_array_equal(stored["ids"], first.ids)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ids": np.zeros(3, np.int32)},
        {"lengths": np.zeros(1, np.int32)},
        {"ids": np.zeros(3, np.float32)},
    ],
)
def test_a_cache_file_that_does_not_fit_is_replaced(tokenizer, tmp_path, wrong):
    split = split_of(TEXTS)
    first = encode(split, tokenizer, 32, cache_dir=tmp_path)
    np.savez(only_file(tmp_path), **({"ids": first.ids, "lengths": first.lengths} | wrong))
    assert_same(encode(split, tokenizer, 32, cache_dir=tmp_path), first)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tokenizer, tmp_path):
    (tmp_path / "file").write_text("")
    encoded = encode(split_of(TEXTS), tokenizer, 32, cache_dir=tmp_path / "file" / "cache")
    assert_same(encoded, encode(split_of(TEXTS), tokenizer, 32))


def test_a_full_disk_leaves_nothing_behind(tokenizer, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert encode(split_of(TEXTS), tokenizer, 32, cache_dir=tmp_path).rows == 6
    assert list(tmp_path.iterdir()) == []


def test_the_cache_folder_is_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("ALIGNREG_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("ALIGNREG_CACHE")
    assert default_cache_dir() == Path.home() / ".cache" / "alignreg_jax"


# Tokenizers that do not fit


def test_ids_beyond_the_embedding_are_refused(tokenizer_json, tmp_path):
    (tmp_path / "tokenizer.json").write_text(tokenizer_json)
    load_tokenizer(tmp_path, 10092)
    with pytest.raises(UserError, match=r"ids up to 10091, but .* 10091 rows"):
        load_tokenizer(tmp_path, 10091)


def test_a_missing_or_broken_tokenizer_is_named(tmp_path):
    with pytest.raises(UserError, match=r"tokenizer\.json: missing"):
        load_tokenizer(tmp_path, 10)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer\.json: not a tokenizer"):
        load_tokenizer(tmp_path, 10)


def test_a_tokenizer_with_other_special_tokens_is_refused(tokenizer_json, tmp_path):
    changed = json.loads(tokenizer_json)
    changed["post_processor"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match="not XLM-R's"):
        load_tokenizer(tmp_path, 10092)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_the_umask_says_who_may_read_the_cache(tokenizer, tmp_path, umask):
    before = os.umask(umask)
    try:
        encode(split_of(["a text"]), tokenizer, 16, cache_dir=tmp_path / "cache")
    finally:
        os.umask(before)
    (path,) = (tmp_path / "cache").iterdir()
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert path.parent.stat().st_mode & 0o777 == 0o777 & ~umask


def test_long_rows_are_tokenised_in_smaller_batches(tokenizer, monkeypatch):
    """Memory follows characters, not rows; the pieces are those of one batch."""
    rows = split_of(["on", "turn it on " * 6, "off", "", "the light", "turn"] * 3)
    whole = encode(rows, tokenizer, 16)
    sizes = []
    monkeypatch.setattr(encoding, "CHARACTERS_PER_CHUNK", 40)
    monkeypatch.setattr(encoding, "ROWS_PER_CHUNK", 3)
    parts = encode(rows, tokenizer, 16, progress=sizes.append)
    assert rows_of(parts) == rows_of(whole)
    assert sizes == [1, 1, 3, 2, 1, 3, 2, 1, 3, 1]
    assert sum(sizes) == 18
