"""Lists of words, as they are published."""

import sys

import pytest

from alignreg_jax.compress import word_lists
from alignreg_jax.errors import UserError


def read(folder, content):
    (folder / "de.txt").write_text(content, encoding="utf-8")
    return word_lists.words(["de"], folder)["de"]


@pytest.mark.parametrize("between", ["\t", " ", "   "])
def test_a_number_stands_behind_a_tab_or_a_space(tmp_path, between):
    found = read(tmp_path, f"der{between}123456\n\nund{between}1.5\n")
    assert found == {"der": 123456.0, "und": 1.5}
    assert list(read(tmp_path, "der\n und \n")) == ["der", "und"]


@pytest.mark.parametrize(
    "line", ["der viel", "guten Tag\t5", "der\t5\t6", "der -1", "der nan", "der inf", "der\t1,000"]
)
def test_what_is_no_word_and_number_is_named(tmp_path, line):
    with pytest.raises(UserError, match=r"de\.txt:2: should be a word, or a word and a number"):
        read(tmp_path, f"und\t7\n{line}\n")


def test_without_lists_and_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    with pytest.raises(UserError, match=r"pip install 'alignreg_jax\[vocabulary\]'"):
        word_lists.words(["en"])
