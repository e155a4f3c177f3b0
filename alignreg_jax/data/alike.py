"""What of a text is compared where two that a reader would call the same should be equal."""

import sys
import unicodedata
from functools import cache


def visible(text: str) -> str:
    """Return a text without differences in white space, case, code points and invisible letters."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(filter(_is_visible, plain)).split())


def wording(text: str) -> str:
    """Return what `visible` does, without punctuation; of nothing but punctuation, all of it."""
    seen = visible(text)
    return " ".join(seen.translate(_punctuation()).split()) or seen


def _is_visible(letter: str) -> bool:
    return unicodedata.category(letter) != "Cf"


@cache
def _punctuation() -> dict[int, None]:
    """Every mark of punctuation, in the form that `str.translate` takes."""
    marks = range(sys.maxunicode + 1)
    return {code: None for code in marks if unicodedata.category(chr(code)).startswith("P")}
