"""What a smaller model still holds of its languages inside: every layer, on sentences in parallel.

Scores say what a language lost; this says where. The vector of a sentence is the mean of what a
layer makes of its pieces. Measures are in evaluation/alignment.py.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int

from alignreg_jax.data import encoding, parallel
from alignreg_jax.data.batching import PADDING_ROW, bucket_edges, evaluation_plan
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.data.schema import Split
from alignreg_jax.data.subset import draw
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import alignment
from alignreg_jax.models import checkpoints, xlmr
from alignreg_jax.models.xlmr import XlmrConfig
from alignreg_jax.reporting.results import seed_folders
from alignreg_jax.reporting.tracking import METRICS_FILE
from alignreg_jax.run.export import FINAL, STEPS
from alignreg_jax.run.places import model as folder_of
from alignreg_jax.support.progress import progress

log = logging.getLogger(__name__)
FIRST, PIVOT = "CKA with the first model", "CKA with {}"
FOUND, CORRECTED = "retrieval", "retrieval, standardized"
_BATCH = 32

States = Mapping[str, Float[np.ndarray, "_ rows _"]]
"""By language [layers + 1, rows, hidden]: of the embedding and every layer a vector a sentence."""


class Model(NamedTuple):
    """A folder to look into, under a name for the reader."""

    name: str
    folder: Path


def models(places: Sequence[str]) -> list[Model]:
    """Find the folders that are meant; of a run, those of its steps and the last.

    Args:
        places: folders or Hub ids of models, and runs.

    Raises:
        UserError: there is no such model, or a run without one.
    """
    found: dict[str, Model] = {}
    for place in places:
        place = place.rstrip("/") or place
        run = Path(os.path.expanduser(place))
        name = _readable(Path(os.path.abspath(run)).name)
        if os.path.isdir(run) and (parts := _of_run(place, run)):
            own = {f"{place}/{part}": Model(f"{name}/{part}", run / part) for part in parts}
        else:
            own = {place: Model(name, folder_of(place, "MODEL"))}
        if twice := own.keys() & found.keys():
            raise UserError(f"MODEL: {min(twice)} is given twice")
        found |= own
    for model in found.values():
        checkpoints.read_config(model.folder)  # of all, before the first one takes its time
    names = [model.name for model in found.values()]
    return [
        model if names.count(model.name) == 1 else model._replace(name=_readable(whole))
        for whole, model in found.items()
    ]


def _of_run(place: str, run: Path) -> list[str]:
    """The folders of a run that are models; none if it is no run.

    Raises:
        UserError: it is a run without one, or several.
    """
    folders = [path.name for path in (run / STEPS).glob("*") if path.is_dir()]
    steps = sorted(int(name) for name in folders if re.fullmatch("[0-9]+", name))
    if not steps and not any((run / name).exists() for name in ("results.json", METRICS_FILE)):
        if seeds := seed_folders(run, METRICS_FILE):
            raise UserError(f"{place}: has a run for each seed; give {place}/{seeds[0]}")
        return []
    if steps != list(range(len(steps))):
        lacking = next(number for number, step in enumerate(steps) if number != step)
        raise UserError(f"{place}: {STEPS}/{lacking} is not there, and those after it are")
    parts = [f"{STEPS}/{step}" for step in steps]
    parts += [FINAL] if (run / FINAL).is_dir() else []
    if not parts:
        raise UserError(
            f"{place}: has no model yet, or was made without; --config.export=steps in another"
            " --workdir leaves one for every step"
        )
    return parts


def _readable(text: str) -> str:
    """A path as one line of UTF-8."""
    return os.fsencode(text).decode(errors="backslashreplace").replace("\n", "\\n")


def read(files: Sequence[str], rows: int, pivot: str) -> dict[str, Split]:
    """Read sentences in parallel, as data/parallel.py says, and draw at most `rows` of them.

    Raises:
        UserError: as there; there are too few, or too few are asked for.
    """
    if rows < alignment.LEAST_ROWS:
        raise UserError(f"--rows={rows}: should be at least {alignment.LEAST_ROWS}")
    found = parallel.read(files, pivot)
    there = found[pivot].rows
    if there < alignment.LEAST_ROWS:
        raise UserError(f"--text: {there} rows say the same; {alignment.LEAST_ROWS} are needed")
    return {language: draw(split, rows) for language, split in found.items()}


def table(found: Sequence[Model], splits: Mapping[str, Split], pivot: str) -> pd.DataFrame:
    """Measure every model; a row for each model, language, layer and measure.

    Columns model, language, layer (0: the embedding's output), measure, value. CKA with the first
    model is of every language; the others are of pairs with `pivot`. Models with another number of
    layers than the first are compared with it at the last one alone.

    Args:
        found: of `models`.
        splits: of `read`.
        pivot: the language that the others are compared with.

    Raises:
        UserError: a folder is not a model that is known here.
    """
    tables: list[pd.DataFrame] = []
    first: States = {}
    total = len(found) * sum(split.rows for split in splits.values())
    with progress(total, "reading", "rows") as bar:
        for model in found:
            states = vectors(model.folder, splits, bar.update)
            first = first or states
            frame = pd.DataFrame(_measured(states, first, pivot))
            frame.insert(0, "model", model.name)
            tables.append(frame)
    return pd.concat(tables, ignore_index=True)


def _measured(states: States, first: States, pivot: str) -> list[dict[str, Any]]:
    found = []
    for language, layers in states.items():
        whole = len(layers) == len(first[language])
        for layer, own in enumerate(layers):
            values = {}
            if whole or layer == len(layers) - 1:
                values[FIRST] = alignment.cka(own, first[language][layer if whole else -1])
            if language != pivot:
                other = states[pivot][layer]
                values[PIVOT.format(pivot)] = alignment.cka(own, other)
                values[FOUND] = alignment.retrieval(own, other)
                values[CORRECTED] = alignment.retrieval(
                    alignment.standardized(own), alignment.standardized(other)
                )
            found += [
                {"language": language, "layer": layer, "measure": name, "value": value}
                for name, value in values.items()
            ]
    return found


def vectors(folder: Path, splits: Mapping[str, Split], update: Callable[[int], object]) -> States:
    """What a model makes of sentences: the mean over the pieces of each, after every layer.

    Args:
        folder: of the model, with its tokenizer.
        splits: sentences by language.
        update: told the number of rows done since the last call.

    Raises:
        UserError: it is no such model.
    """
    # Whatever head it has is not looked at
    loaded = checkpoints.load(folder, head="linear", labels=("0",), seed=0, new_head=True)
    tokenizer = encoding.load_tokenizer(folder, loaded.config.vocab_size)
    longest, params = loaded.config.max_length, jax.device_put(dict(loaded.params))
    encoded = {name: encoding.encode(split, tokenizer, longest) for name, split in splits.items()}
    if full := sum(int((rows.lengths == longest).sum()) for rows in encoded.values()):
        log.warning("%s reads %d pieces: up to %d rows are cut there", folder, longest, full)
    # In one pass: languages share batches
    joined = encoding.concatenate(list(encoded.values()))
    states = _states(params, loaded.config, joined, update)
    ends = np.cumsum([rows.rows for rows in encoded.values()])[:-1]
    return dict(zip(encoded, np.split(states, ends, axis=1), strict=True))


def _states(
    params: Any, config: XlmrConfig, encoded: Encoded, update: Callable[[int], object]
) -> Float[np.ndarray, "layers rows hidden"]:
    model = xlmr.XlmrModel(config, "linear", 1)
    plan = evaluation_plan(
        encoded.lengths,
        batch_size=_BATCH,
        edges=bucket_edges(config.max_length),
        steps_per_dispatch=1,
    )
    found = np.zeros((config.num_layers + 1, encoded.rows, config.hidden_size), np.float32)
    for dispatch in plan:
        (numbers,) = dispatch.rows
        there = numbers[numbers != PADDING_ROW]
        ids = np.full((_BATCH, dispatch.length), config.pad_token_id, np.int32)
        lengths = np.zeros(_BATCH, np.int32)
        for place, row in enumerate(there):
            start, count = encoded.offsets[row], encoded.lengths[row]
            ids[place, :count], lengths[place] = encoded.ids[start : start + count], count
        found[:, there] = np.asarray(_means(model, params, ids, lengths))[:, : len(there)]
        update(len(there))
    return found


@partial(jax.jit, static_argnums=0)
def _means(
    model: xlmr.XlmrModel,
    params: Any,
    ids: Int[Array, "batch length"],
    lengths: Int[Array, " batch"],
) -> Float[Array, "layers batch hidden"]:
    states = xlmr.hidden_states(model, params, ids, lengths)
    there = jnp.arange(ids.shape[1])[None] < lengths[:, None]
    total = jnp.einsum("lbth,bt->lbh", states, there.astype(states.dtype))
    return total / jnp.maximum(lengths, 1)[None, :, None]


def lines_of(measured: pd.DataFrame) -> list[str]:
    """The table on screen: means over the languages and the layers after the embedding."""
    inside = measured[measured.layer > 0]
    groups = inside.groupby(["measure", "model"], sort=False).value
    # Without skipping: the mean of the others would hide a language that has collapsed
    means = groups.agg(lambda values: values.mean(skipna=False)).unstack("measure")
    corrected = inside.loc[inside.measure == CORRECTED]
    by_language = corrected.groupby(["model", "language"], sort=False).value.mean().unstack()
    names = list(dict.fromkeys(measured.model))
    shown = means.loc[names, list(dict.fromkeys(measured.measure))]
    wide = max(len("model"), *map(len, names))
    found = ["  ".join(["model".ljust(wide), *shown.columns, "worst language"])]
    for name, row in shown.iterrows():
        values = [f"{value:.3f}".rjust(len(column)) for column, value in row.items()]
        worst = by_language.loc[str(name)]
        language = str(worst.idxmin())
        said = f"{language} {worst.min():.3f}"
        found.append("  ".join([str(name).ljust(wide), *values, said]))
    return found
