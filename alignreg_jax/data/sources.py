"""From a task to its rows: the Hub, a folder of JSONL files, or the bundled demo data.

English alone is trained on. Dev and test are read in every language that has them, or in those
asked for; English is always among these, because the others are measured against it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from alignreg_jax.data import jsonl
from alignreg_jax.data.schema import Dataset, Rows, Split
from alignreg_jax.data.tasks import Task
from alignreg_jax.errors import UserError

__all__ = ["Dataset", "Split", "load"]

DEMO_DATA = Path(__file__).parent.parent / "demo" / "data"

# (language, split) -> what `read` takes
Catalogue = dict[tuple[str, str], Any]


def load(
    task: Task, *, source: str, data_dir: str | None, languages: Sequence[str] | None
) -> Dataset:
    """Read a task's data.

    Args:
        task: a row of the task table.
        source: "hub", "folder" or "demo", one of `task.sources`.
        data_dir: the folder of the JSONL files; with "hub", a local folder laid out like the Hub
            data set, used in its place.
        languages: those to read besides English; None or none: all there are.

    Raises:
        UserError: naming file:line for a bad row, the language that the task lacks, or the file
            that is missing.
    """
    if source not in task.sources:
        allowed = ", ".join(task.sources)
        raise UserError(f"task.source={source!r}: {task.name} can be read from {allowed}")
    if source == "hub":
        return _load_hub(task, data_dir, languages)
    if source == "demo":
        if data_dir is not None:
            raise UserError("task.data_dir: needs task.source=folder; the demo data are bundled")
        folder = DEMO_DATA / str(task.demo_folder)
    elif data_dir is None:
        raise UserError("task.data_dir: needed with task.source=folder, a folder of JSONL files")
    else:
        folder = Path(data_dir).expanduser()
    return _load_jsonl(task, folder, languages)


def _load_jsonl(task: Task, folder: Path, languages: Sequence[str] | None) -> Dataset:
    catalogue = jsonl.find(folder)
    chosen = _choose(catalogue, languages, folder, "{}.{}.jsonl")
    pair = len(task.text_fields) == 2 if task.text_fields else None
    train = jsonl.read(catalogue["en", "train"], pair=pair)

    def read(path: Path) -> Rows:
        return jsonl.read(path, pair=train.text_b is not None)

    labels = task.labels or jsonl.read_labels(folder)
    return _assemble(task, catalogue, chosen, train, read, labels)


def _load_hub(task: Task, data_dir: str | None, languages: Sequence[str] | None) -> Dataset:
    # Imported here: it needs datasets and pyarrow, which take seconds to import and which no
    # other source uses.
    from alignreg_jax.data import hub

    known = task.languages or ()
    if data_dir is None:
        _check_languages(languages, known, task.hub_id)
        folder = hub.fetch(task, ("en", *(languages or known)))
    else:
        folder = Path(data_dir).expanduser()
    # Other configs of the repository (all_languages, ja) are not this task's.
    catalogue = {key: files for key, files in hub.find(folder).items() if key[0] in known}
    chosen = _choose(catalogue, languages, folder, "{}/{}-*.parquet", hub.SPLITS)

    def read(files: Sequence[Path]) -> Rows:
        return hub.read(files, task, folder)

    return _assemble(task, catalogue, chosen, read(catalogue["en", "train"]), read, task.labels)


def _choose(
    catalogue: Catalogue,
    languages: Sequence[str] | None,
    folder: Path,
    name: str,
    split_names: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, ...]:
    """Return the languages to evaluate in, English first, if what is required is there."""
    there = sorted({language for language, split in catalogue if split != "train"})
    _check_languages(languages, there, folder)

    def require(found: bool, split: str, why: str) -> None:
        if not found:
            path = folder / name.format("en", split_names.get(split, split))
            raise UserError(f"{path}: missing; {why}")

    for split in ("train", "dev"):
        require(("en", split) in catalogue, split, "en.train and en.dev are required")
    chosen = tuple(dict.fromkeys(["en", *(languages or there)]))
    tested = any((language, "test") in catalogue for language in chosen)
    require(tested, "test", "at least one language needs test data")
    return chosen


def _check_languages(languages: Sequence[str] | None, there: Sequence[str], where: object) -> None:
    for language in languages or ():
        if language not in there:
            listed = ", ".join(sorted(there)) or "none"
            raise UserError(f"task.languages: {where} has no {language!r}; it has {listed}")


def _assemble(
    task: Task,
    catalogue: Catalogue,
    languages: Sequence[str],
    train_rows: Rows,
    read: Callable[[Any], Rows],
    labels: tuple[str, ...] | None,
) -> Dataset:
    """Read dev and test, and number the labels."""
    notes = [
        f"{language} has training data, which are not used: training is on English only"
        for language, split in catalogue
        if split == "train" and language != "en"
    ]
    labels = labels or tuple(sorted(set(train_rows.labels)))
    if len(labels) < 2:
        raise UserError(f"{train_rows.origin}: there is one label only, {', '.join(labels)}")
    train = _number(train_rows, labels)
    found: dict[str, dict[str, Split]] = {"dev": {}, "test": {}}
    for language in languages:
        for split, splits in found.items():
            if (language, split) in catalogue:
                splits[language] = _number(read(catalogue[language, split]), labels)
            else:
                notes.append(f"{language} has no {split} data")
    return Dataset(task, labels, train, found["dev"], found["test"], tuple(notes))


def _number(rows: Rows, labels: tuple[str, ...]) -> Split:
    """Return the rows with label numbers in place of names."""
    number_of = {label: number for number, label in enumerate(labels)}
    for line, label in enumerate(rows.labels, start=1):
        if label not in number_of:
            known = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
            raise UserError(f"{rows.origin}:{line}: unknown label {label!r}; there are {known}")
    numbers = np.array([number_of[label] for label in rows.labels], np.int32)
    return Split(rows.text_a, rows.text_b, numbers, rows.origin)
