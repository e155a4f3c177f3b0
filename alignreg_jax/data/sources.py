"""From a task to its rows: the Hub, a folder or archive, or the bundled demo data.

`source` says where data may come from; of a path that is given, what lies there decides how it is
read: XGLUE's own files, JSONL, or parquet in the Hub's layout. English alone is trained on. Dev and
test are read in every language that has them, or in those asked for; English is always among
these, because the others are measured against it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from alignreg_jax.data import folders, jsonl, labels, xglue
from alignreg_jax.data.catalogue import Catalogue, choose
from alignreg_jax.data.lines import Progress
from alignreg_jax.data.schema import BadRows, Dataset, Rows, Split
from alignreg_jax.data.tasks import Task
from alignreg_jax.errors import Mistakes, UserError
from alignreg_jax.support.caches import default_cache_dir
from alignreg_jax.support.progress import progress

__all__ = ["Dataset", "Split", "load"]

DEMO_DATA = Path(__file__).parent.parent / "demo" / "data"
DELAY = 2.0  # seconds of reading before progress is shown
BLANK = "_"  # what stands for a word whose text may not be given away


def load(
    task: Task,
    *,
    source: str,
    data_dir: str | None,
    languages: Sequence[str] | None,
    hub_id: str | None = None,
    drop_blanked: bool = False,
    splits: Sequence[str] = ("dev", "test"),
) -> Dataset:
    """Read a task's data.

    Args:
        task: a row of the task table.
        source: "hub", "folder" or "demo", one of `task.sources`.
        data_dir: XGLUE's folder, its parent or archive, a folder of JSONL files, or one laid out
            like a Hub data set; with "hub", used in its place.
        languages: those to read besides English; None or none: all there are.
        hub_id: another Hub data set than the task's own.
        drop_blanked: leave out training sentences whose words are all "_".
        splits: what is evaluated, "dev", "test" or both; nothing else is read or required.

    Raises:
        UserError: naming file:line for a bad row, the language that the task lacks, or the file
            that is missing.
    """
    if source not in task.sources:
        allowed = ", ".join(task.sources)
        raise UserError(f"task.source={source!r}: {task.name} can be read from {allowed}")
    if drop_blanked and task.kind != "token":
        raise UserError(f"task.drop_blanked: {task.name} has no words, but texts")
    found, notes = _find(task, source, data_dir, languages, hub_id, splits)
    mistakes, chosen = Mistakes(found.mistakes), None
    with mistakes.noted():
        chosen = choose(found, languages, splits)
    if chosen is None:
        mistakes.fail()
    if not languages:
        notes += _lacking(task, found, chosen)
    return _assemble(task, found, chosen, splits, drop_blanked, notes)


def check_files(
    task: Task, data_dir: str | None, languages: Sequence[str] | None, splits: Sequence[str]
) -> None:
    """Check that a folder of JSON lines has the files that `load` needs; nothing is read.

    Mistakes in names are for `load` to tell, together with those in rows; so are XGLUE's files.

    Raises:
        UserError: names the file that is missing.
    """
    if task.xglue is None:
        found, _ = _find(task, "folder", data_dir, languages, None, splits)
        if not found.mistakes:
            choose(found, languages, splits)


def _lacking(task: Task, found: Catalogue, there: Sequence[str]) -> tuple[str, ...]:
    """A note on the languages of the task that the source does not have."""
    lacking = ", ".join(name for name in task.languages or () if name not in there)
    note = f"{found.where} has no {lacking} for {task.name}, so that its scores are not XGLUE's"
    return (note,) if lacking else ()


def _find(
    task: Task,
    source: str,
    data_dir: str | None,
    languages: Sequence[str] | None,
    hub_id: str | None,
    splits: Sequence[str],
) -> tuple[Catalogue, tuple[str, ...]]:
    """What there is to read, and notes for the log."""
    if source == "demo":
        if data_dir is not None:
            raise UserError("task.data_dir: needs task.source=folder; the demo data are bundled")
        return _jsonl(task, DEMO_DATA / str(task.demo_folder)), ()
    if data_dir is not None:
        if hub_id is not None:
            raise UserError(
                "task.hub_id: the data are to come from task.data_dir; drop one of them"
            )
        return _at(task, _path(task, data_dir), languages, splits)
    if source == "hub":
        # Imported here: it needs datasets and pyarrow, which take seconds to import and which no
        # other source uses.
        from alignreg_jax.data import hub

        return hub.fetched(task, hub_id, languages, splits), ()
    if task.xglue is None:
        raise UserError("task.data_dir: needed with task.source=folder, a folder of JSONL files")
    raise UserError(f"task.data_dir: {task.name} needs XGLUE's data: {xglue.ways(task)}")


def _path(task: Task, data_dir: str) -> Path:
    """What task.data_dir means; UserError if there is no such thing."""
    path = os.path.expanduser(data_dir)  # leaves a ~user that is nobody; Path's raises
    if os.path.exists(path):
        return Path(path)
    if task.xglue is None:
        what = "folder; it should hold <lang>.<split>.jsonl"
    else:
        what = f"folder or archive; {xglue.ways(task)}"
    raise UserError(f"task.data_dir={data_dir}: no such {what}")


def _at(
    task: Task, path: Path, languages: Sequence[str] | None, splits: Sequence[str]
) -> tuple[Catalogue, tuple[str, ...]]:
    """What lies at a path decides."""
    if task.xglue is not None:
        notes: tuple[str, ...] = ()
        root = xglue.find(path)
        if path.is_file():
            root, notes = xglue.unpack(task, path, default_cache_dir())
        if root is not None:
            return xglue.catalogue(task, root, languages, splits), notes
        if task.hub_config is not None and any(path.glob("*/*.parquet")):
            from alignreg_jax.data import hub

            return hub.catalogue(task, path), ()
        if path.is_dir() and not folders.has_data(path):
            raise UserError(
                f"{path}: has no data of {task.name}: neither XGLUE's {task.xglue.folder}, nor "
                f"<lang>.<split>.jsonl, nor a Hub data set's parquet; {xglue.ways(task)}"
            )
    return _jsonl(task, path), ()


def _jsonl(task: Task, folder: Path) -> Catalogue:
    found = folders.look(folder)
    if not (found.files or found.unread or found.mistakes):
        there = f" ({'; '.join(found.notes)})" if found.notes else ""
        raise UserError(
            f"{folder}: has no <lang>.<split>.jsonl{there}; a line of en.train.jsonl is"
            ' {"text": ..., "label": ...}'
        )

    def read(paths: tuple[Path, ...], split: str, update: Progress) -> Rows:
        if task.kind == "token":
            return jsonl.read_tokens(paths[0], progress=update)
        return jsonl.read(paths[0], pair=_pair(task, found.files), progress=update)

    return Catalogue(
        where=str(folder),
        files={key: (path,) for key, path in found.files.items()},
        read=read,
        expected=lambda language, split: str(folder / f"{language}.{split}.jsonl"),
        labels=jsonl.read_labels(folder),
        labels_from=str(folder / folders.LABELS),
        advice="" if task.xglue is None else xglue.ways(task),
        notes=found.notes,
        unread=found.unread,
        mistakes=found.mistakes,
    )


def _pair(task: Task, files: Mapping[tuple[str, str], Path]) -> bool | None:
    """Whether rows are two texts; None: English training data would say, and cannot be read."""
    if task.pair is not None:
        return task.pair
    try:
        return jsonl.has_field(files["en", "train"], "text_pair")
    except UserError:  # which is told of that file itself
        return None


def _assemble(
    task: Task,
    found: Catalogue,
    languages: Sequence[str],
    evaluated: Sequence[str],
    drop_blanked: bool,
    notes: Sequence[str],
) -> Dataset:
    """Read train, then what is evaluated of dev and test, and number the labels."""
    said = [*notes, *found.notes]
    said += [
        f"{language} has training data, which are not used: training is on English only"
        for language, split in found.files
        if split == "train" and language != "en"
    ]
    splits: dict[str, dict[str, Split]] = {"dev": {}, "test": {}}
    unlabelled: list[tuple[str, str]] = []
    wanted = [
        ("en", "train"),
        *((language, split) for language in languages for split in splits if split in evaluated),
    ]
    size = sum(bytes_of(path) for key in wanted for path in found.files.get(key, ()))
    hint = "" if task.labels else "; labels.json beside the data may name others"
    with progress(size, f"reading {task.name}", "bytes", delay=DELAY) as bar:

        def read(key: tuple[str, str]) -> Rows:
            return found.read(found.files[key], key[1], bar.update)

        # Whatever is wrong in one file, the others are read, too: a user mends all at once
        mistakes, others = Mistakes(found.mistakes), {}
        fixed = task.labels or found.labels
        trained = rows = names = seen = train = None
        with mistakes.noted():
            try:
                trained = read(("en", "train"))
            except BadRows as error:
                seen = error.seen
                raise
            rows = labels.named(trained, trained, fixed)
            names = labels.label_set(task, found.labels, rows, found.labels_from)
        for key in wanted[1:]:
            if key in found.files:
                with mistakes.noted():
                    try:
                        others[key] = read(key)
                    except BadRows as error:
                        if error.rows.text_a:
                            others[key] = error.rows
                        raise
        if trained is None or rows is None or names is None:
            for each in others.values():
                with mistakes.noted():
                    _check_labels(each, fixed or labels.closed(seen or ()), hint)
            mistakes.fail()
        said += _other_size(found, "en", "train", rows)
        if rows.numbered and fixed:
            meant = ", ".join(f"{number} is {name}" for number, name in enumerate(names[:8]))
            said.append(f"labels are numbers: {meant}" + (", ..." if len(names) > 8 else ""))
        if drop_blanked:
            rows, dropped = without_blanked(rows)
            said.append(f"{dropped} training sentences left out, their words are all {BLANK!r}")
        with mistakes.noted():
            train = labels.number(rows, names, hint)
        said += _absent(found, wanted)
        for language, split in wanted[1:]:
            if (language, split) not in others:
                continue
            with mistakes.noted():
                rows = labels.named(others.pop((language, split)), trained, fixed)
                said += _other_size(found, language, split, rows)
                if rows.labels is None:
                    unlabelled.append((split, language))
                    said.append(
                        f"{rows.origin} has no labels, so {language} is not evaluated on it"
                    )
                else:
                    splits[split][language] = labels.number(rows, names, hint)
        if train is None:
            mistakes.fail()
        mistakes.check()
    if not task.labels and found.labels:
        said += _untrained(names, train)
    return Dataset(
        task, names, train, splits["dev"], splits["test"], tuple(said), tuple(unlabelled)
    )


def _check_labels(rows: Rows, known: Sequence[str], hint: str) -> None:
    """Check labels beside English training rows that cannot be read; `known` are those of them.

    Raises:
        UserError: a label is not among the known ones, if there are some and they are names.
    """
    if known and not rows.numbered:
        labels.number(rows, known, hint)


def _absent(found: Catalogue, wanted: Sequence[tuple[str, str]]) -> list[str]:
    """Notes on languages without test data, or without dev data where others have some."""
    said = []
    for split in ("dev", "test"):
        asked = [language for language, kind in wanted if kind == split]
        lacking = [language for language in asked if (language, split) not in found.files]
        usual = split == "test" or {*asked} - {*lacking, "en"}
        if lacking and usual:
            have = "has" if len(lacking) == 1 else "have"
            said.append(f"{', '.join(lacking)} {have} no {split} data")
    return said


def _untrained(names: Sequence[str], train: Split) -> list[str]:
    """A note on labels of labels.json that nothing is learned of."""
    seen = set(train.labels.tolist())
    lacking = ", ".join(name for number, name in enumerate(names) if number not in seen)
    return [f"{train.origin} has no row with the label {lacking}"] if lacking else []


def _other_size(found: Catalogue, language: str, split: str, rows: Rows) -> list[str]:
    """A note on a file of XGLUE that is longer or shorter than it was published."""
    count, known = len(rows.text_a), found.sizes.get((language, split))
    if known in (None, count):
        return []
    return [f"{rows.origin} has {count:,} rows, and XGLUE's {known:,}"]


def bytes_of(path: Path) -> int:
    """Bytes of a file, for the progress; what reads it says so if it cannot be read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def without_blanked(rows: Rows) -> tuple[Rows, int]:
    """Return the sentences that have a word which is not "_", and how many have none.

    One of the five treebanks in XGLUE's English POS data has tags but gives no words away.
    """
    kept = [index for index, words in enumerate(rows.text_a) if set(words) != {BLANK}]
    if not kept:
        raise UserError(f"task.drop_blanked: {rows.origin} has no words but {BLANK!r}")
    lines = range(1, len(rows.text_a) + 1) if rows.lines is None else rows.lines
    found = replace(
        rows,
        text_a=[rows.text_a[index] for index in kept],
        labels=None if rows.labels is None else [rows.labels[index] for index in kept],
        lines=[lines[index] for index in kept],
    )
    return found, len(rows.text_a) - len(kept)
