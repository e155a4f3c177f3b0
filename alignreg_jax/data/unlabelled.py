"""Text without labels, by language: read, cleared of what is evaluated, drawn for each epoch.

A teacher says of such text what a student is to learn (`distill.text`). It is in the task's form,
texts, pairs or words, so that it is tokenised and batched like the task's own rows; its labels are
all `UNLABELLED`.
"""

import os
import re
from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from alignreg_jax.data import folders, jsonl, lines, subset, xglue
from alignreg_jax.data.alike import wording
from alignreg_jax.data.batching import generator
from alignreg_jax.data.lines import Progress
from alignreg_jax.data.schema import Rows, Split
from alignreg_jax.data.sources import DELAY, DEMO_DATA, bytes_of
from alignreg_jax.data.tasks import Task
from alignreg_jax.errors import Mistakes, UserError
from alignreg_jax.support.progress import progress

UNLABELLED = -2
FIELD = "distill.text"
BESIDE = "data"  # what the field says where the text is beside the task's data
NAMES = "<lang>.unlabelled.jsonl or .txt"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class Text(NamedTuple):
    """What was read: rows by language, sorted by it, and lines for the log."""

    rows: dict[str, Split]
    notes: tuple[str, ...]


class Cleared(NamedTuple):
    """What `without_leaks` leaves, and how many rows it dropped of each language that lost any.

    Attributes:
        rows: by language; one that has none left is not among them.
        leaked: rows that are evaluated, too.
        repeated: rows that were there before.
    """

    rows: dict[str, Split]
    leaked: dict[str, int]
    repeated: dict[str, int]


def read(
    task: Task,
    where: str,
    *,
    pair: bool | None,
    source: str,
    data_dir: str | None,
    languages: Sequence[str] | None,
) -> Text:
    """Read text without labels.

    Args:
        task: a row of the task table.
        where: "data", beside the task's data: `<lang>.unlabelled.jsonl` or `.txt`, of an XGLUE task
            in its own folder, XGLUE/XNLI; another folder of such files, which may also be called
            `<lang>.jsonl` and `.txt`, or of parquet in the Hub's layout; or "owner/name", a Hub
            data set. JSONL has the fields of the task's own rows without the label. A line of .txt
            is a text, or words with spaces between them.
        pair: whether the task's rows are two texts; None: each file decides.
        source: `task.source` of the run.
        data_dir: `task.data_dir` of the run.
        languages: those to read; None or none: all there are.

    Raises:
        UserError: naming file:line for a bad row, or the field where nothing is to be found.
    """
    wanted = tuple(languages or ())
    folder = _folder(task, where, source, data_dir)
    files, wrong = {}, ()
    if folder is not None:
        files, wrong = folders.unlabelled(folder, bare=where != BESIDE)
    if files or wrong:
        rows, notes = _from_files(task, files, pair, wanted, wrong)
    elif where == BESIDE:
        raise UserError(f"{FIELD}={where}: {folder} has no {NAMES}")
    else:
        rows, notes = _from_parquet(task, where, folder, pair, wanted)
    if not rows:
        asked = f" in {', '.join(wanted)}" if wanted else ""
        there = f"; it has {', '.join(files)}" if files else ""
        raise UserError(f"{FIELD}={where}: there is no text{asked}{there}")
    if left := [language for language in files if language not in rows]:
        notes.append(f"unlabelled text of {', '.join(left)} is not read: not the run's languages")
    if lacking := [name for name in wanted if name not in rows and name != "en"]:
        notes.append(f"there is no unlabelled text of {', '.join(lacking)}")
    return Text({name: _split(rows[name]) for name in sorted(rows)}, tuple(notes))


def _folder(task: Task, where: str, source: str, data_dir: str | None) -> Path | None:
    """The folder that is meant; None: a Hub data set is."""
    if where == BESIDE:
        if source == "demo":
            return DEMO_DATA / str(task.demo_folder)
        if data_dir is None:
            raise UserError(
                f"{FIELD}={where}: is beside the files of task.data_dir, which is not set; name a "
                "folder or a Hub data set"
            )
    path = Path(os.path.expanduser(str(data_dir) if where == BESIDE else where))
    if where == BESIDE and task.xglue and (root := xglue.find(path)):
        path = root / task.xglue.folder
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"{FIELD}={where}: {path} is a file; name a folder with {NAMES}")
    if where != BESIDE and _HUB_NAME.fullmatch(where):
        return None
    raise UserError(f"{FIELD}={where}: no such folder ({path}), nor a Hub data set's owner/name")


def _from_files(
    task: Task,
    files: Mapping[str, Path],
    pair: bool | None,
    languages: Sequence[str],
    wrong: Sequence[UserError],
) -> tuple[dict[str, Rows], list[str]]:
    """Rows by language, and notes; what is `wrong` with names is told beside what is in files."""
    chosen = {name: path for name, path in files.items() if not languages or name in languages}
    words, label = task.kind == "token", "tags" if task.kind == "token" else "label"
    rows: dict[str, Rows] = {}
    labelled: list[str] = []
    size, mistakes = sum(map(bytes_of, chosen.values())), Mistakes(wrong)
    with progress(size, "reading unlabelled text", "bytes", delay=DELAY) as bar:
        for language, path in chosen.items():
            with mistakes.noted():
                if ".txt" in map(str.lower, path.suffixes):
                    rows[language] = _lines(path, words, bool(pair), bar.update)
                    continue
                if words:
                    rows[language] = jsonl.read_tokens(path, labelled=False, progress=bar.update)
                else:
                    rows[language] = jsonl.read(
                        path, pair=pair, labelled=False, progress=bar.update
                    )
                if jsonl.has_field(path, label):
                    labelled.append(str(path))
    mistakes.check()
    return rows, [f"{path} has labels, which are not used" for path in labelled]


def _from_parquet(
    task: Task, where: str, folder: Path | None, pair: bool | None, languages: Sequence[str]
) -> tuple[dict[str, Rows], list[str]]:
    # Imported here: it needs datasets and pyarrow, which take seconds to import
    from alignreg_jax.data import hub

    if folder is None:
        field = f"{FIELD}={where}: is no folder"
        folder = hub.fetched_text(where, languages, field)
    files = [*folder.glob("*/train*.parquet")]
    if not files:
        raise UserError(
            f"{FIELD}={where}: {folder} has neither {NAMES} (or <lang>.jsonl, <lang>.txt) nor a "
            "Hub data set's <config>/train-*.parquet"
        )
    size = sum(map(bytes_of, files))
    with progress(size, "reading unlabelled text", "bytes", delay=DELAY) as bar:
        rows, labelled = hub.texts(
            task, folder, pair=bool(pair), languages=languages, progress=bar.update
        )
    return rows, [f"{where} has labels, which are not used"] if labelled else []


def _lines(path: Path, words: bool, pair: bool, update: Progress) -> Rows:
    """Texts of a file that has one a line; blank lines are none."""
    if pair:
        raise UserError(
            f"{path}: a line is one text, and rows of this task are two; write .jsonl with text "
            "and text_pair"
        )
    found = [(number, line) for number, line in lines.numbered(path, update) if line.strip()]
    if not found:
        raise UserError(f"{path}:1: the file has no rows")
    numbers, texts = zip(*found, strict=True)
    if words:
        cut = [[word for word in text.split(" ") if word.strip()] for text in texts]
        return Rows(cut, None, None, str(path), numbers)
    return Rows(list(texts), None, None, str(path), numbers)


def _split(rows: Rows) -> Split:
    lengths = [1 if isinstance(text, str) else len(text) for text in rows.text_a]
    labels = np.full(sum(lengths), UNLABELLED, np.int32)
    return Split(rows.text_a, rows.text_b, labels, rows.origin)


def without_leaks(
    unlabelled: Mapping[str, Split], held_out: Mapping[tuple[str, str], Split]
) -> Cleared:
    """Drop rows that are evaluated, in whatever language, and rows that are there twice.

    A student that has seen what its teacher says of a test row is not tested by it. Rows are the
    same in this sense if they have the same `alike.wording`: case, white space, punctuation and
    spelling in code points do not count. Of a pair both texts have to be the same, of a sentence
    all words. A row is there twice if one before it in its language is the same to the letter.

    Args:
        unlabelled: rows by language.
        held_out: rows of dev and test by split and language; all are compared with all.
    """
    known = {wordings for split in held_out.values() for wordings in _wordings(split)}
    rows: dict[str, Split] = {}
    leaked: dict[str, int] = {}
    repeated: dict[str, int] = {}
    for language, split in unlabelled.items():
        clean = np.array([wordings not in known for wordings in _wordings(split)], bool)
        first: dict[Hashable, int] = {}
        fresh = [first.setdefault(said, row) == row for row, said in enumerate(split.contents)]
        kept = clean & np.array(fresh, bool)
        for counts, dropped in ((leaked, ~clean), (repeated, clean & ~kept)):
            if dropped.any():
                counts[language] = int(dropped.sum())
        if kept.any():
            rows[language] = subset.where(split, kept)
    return Cleared(rows, leaked, repeated)


def _wordings(split: Split) -> list[Hashable]:
    """Of each row, what is compared with evaluated ones."""
    first = [wording(said if isinstance(said, str) else " ".join(said)) for said in split.text_a]
    if split.text_b is None:
        return list(first)
    return list(zip(first, map(wording, split.text_b), strict=True))


def draw(
    counts: Mapping[str, int], rows: int, *, exponent: float, data_seed: int, epoch: int
) -> Int32[np.ndarray, " rows"]:
    """Return which rows an epoch trains on; every one of a language's is used equally often.

    Each epoch goes on in a language's rows where the one before it ended. They are shuffled anew
    for every pass over them, so that an epoch in which a pass begins may have a row twice. The
    draw follows from the arguments, and a resumed run makes it again.

    Args:
        counts: rows that each language has; their order does not matter.
        rows: how many an epoch has, of all languages together.
        exponent: of the counts, as in `allotted`.
        data_seed: 0 or more.
        epoch: 0 or more.

    Returns:
        Numbers into the rows of all languages, end to end in the order of the sorted languages.
    """
    sizes = [counts[language] for language in sorted(counts)]
    shares = allotted(sizes, rows, exponent)
    drawn = [np.zeros(0, np.int64)]
    for stream, (size, share, before) in enumerate(
        zip(sizes, shares, accumulate(sizes, initial=0), strict=False)
    ):
        if not share:
            continue
        places = np.arange(epoch * share, (epoch + 1) * share)
        for turn in range(places[0] // size, places[-1] // size + 1):
            # Neither an epoch's plan nor its sample of batches has these keys
            order = generator(data_seed, ~np.uint64(turn), 1 + stream).permutation(size)
            drawn.append(before + order[places[places // size == turn] % size])
    return np.concatenate(drawn).astype(np.int32)


def allotted(counts: Sequence[int], rows: int, exponent: float) -> list[int]:
    """Return how many of `rows` each language gets: in proportion to its count ** exponent.

    Exponent 1 is as they are, 0 the same for all, XLM-R's .3 in between. By largest remainder, of
    equal ones to the earlier language; a language without rows gets none.
    """
    weights = [count**exponent if count else 0.0 for count in counts]
    if rows and not any(weights):
        raise ValueError(f"{rows} rows are wanted, and there are none")
    exact = [rows * weight / (sum(weights) or 1.0) for weight in weights]
    shares = [int(share) for share in exact]
    # Rounded, so that what is equal but for the last bit is equal on every machine
    order = sorted(range(len(counts)), key=lambda index: -round(exact[index] % 1, 9))
    for index in order[: rows - sum(shares)]:
        shares[index] += 1
    return shares
