"""Texts that a reader would call the same are equal, and others are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignreg_jax.data.alike import wording


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("on / off", "on/off"),
        ("a well known place", "a well-known place"),
        ("I can't go, now.", "I can 't go , now ."),
        ("我爱北京。", "我 爱 北京 。"),
        ("? !", "?!"),
    ],
)
def test_white_space_and_punctuation_do_not_count(one, other):
    assert wording(one) == wording(other)


def test_texts_of_punctuation_alone_are_not_all_the_same():
    assert wording("?!") == "?!" != wording("...")
    assert wording(" ") == ""


@given(st.text(), st.sampled_from(["", " ", "!", "\u200b", "\n"]))
def test_wording_does_not_see_what_a_reader_would_not(text, more):
    letters = "x" + text + "y"
    assert wording(letters + more) == wording(more + letters) == wording(letters)
