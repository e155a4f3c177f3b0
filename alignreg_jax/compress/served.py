"""What a deployed model will be asked: rows of every language, and texts like those in training."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data import encoding, folders, jsonl, tasks
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.data.schema import Rows, Split
from alignreg_jax.data.subset import draw
from alignreg_jax.errors import UserError
from alignreg_jax.models.architecture import read_json
from alignreg_jax.models.xlmr import Head
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.rows import load_data

ROWS = 200
"""Rows of a language that are asked at most."""

_TEXTS = 512  # rows that stand for what is met
_SHARES = ("accuracy", "word_accuracy")  # metrics that are shares of right answers


@dataclass(frozen=True, eq=False)
class Served:
    """Rows to compare models on.

    Attributes:
        rows: by language; a row or word without a label has -1.
        known: texts like those that it will meet, which are not among `rows` where there are any
            others.
        max_length: most pieces of a row; 0: as many as the model takes.
        stripped: languages whose words lose the mark of a space.
        beside: whether `known` are other rows than `rows`.
        dense: shares of right answers, in per cent, of the run's model before it was pruned, on all
            rows that the run evaluates; empty if they are not known.
    """

    rows: Mapping[str, Split]
    known: Mapping[str, Split]
    max_length: int = 0
    stripped: tuple[str, ...] = ()
    beside: bool = True
    dense: Mapping[str, float] = field(default_factory=dict)

    def encoded(self, tokenizer: Tokenizer, max_length: int) -> dict[str, Encoded]:
        """Tokenise the rows of every language.

        Args:
            tokenizer: of the model.
            max_length: most pieces of a row.
        """
        return {
            language: encoding.encode(
                split, tokenizer, max_length, strip_space_marker=language in self.stripped
            )
            for language, split in self.rows.items()
        }

    def known_texts(self) -> list[str]:
        """What `known` says, as texts; words that are read one by one also stand alone."""
        found: list[str] = []
        for split in self.known.values():
            if split.in_words:
                found += [" ".join(sentence) for sentence in split.text_a]
                found += sorted({word for sentence in split.text_a for word in sentence})
            else:
                found += [*map(str, split.text_a), *(split.text_b or ())]
        return found


def of_run(
    workdir: Path, config: ExperimentConfig, languages: Sequence[str], rows: int = ROWS
) -> Served:
    """What a run is evaluated on: test rows where it has them, else dev.

    Known are its training rows, and its texts without labels.

    Args:
        workdir: of the run.
        config: of the run.
        languages: which; none: all that the run has.
        rows: of a language, at most.

    Raises:
        UserError: its data are not where they were, or have no such language.
    """
    data = load_data(config, Cache())
    split = "test" if any(name == "test" for name, _ in data.evaluation) else "dev"
    found = {name: each for (kind, name), each in data.evaluation.items() if kind == split}
    task = tasks.get_task(config.task.name)
    text = {name: each for name, each in data.text.items() if not languages or name in languages}
    chosen = _chosen(found, languages)
    return Served(
        {name: draw(found[name], rows) for name in chosen},
        {"training": draw(data.train, _TEXTS), **text},
        config.task.max_length or task.max_length,
        config.task.strip_space_marker,
        dense=_dense(workdir, chosen) if task.metric in _SHARES else {},
    )


def of_folder(
    folder: Path, head: Head | None, labels: Sequence[str], languages: Sequence[str],
    rows: int = ROWS,
) -> Served:  # fmt: skip
    """Rows of a folder of <language>.test.jsonl, or dev where there is no test.

    Labels are optional. Known are the rows of en.train.jsonl, if it is there, or else some of
    those that are asked.

    Args:
        folder: of the files.
        head: of the model, which says whether words are labelled or texts.
        labels: of the model.
        languages: which; none: all that the folder has.
        rows: of a language, at most.

    Raises:
        UserError: with file:line, of a file that is not such; there are none, or not of a language;
            a label that the model does not have.
    """
    files = folders.listing(folder).files
    numbers = {label: number for number, label in enumerate(labels)}
    wanted = [name for name in ("test", "dev") if any(split == name for _, split in files)]
    if not wanted:
        raise UserError(f"--data={folder}: has no <language>.test.jsonl")
    paths = {language: path for (language, split), path in files.items() if split == wanted[0]}
    asked = {
        language: draw(_split(paths[language], head, numbers), rows)
        for language in _chosen(paths, languages)
    }
    if train := files.get(("en", "train")):
        return Served(asked, {"training": draw(_split(train, head, numbers), _TEXTS)})
    few = max(1, _TEXTS // len(asked))
    return Served(asked, {name: draw(each, few) for name, each in asked.items()}, beside=False)


def _dense(workdir: Path, languages: Sequence[str]) -> dict[str, float]:
    """Scores of a run before its first cut; none of a run that has cut nothing."""
    path = workdir / "results.json"
    steps = read_json(path)["prune_steps"] if path.exists() else []
    if len(steps) < 2:
        return {}
    found = steps[0]["languages"]
    return {name: 100 * found[name] for name in languages if name in found}


def _chosen(there: Collection[str], languages: Sequence[str]) -> list[str]:
    """The languages to ask, English first."""
    if lacking := [language for language in languages if language not in there]:
        raise UserError(
            f"--languages: no rows of {', '.join(lacking)} to compare on; there are rows of"
            f" {', '.join(sorted(there))}"
        )
    return sorted(languages or there, key=lambda name: (name != "en", name))


def _split(path: Path, head: Head | None, numbers: Mapping[str, int]) -> Split:
    """A file's rows, with labels if its first row has one."""
    of_words = head == "token"
    labelled = jsonl.has_field(path, "tags" if of_words else "label")
    found: Rows = (
        jsonl.read_tokens(path, labelled=labelled)
        if of_words
        else jsonl.read(path, pair=None, labelled=labelled)
    )
    listed: list[int] = []
    for row, text in enumerate(found.text_a):
        given = None if found.labels is None else found.labels[row]
        count = len(text) if of_words else 1
        names = [given] if isinstance(given, str) else given or [None] * count
        for name in names:
            if name is not None and name not in numbers:
                raise UserError(f"{found.where(row)}: the model has no label {name!r}")
            listed.append(-1 if name is None else numbers[name])
    return Split(found.text_a, found.text_b, np.array(listed, np.int32), str(path))
