"""Data sets of the Hugging Face Hub, as parquet files in either of two layouts.

`<language>/<split>-*.parquet`, one config per language: `facebook/xnli` and
`google-research-datasets/paws-x`. `<task>/train-*.parquet` with `validation.<language>` and
`test.<language>`, one config per task: mirrors of XGLUE. Only the files that are used are fetched:
a whole config of the former holds machine-translated training data (60 MB a language in XNLI),
which zero-shot transfer must not see. A local folder of either layout serves as well as the Hub;
`HF_HUB_OFFLINE` and the Hub's cache work as everywhere. What is in the files: `parquet`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, compress
from pathlib import Path

import huggingface_hub

from alignreg_jax.data import parquet, xglue
from alignreg_jax.data.catalogue import Catalogue, check_languages
from alignreg_jax.data.labels import renamed
from alignreg_jax.data.lines import Progress
from alignreg_jax.data.schema import Rows
from alignreg_jax.data.tasks import MIRROR, MIRROR_LACKS, Task
from alignreg_jax.errors import UserError
from alignreg_jax.support.caches import check_hub_cache

SPLITS = {"train": "train", "dev": "validation", "test": "test"}
FILE_NAME = re.compile(
    r"(train|validation|test)"
    r"(?:\.([A-Za-z]\w*(?:-(?:[A-Za-z]+|\d{3}(?!\d)))*)(?:-\d.*)?|(?:-.*)?)\.parquet"
)
SHARD = re.compile(r"-(\d+)-of-(\d+)")
LANGUAGE = "language"  # the column that says it, where neither file nor folder does
WHOLE = ("data", "default", "all", "all_languages")  # configs that are of no language


def fetched(
    task: Task, hub_id: str | None, languages: Sequence[str] | None, splits: Sequence[str]
) -> Catalogue:
    """Return what the Hub has of a task; downloads what is used and not cached.

    Args:
        task: a row of the table.
        hub_id: the data set; None: the task's own.
        languages: those to read besides English; None or none: all.
        splits: those to read besides train: dev, test or both.

    Raises:
        UserError: the Hub cannot be reached, or has no such data set or language.
    """
    name = hub_id or str(task.hub_id)
    known = task.languages or ()
    check_languages(languages, known, name)
    folder = _fetch(task, name, ("en", *(languages or known)), splits)
    found = catalogue(task, folder, name)
    if (folder / str(task.hub_config)).is_dir():
        note = f"{name} is a third party's copy of XGLUE, whose terms are at {xglue.TERMS}"
        if name == MIRROR and task.name in MIRROR_LACKS:
            note += f"; it lacks {MIRROR_LACKS[task.name]} of {task.name}"
        found = replace(found, notes=(note, *found.notes))
    return found


def catalogue(task: Task, folder: Path, where: str | None = None) -> Catalogue:
    """Return the files of a task in a folder laid out like the Hub; UserError if there is none.

    `where`: the data set's name, if the folder is a snapshot of it.
    """
    by_task = task.hub_config is not None and not (folder / "en").is_dir()
    files, others = _find(task, folder)

    def expected(language: str, split: str) -> str:
        if by_task:
            of = "" if split == "train" else f".{language}"
            return str(folder / str(task.hub_config) / f"{SPLITS[split]}{of}-*.parquet")
        return str(folder / language / f"{SPLITS[split]}-*.parquet")

    return Catalogue(
        where or str(folder),
        files,
        partial(_read, task, folder),
        expected,
        advice=xglue.ways(task),
        notes=tuple(f"{path} is not read" for path in others),
    )


def _fetch(task: Task, name: str, languages: Sequence[str], splits: Sequence[str]) -> Path:
    """The local snapshot of the Hub data set, without what is not used."""
    patterns = ["README.md", "en/train*.parquet", f"{task.hub_config}/train*.parquet"]
    for language in languages:
        for split in (SPLITS[split] for split in splits):
            patterns += [f"{language}/{split}*.parquet"]
            patterns += [f"{task.hub_config}/{split}.{language}*.parquet"]
    return _snapshot(
        name,
        patterns,
        "task.source=hub",
        "pass task.data_dir=FOLDER with its parquet files"
        + ("" if task.xglue is None else f" or XGLUE's own ({xglue.TERMS})"),
    )


def fetched_text(name: str, languages: Sequence[str], field: str) -> Path:
    """Return the local snapshot of the training data of a Hub data set, in some languages or all.

    `field`: what asked for it, for messages.
    """
    of_language = ("{}/train*.parquet", "*/train.{}[-.]*parquet")
    whole = [f"{config}/train*.parquet" for config in WHOLE]
    wanted = [[each.format(language) for each in of_language] for language in languages or "*"]
    patterns, advice = [*chain.from_iterable(wanted)], "name a folder with such text"
    folder = _snapshot(name, patterns, field, advice, whole)
    # XNLI's all_languages is as large as all others, and says the same again
    if all(any(any(folder.glob(each)) for each in either) for either in wanted):
        return folder
    return _snapshot(name, [*patterns, *whole], field, advice)


def texts(
    task: Task, folder: Path, *, pair: bool, languages: Sequence[str], progress: Progress
) -> tuple[dict[str, Rows], bool]:
    """Return training texts in a folder laid out like the Hub, and whether they had labels.

    A row's language is what a column `language` says, the file's name (train.<lang>-...), or else
    its folder's. Columns are called text, text_a and text_b, text and text_pair, tokens or words,
    or as in the task's own data.

    Args:
        task: a row of the table.
        folder: the data set.
        pair: whether rows are two texts.
        languages: those to read; none: all there are.
        progress: told the bytes of each file.

    Raises:
        UserError: names the file that is wrong, and the row, or that tells no language.
    """
    groups: dict[tuple[str, str | None], list[Path]] = {}
    for path in sorted(folder.glob("*/*.parquet")):
        match = FILE_NAME.fullmatch(path.name)
        if match and match[1] == SPLITS["train"]:
            groups.setdefault((path.parent.name, match[2]), []).append(path)
    read: dict[str, list[Rows]] = {}
    labelled, nameless = False, None
    for (config, named_language), paths in groups.items():
        names = parquet.names(paths[0])
        by_row = LANGUAGE in names
        language = named_language or (None if config in WHOLE else config)
        if not by_row and language is None:
            nameless = nameless or paths[0]
            continue
        if not by_row and languages and language not in languages:
            continue
        for path in _whole(paths):
            labelled |= not {"label", "tags", *task.columns[-1:]}.isdisjoint(names)
            beside = (LANGUAGE,) if by_row else ()
            rows, said = parquet.texts(
                path, _choices(task, pair), beside, nested=task.kind == "token"
            )
            of_row = said[0] if by_row else [language] * len(rows.text_a)
            for name in dict.fromkeys(of_row):
                if not languages or name in languages:
                    read.setdefault(str(name), []).append(_of(rows, of_row, name))
            progress(path.stat().st_size)
    if nameless and not read:
        raise UserError(
            f"{nameless}: has no column {LANGUAGE}, and neither its folder nor its name "
            "(train.<lang>-*.parquet) is of a language"
        )
    return {language: _joined(parts) for language, parts in read.items()}, labelled


def _choices(task: Task, pair: bool) -> list[parquet.Choice]:
    """What columns of text may be called, the plain names first."""
    if task.kind == "token":
        return [((name,), ()) for name in dict.fromkeys(("tokens", "words", *task.columns[:1]))]
    if pair:
        named: list[parquet.Choice] = [(("text_a",), ("text_b",)), (("text",), ("text_pair",))]
        return named + ([(task.text_a, task.text_b)] if task.text_b else [])
    return [((*names,), ()) for names in dict.fromkeys((("text",), task.text_a or ("text",)))]


def _of(rows: Rows, languages: Sequence[str | None], language: str | None) -> Rows:
    """The rows of one language."""
    chosen = [name == language for name in languages]
    second = None if rows.text_b is None else list(compress(rows.text_b, chosen))
    return replace(rows, text_a=list(compress(rows.text_a, chosen)), text_b=second)


def _joined(parts: Sequence[Rows]) -> Rows:
    """Rows of several files of one language, under the first one's name."""
    first = [text for part in parts for text in part.text_a]
    second = [text for part in parts for text in part.text_b or ()]
    return replace(parts[0], text_a=first, text_b=None if parts[0].text_b is None else second)


def _snapshot(
    name: str, patterns: list[str], field: str, advice: str, without: Sequence[str] = ()
) -> Path:
    """The local snapshot of some files of a Hub data set."""
    check_hub_cache(field)
    try:
        folder = huggingface_hub.snapshot_download(
            name, repo_type="dataset", allow_patterns=patterns, ignore_patterns=[*without]
        )
    except Exception as error:  # the client raises what its HTTP library of the day raises
        raise UserError(
            f"{field}: {name} cannot be had from the Hub ({parquet.first_line(error)}); {advice}"
        ) from error
    return Path(folder)


def _find(
    task: Task, folder: Path
) -> tuple[dict[tuple[str, str], tuple[Path, ...]], tuple[Path, ...]]:
    """(language, split) -> the split's files in order, in whichever layout there is.

    Of the task's languages; other configs of a repository (all_languages, ja) are not its own. And
    the files beside them, in the folders of these languages, that are of no split.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; it should hold <lang>/<split>-*.parquet")
    names = {name: split for split, name in SPLITS.items()}
    known = task.languages or ()
    own = {task.hub_config, *known}
    found: dict[tuple[str, str], list[Path]] = {}
    others: list[Path] = []
    for path in sorted(folder.glob("*/*.*")):
        config = path.parent.name
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            if config in own and not path.name.startswith("."):
                others.append(path)
            continue
        name, language = match.groups()
        if config == task.hub_config:
            language = "en" if name == "train" else language
        elif language is None:
            language = config
        else:
            continue  # another task of a mirror
        if language in known:
            found.setdefault((language, names[name]), []).append(path)
    return {key: _whole(paths) for key, paths in found.items()}, tuple(others)


def _whole(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The files of a split, if they are one writing of it and all there."""
    shards = [SHARD.search(path.name) for path in paths]
    counts = {int(shard[2]) if shard else 1 for shard in shards}
    if len(paths) > 1 and (None in shards or len(counts) > 1):
        raise UserError(f"{paths[0]}: the split is there twice, in {paths[-1].name}, too; keep one")
    if counts != {len(paths)}:
        raise UserError(
            f"{paths[0]}: the split has {counts.pop()} files, and {len(paths)} are there"
        )
    return tuple(paths)


def _read(
    task: Task, folder: Path, files: tuple[Path, ...], split: str, progress: Progress
) -> Rows:
    rows = parquet.read(files, task, folder, unlabelled=split == "test", progress=progress)
    return rows if task.kind == "token" else renamed(rows, task.renamed)
