"""Data sets of the Hugging Face Hub: parquet files `<language>/<split>-*.parquet`.

`facebook/xnli` and `google-research-datasets/paws-x` are laid out so, one config per language.
Only the files that are used are fetched: a whole config holds machine-translated training data
(60 MB a language in XNLI), which zero-shot transfer must not see. A local folder of the same
layout serves as well as the Hub; `HF_HUB_OFFLINE` and the Hub's cache work as everywhere.
"""

from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
import pyarrow
import pyarrow.parquet
from datasets import ClassLabel, Features
from datasets.info import DatasetInfosDict

from alignreg_jax.data.schema import Rows
from alignreg_jax.data.tasks import Task
from alignreg_jax.errors import UserError

SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def fetch(task: Task, languages: Sequence[str]) -> Path:
    """Return the local snapshot of the task's Hub data set; downloads what is not cached.

    Raises UserError when the Hub cannot be reached or has no such data set.
    """
    patterns = ["README.md", "en/train*.parquet"]
    for language in languages:
        patterns += [f"{language}/validation*.parquet", f"{language}/test*.parquet"]
    try:
        folder = huggingface_hub.snapshot_download(
            str(task.hub_id), repo_type="dataset", allow_patterns=patterns
        )
    except Exception as error:  # the client raises what its HTTP library of the day raises
        raise UserError(
            f"task.source=hub: {task.hub_id} cannot be had from the Hub ({_first_line(error)}); "
            "pass task.data_dir=FOLDER with its files <lang>/<split>-*.parquet"
        ) from error
    return Path(folder)


def find(folder: Path) -> dict[tuple[str, str], list[Path]]:
    """Return (language, split) -> the split's files in order; UserError if there is no folder."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; it should hold <lang>/<split>-*.parquet")
    found = {}
    for config in sorted(path for path in folder.iterdir() if path.is_dir()):
        for split, hub_split in SPLITS.items():
            files = sorted(config.glob(f"{hub_split}-*.parquet"))
            files = files or sorted(config.glob(f"{hub_split}.parquet"))
            if files:
                found[config.name, split] = files
    return found


def read(files: Sequence[Path], task: Task, folder: Path) -> Rows:
    """Return the rows of a split; labels by the names the data give them, never by position.

    Raises UserError for files that are not such parquet, or rows without text or label.
    """
    columns: dict[str, list] = {field: [] for field in (*task.text_fields, task.label_field)}
    for file in files:
        try:
            parquet = pyarrow.parquet.ParquetFile(file)
            missing = set(columns) - set(parquet.schema_arrow.names)
            if missing:
                raise UserError(f"{file}: has no column {', '.join(sorted(missing))}")
            table = parquet.read(columns=list(columns))
        except (OSError, pyarrow.ArrowException) as error:
            raise UserError(f"{file}: not readable as parquet ({_first_line(error)})") from error
        for field in task.text_fields:
            columns[field] += _texts(table[field], f"{file}: {field}")
        columns[task.label_field] += _labels(table, task, folder, file)
    if not columns[task.label_field]:
        raise UserError(f"{files[0]}: has no rows")
    first, *second = (columns[field] for field in task.text_fields)
    return Rows(first, second[0] if second else None, columns[task.label_field], str(files[0]))


def _texts(column: pyarrow.ChunkedArray, where: str) -> list[str]:
    strings = pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)
    if not strings:
        raise UserError(f"{where} must be a string, not {column.type}")
    values = column.to_pylist()
    if column.null_count:
        raise UserError(f"{where} is null in row {values.index(None) + 1}")
    return values


def _labels(table: pyarrow.Table, task: Task, folder: Path, file: Path) -> list[str]:
    field = task.label_field
    feature = Features.from_arrow_schema(table.schema)[field]
    if not isinstance(feature, ClassLabel) and pyarrow.types.is_integer(table[field].type):
        # The parquet file does not name its labels; the data set's card may.
        feature = _card_feature(folder, file.parent.name, field)
        if not isinstance(feature, ClassLabel):
            raise UserError(f"{file}: {field} holds numbers, and neither file nor card names them")
    if not isinstance(feature, ClassLabel):
        return _texts(table[field], f"{file}: {field}")
    names = feature.names
    values = table[field].to_pylist()
    for number, value in enumerate(values, start=1):
        if value is None or not 0 <= value < len(names):
            raise UserError(f"{file}: row {number} has no label ({value}; there are {len(names)})")
    return [names[value] for value in values]


def _card_feature(folder: Path, config: str, field: str) -> object:
    try:
        info = DatasetInfosDict.from_directory(str(folder)).get(config)
    except Exception as error:  # a card is free text: whatever is wrong with it, it names nothing
        raise UserError(f"{folder}/README.md: not readable ({_first_line(error)})") from error
    return info.features.get(field) if info is not None and info.features else None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
