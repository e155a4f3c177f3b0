"""Sentences a word a line, `word tag`, blank lines between them: NER and POS of XGLUE.

Tags are taken as they are: XGLUE's English and German entities are IOB1, its Spanish and Dutch ones
IOB2, and its scores are over these. A word may hold spaces, as Vietnamese ones of Universal
Dependencies do; other columns (CoNLL-2003's part of speech and phrase) may not stand between.
"""

from pathlib import Path
from sys import intern

from alignreg_jax.data.lines import Progress, numbered, silent
from alignreg_jax.data.schema import Rows
from alignreg_jax.errors import UserError

DOCUMENT = "-DOCSTART-"  # begins a document in CoNLL's own files; no word
WHITE = " \t"  # and not U+00A0, which is part of a word: "1 000" with it is one

_COLUMNS = "has more columns than a word and a tag"


def read(path: Path, *, unlabelled: bool = False, progress: Progress = silent) -> Rows:
    """Return the sentences of a file; the last one needs no blank line behind it.

    Args:
        path: the file. The last field of a line is the tag, the word is what stands before it; of
            a line with tabs these alone part fields.
        unlabelled: whether lines may be words alone, all of them or none; labels are then None.
        progress: told the bytes.

    Raises:
        UserError: with file:line for a line without a word or tag or with more columns, and as
            `lines.numbered`.
    """
    sentences: list[list[str]] = []
    tags: list[list[str]] = []
    begins: list[int] = []
    bare = 0  # line of the first word without a tag
    wide = 0  # line of the first word with spaces, as long as every word has some
    tagged = inside = False
    for number, line in numbered(path, progress):
        line = line.rstrip(WHITE + "\r")  # a return before a space is still the line's end
        if not line or line.startswith(DOCUMENT):
            inside = False
            continue
        word, tag = _split(line)
        if not word:
            raise UserError(f"{path}:{number}: should be a word, a space and a tag")
        if "\t" in word:
            raise UserError(f"{path}:{number}: {_COLUMNS}")
        if wide >= 0:
            wide = (wide or number) if " " in word and "\t" not in line else -1
        if tag is None:
            bare = bare or number
        else:
            tagged = True
        if bare and (tagged or not unlabelled):
            raise UserError(f"{path}:{bare}: the word has no tag")
        if not inside:
            inside = True
            sentences.append([])
            tags.append([])
            begins.append(number)
        sentences[-1].append(word)
        if tag is not None:
            tags[-1].append(intern(tag))
    if not sentences:
        raise UserError(f"{path}:1: the file has no sentences")
    if wide > 0:
        raise UserError(f"{path}:{wide}: {_COLUMNS}, and so have all other lines")
    return Rows(sentences, None, None if bare else tags, str(path), begins, word_a_line=True)


def _split(line: str) -> tuple[str, str | None]:
    """Word and tag; the tag is None where there is but one field."""
    place = max(line.rfind(white) for white in WHITE)
    if place < 0:
        return line, None
    return line[:place].rstrip(WHITE), line[place + 1 :]
