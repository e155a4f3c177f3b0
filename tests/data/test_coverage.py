"""What tokenising cost a language is said."""

import numpy as np

from alignreg_jax.data.coverage import notes
from alignreg_jax.data.encoding import Encoded

UNKNOWN = 3


def rows(*pieces):
    """Rows of the given pieces, `<s>` and `</s>` around them."""
    full = [[0, *row, 2] for row in pieces]
    lengths = np.array([len(row) for row in full], np.int32)
    ids = np.array([piece for row in full for piece in row], np.int32)
    offsets = (np.cumsum(lengths) - lengths).astype(np.int32)
    return Encoded(ids, offsets, lengths, np.zeros(len(full), np.int32))


def said(unknown=UNKNOWN, max_length=8, **encoded):
    return notes(encoded, unknown, max_length, special=2)


def test_the_share_of_unknown_pieces_is_of_the_text_alone():
    (line,) = said(ja=rows([3, 3, 3, 7]), en=rows([7, 8, 9]))
    assert "ja 75%" in line
    assert "en" not in line.split(":")[1].split(";")[0]


def test_a_few_unknown_pieces_are_nothing_to_say():
    assert said(en=rows([3, *[7] * 4], *[[8] * 5] * 5)) == []  # 1 of 30


def test_rows_at_the_limit_are_told_as_maybe_cut():
    (line,) = said(sw=rows([7] * 6, [7] * 2), en=rows([7] * 5))
    assert "task.max_length=8" in line
    assert "sw 50%" in line
    assert "en " not in line.split(":")[1]


def test_the_hardest_hit_come_first_and_a_long_list_is_shortened():
    hit = {f"l{index}": rows([3] * index + [7] * (10 - index)) for index in range(1, 11)}
    (line,) = notes(hit, UNKNOWN, 99, special=2)
    assert line.index("l10 100%") < line.index("l9 90%")
    assert "and 2 more" in line


def test_no_unknown_piece_and_no_rows_are_no_trouble():
    assert said(unknown=None, en=rows([3, 3])) == []
    assert said(en=rows()) == []
