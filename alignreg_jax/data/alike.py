"""What of a text is compared where two that a reader would call the same should be equal."""

import unicodedata


def visible(text: str) -> str:
    """Return a text without differences in white space, case, code points and invisible letters."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    seen = (letter for letter in plain if unicodedata.category(letter) != "Cf")
    return " ".join("".join(seen).split())


def wording(text: str) -> str:
    """Return what `visible` does, without punctuation and any white space.

    A text reads the same whether it is cut into words or not, and with a hyphen or a space. Of
    nothing but punctuation all of it is returned.
    """
    seen = "".join(visible(text).split())
    said = (letter for letter in seen if not unicodedata.category(letter).startswith("P"))
    return "".join(said) or seen
