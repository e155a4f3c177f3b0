"""What a deployed model will be asked: rows of every language, and texts like those in training."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from alignreg_jax.compress.pooling import Pooling
from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data import encoding, folders, jsonl, tasks
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.data.labels import listed as quoted
from alignreg_jax.data.schema import Rows, Split
from alignreg_jax.data.subset import apart, draw, where
from alignreg_jax.errors import UserError
from alignreg_jax.models.architecture import read_json
from alignreg_jax.models.xlmr import Head
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.rows import load_data
from alignreg_jax.run.workdir import other_inputs

log = logging.getLogger(__name__)

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
        pooling: what makes a vector of a row, of a model without a head; None: it has one.
        dense: shares of right answers, in per cent, of the run's model before it was pruned, on all
            rows that the run evaluates; empty if they are not known.
        task: that the rows are of, if they are a run's.
    """

    rows: Mapping[str, Split]
    known: Mapping[str, Split]
    max_length: int = 0
    stripped: tuple[str, ...] = ()
    beside: bool = True
    pooling: Pooling | None = None
    dense: Mapping[str, float] = field(default_factory=dict)
    task: str | None = None

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

    def known_encoded(self, tokenizer: Tokenizer, max_length: int) -> Encoded:
        """Tokenise some of the known rows, of every kind as many.

        Args:
            tokenizer: of the model.
            max_length: most pieces of a row.
        """
        few = max(1, _TEXTS // len(self.known))
        return encoding.concatenate(
            [
                encoding.encode(draw(each, few), tokenizer, max_length)
                for each in self.known.values()
            ]
        )

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

    Of a language that it does not evaluate half of its text without labels is asked. Known are its
    training rows, and its texts without labels that are not asked.

    Args:
        workdir: of the run.
        config: of the run.
        languages: which; none: all that the run has.
        rows: of a language, at most.

    Raises:
        UserError: its data are not where they were, or have no such language.
    """
    where_from = config.task.data_dir
    if where_from and not Path(where_from).expanduser().exists():
        raise UserError(
            f"{workdir}: its data are not at task.data_dir={where_from}; start this where the run"
            " was started, bring them back, or give rows with --data"
        )
    data = load_data(config, Cache())
    if other := other_inputs(workdir, data.digests):
        raise UserError(
            f"{workdir}: its data are not what it was trained on: {', '.join(other)}; bring them"
            " back, or give rows with --data"
        )
    split = "test" if any(name == "test" for name, _ in data.evaluation) else "dev"
    found = {name: each for (kind, name), each in data.evaluation.items() if kind == split}
    task = tasks.get_task(config.task.name)
    known = {"training": data.train}
    for name, text in data.text.items():
        if name not in found:
            unlabelled = replace(text, labels=np.full_like(text.labels, -1))
            found[name], text = apart(unlabelled, rows)
        if text.rows and (not languages or name in languages):
            known[name] = text
    chosen = _chosen(found, languages)
    return Served(
        {name: draw(found[name], rows) for name in chosen},
        known,
        config.task.max_length or task.max_length,
        config.task.strip_space_marker,
        dense=_dense(workdir, chosen) if task.metric in _SHARES else {},
        task=config.task.name,
    )


def of_folder(
    folder: Path, head: Head | None, labels: Sequence[str], languages: Sequence[str],
    rows: int = ROWS, config: ExperimentConfig | None = None, pooling: Pooling | None = None,
) -> Served:  # fmt: skip
    """Rows of a folder of <language>.test.jsonl, or of a language without it <language>.dev.jsonl.

    Labels are optional, row by row. Known are the rows of en.train.jsonl, if it is there, or else
    some of those that are asked.

    Args:
        folder: of the files.
        head: of the model, which says whether words are labelled or texts; without one labels are
            passed over, and a text that is there twice is asked once.
        labels: of the model.
        languages: which; none: all that the folder has.
        rows: of a language, at most.
        config: of the run that the model is of, which says how long rows are.
        pooling: of a model without a head; else None.

    Raises:
        UserError: with file:line, of a file that is not such; there are none, or not of a language;
            a label that the model does not have.
    """
    listing = folders.listing(folder)
    for note in listing.notes:
        log.info(note)
    splits = {
        split: {name: path for (name, kind), path in listing.files.items() if kind == split}
        for split in ("dev", "test")
    }
    paths = splits["dev"] | splits["test"]
    if unread := [path for (name, _), path in listing.unread.items() if name not in paths]:
        raise UserError(f"{unread[0]}: is not read; rows are of <language>.test.jsonl")
    if not paths:
        raise UserError(f"--data={folder}: has no <language>.test.jsonl")
    read = {name: _rows(paths[name], head) for name in _chosen(paths, languages)}
    train = listing.files.get(("en", "train"))
    training = None if train is None else _rows(train, head)
    whole = [*read.values(), *([] if training is None else [training])]
    numbers = _numbers(whole, labels, jsonl.read_labels(folder))
    asked = {name: draw(_split(found, head, labels, numbers), rows) for name, found in read.items()}
    more: dict[str, Any] = {"pooling": pooling}
    if config is not None:
        task = tasks.get_task(config.task.name)
        more["max_length"] = config.task.max_length or task.max_length
        more["stripped"] = config.task.strip_space_marker
    if training is not None:
        return Served(asked, {"training": _split(training, head, labels, numbers)}, **more)
    return Served(asked, asked, beside=False, **more)


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
        always = " (English is always served)" if lacking == ["en"] else ""
        raise UserError(
            f"--languages: no rows of {', '.join(lacking)} to compare on{always}; there are rows"
            f" of {', '.join(sorted(there))}"
        )
    return sorted(languages or there, key=lambda name: (name != "en", name))


def _rows(path: Path, head: Head | None) -> Rows:
    """A file's rows; without a head their labels are passed over."""
    if head == "token":
        return jsonl.read_tokens(path, labelled=None)
    return jsonl.read(path, pair=None, labelled=False if head is None else None)


def _numbers(
    files: Sequence[Rows], labels: Sequence[str], listed: Sequence[str] | None
) -> dict[str, int]:
    """The label of the model that each number in the files stands for.

    They are names of the model's if all of them are, in all files, and the data have no names of
    their own; else they are places in the list of names, as in training.

    Args:
        files: of all languages.
        labels: of the model.
        listed: of the data, where labels are numbers; None: the model's.
    """
    places = {name: place for place, name in enumerate(labels)}
    given = {name for found in files if found.numbered for _, name in _given(found)}
    if listed is None and given <= {*labels, ""}:
        return places
    spelt = enumerate(labels if listed is None else listed)
    return {str(number): places[name] for number, name in spelt if name in places}


def _split(
    found: Rows, head: Head | None, labels: Sequence[str], numbers: Mapping[str, int]
) -> Split:
    """A file's rows; one without a label, or a word of it, has -1.

    Args:
        found: in the file.
        head: of the model.
        labels: of the model.
        numbers: which of them each number stands for (`_numbers`).
    """
    if head is None:
        unknown = np.full(len(found.text_a), -1, np.int32)
        return _once(Split(found.text_a, found.text_b, unknown, found.origin))
    known = numbers if found.numbered else {name: place for place, name in enumerate(labels)}
    places = {**known, "": -1}
    given = _given(found)
    for row, name in given:
        if name not in places:
            what = f"the model has no label {name!r}; it has {quoted(labels)}"
            raise UserError(f"{found.where(row)}: {what}")
    read = np.array([places[name] for _, name in given], np.int32)
    return Split(found.text_a, found.text_b, read, found.origin)


def _once(split: Split) -> Split:
    """Rows without those that say what one before them does."""
    first = {text: row for row, text in reversed(list(enumerate(split.contents)))}
    return where(split, np.isin(np.arange(split.rows), list(first.values())))


def _given(found: Rows) -> list[tuple[int, str]]:
    """The label of every row, or word, behind the number of its row; empty where it has none."""
    return [
        (row, name)
        for row, given in enumerate(found.labels or ())
        for name in ([given] if isinstance(given, str) else given)
    ]
