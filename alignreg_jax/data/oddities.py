"""What is odd in data that can be used all the same: it is told, and nothing is changed."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from alignreg_jax.data.names import look_alikes
from alignreg_jax.data.schema import Split

COPIED = 0.5  # share of texts that are English's; names and numbers alone are far fewer
SHOWN = 60  # characters of a text


def notes(labels: Sequence[str], train: Split, *evaluated: Mapping[str, Split]) -> list[str]:
    """Return lines for the log.

    On labels that look alike, texts of the training data that have more than one label, English
    rows that are trained on and evaluated, and files that are English's under another name.

    Args:
        labels: of the data set.
        train: English training rows.
        evaluated: of dev and of test, language -> rows.
    """
    said = look_alikes(labels)
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
        said.append(f"{train.origin}: {len(disputed):,} texts have more than one label: {example}")
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


def _answers(split: Split) -> list[Hashable]:
    """A label a row, or the tags of a sentence."""
    if not split.in_words:
        return split.labels.tolist()
    return [tags.tobytes() for tags in np.split(split.labels, np.cumsum(split.words)[:-1])]
