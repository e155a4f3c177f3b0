"""What is odd in data that can be used all the same: it is told, and nothing is changed."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from alignreg_jax.data.names import look_alikes
from alignreg_jax.data.schema import Split, Texts

COPIED = 0.5  # share of texts that are English's; names and numbers alone are far fewer
SHOWN = 60  # characters of a text


def notes(labels: Sequence[str], train: Split, *evaluated: Mapping[str, Split]) -> list[str]:
    """Return lines for the log.

    On labels that look alike, rows without text, texts of the training data that have more than one
    label, English rows that are trained on and evaluated, and files that are English's under
    another name.

    Args:
        labels: of the data set.
        train: English training rows.
        evaluated: of dev and of test, language -> rows.
    """
    said = look_alikes(labels)
    for rows in (train, *(rows for languages in evaluated for rows in languages.values())):
        said += blank(rows)
    trained = train.contents
    first: dict[Hashable, Hashable] = {}
    disputed = {
        text: None  # in file order
        for text, answer in zip(trained, _answers(train), strict=True)
        if first.setdefault(text, answer) != answer
    }
    if disputed:
        example = repr(next(iter(disputed)))
        example = example if len(example) <= SHOWN else example[:SHOWN] + "..."
        have = "text has" if len(disputed) == 1 else "texts have"
        said.append(f"{train.origin}: {len(disputed):,} {have} more than one label: {example}")
    for languages in evaluated:
        english = {*first, *(languages["en"].contents if "en" in languages else ())}
        for language, rows in languages.items():
            known = first if language == "en" else english
            shared = sum(text in known for text in rows.contents)
            of = f"{shared:,} of the {rows.rows:,} rows of {rows.origin}"
            if language == "en" and shared:
                said.append(f"{of} are in {train.origin}, too, and are trained on")
            elif language != "en" and shared > COPIED * rows.rows:
                said.append(f"{of} have English's texts")
    return said


def blank(rows: Split) -> list[str]:
    """A line on rows whose text, or one of two, is empty or white space, or a word of it is."""
    texts = [rows.text_a] if rows.text_b is None else [rows.text_a, rows.text_b]
    found = sorted({number for column in texts for number in _blank_in(column)})
    if not found:
        return []
    have = "row has" if len(found) == 1 else "rows have"
    what = (
        "an empty word" if rows.in_words else "no text" if rows.text_b is None else "an empty text"
    )
    return [f"{rows.origin}: {len(found):,} {have} {what} (first: row {found[0]:,})"]


def _blank_in(texts: Texts) -> list[int]:
    """Numbers of rows, from 1."""
    return [
        number
        for number, text in enumerate(texts, 1)
        if any(not part.strip() for part in ([text] if isinstance(text, str) else text))
    ]


def _answers(split: Split) -> list[Hashable]:
    """A label a row, or the tags of a sentence."""
    if not split.in_words:
        return split.labels.tolist()
    return [tags.tobytes() for tags in np.split(split.labels, np.cumsum(split.words)[:-1])]
