"""Some rows of a file: which ones, and that they are the same everywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignreg_jax.data.schema import Split
from alignreg_jax.data.subset import draw


def numbered(rows, pair=False):
    texts = [str(row) for row in range(rows)]
    labels = np.arange(rows, dtype=np.int32)
    return Split(texts, [f"{row}b" for row in texts] if pair else None, labels, "en.test")


def test_a_sorted_file_gives_every_label_its_share():
    """The first rows would all have the first label."""
    labels = np.repeat(np.arange(4, dtype=np.int32), 100)
    split = Split(["text"] * 400, None, labels, "en.test")
    counts = np.bincount(draw(split, 200).labels, minlength=4)
    assert counts.sum() == 200
    assert counts.min() >= 35
    assert 0.45 < counts[:2].sum() / 200 < 0.55


@given(st.integers(1, 60), st.integers(0, 70), st.integers(0, 70), st.booleans())
def test_rows_keep_their_order_and_a_smaller_draw_is_part_of_a_larger(rows, few, many, pair):
    few, many = sorted((few or rows, many or rows))
    split = numbered(rows, pair)
    small, large = draw(split, few), draw(split, many)
    assert small.rows == min(few, rows)
    assert small.labels.tolist() == sorted(small.labels)
    assert small.text_a == [str(row) for row in small.labels]
    assert small.text_b == ([f"{row}b" for row in small.labels] if pair else None)
    assert set(small.text_a) <= set(large.text_a)
    assert draw(split, 0) is split


def test_parallel_files_give_the_same_rows():
    german = Split([f"de {row}" for row in range(50)], None, np.zeros(50, np.int32), "de.test")
    rows = draw(numbered(50), 10).text_a
    assert [text.removeprefix("de ") for text in draw(german, 10).text_a] == rows
    assert rows == draw(numbered(50), 10).text_a


def test_tags_go_with_their_sentences():
    sentences = [["a"] * (1 + row % 3) for row in range(30)]
    labels = np.concatenate([np.full(len(words), row) for row, words in enumerate(sentences)])
    split = Split(sentences, None, labels.astype(np.int32), "en.test")
    part = draw(split, 7)
    assert part.rows == 7
    kept = sorted(set(part.labels.tolist()))
    assert part.text_a == [sentences[row] for row in kept]
    assert part.labels.tolist() == [row for row in kept for _ in sentences[row]]


@pytest.mark.parametrize("rows", [1, 5, 9, 20])
def test_a_query_is_whole_or_absent(rows):
    sizes = [3, 1, 4, 2, 5, 3, 2]
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    part = draw(numbered(20), rows, starts)
    query = np.repeat(np.arange(7), sizes)
    taken = {int(query[row]) for row in part.labels}
    assert part.labels.tolist() == [row for row in range(20) if query[row] in taken]
    assert rows <= part.rows < rows + 5
