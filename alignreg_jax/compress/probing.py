"""What a smaller model still holds of its languages inside: every layer, on sentences in parallel.

Scores say what a language lost; this says where. The vector of a sentence is the mean of what a
layer makes of its pieces. Measures are in evaluation/alignment.py.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int
from tokenizers import Tokenizer

from alignreg_jax.compress import folders
from alignreg_jax.compress.agreement import Network
from alignreg_jax.data import encoding, parallel
from alignreg_jax.data.batching import PADDING_ROW, bucket_edges, evaluation_plan
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.data.schema import Split
from alignreg_jax.data.subset import draw
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import alignment
from alignreg_jax.models import checkpoints, xlmr
from alignreg_jax.run.export import FINAL, STEPS
from alignreg_jax.support.progress import progress

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
    found: list[Model] = []
    for place in places:
        run = Path(place).expanduser()
        steps = sorted((run / STEPS).glob("[0-9]*"), key=lambda step: int(step.name))
        if (run / "results.json").exists() or steps:
            last = [run / FINAL] if (run / FINAL).is_dir() else []
            if not (of_run := [*steps, *last]):
                raise UserError(f"{place}: has no model; run it again with --config.export=steps")
            found += [Model(f"{run.name}/{each.relative_to(run)}", each) for each in of_run]
        else:
            found.append(Model(run.name, checkpoints.resolve(place, "MODEL")))
    names = [model.name for model in found]
    return [
        model if names.count(model.name) == 1 else model._replace(name=str(model.folder))
        for model in found
    ]


def read(files: Sequence[str], rows: int, pivot: str) -> dict[str, Split]:
    """Read sentences in parallel, as data/parallel.py says, and draw at most `rows` of them.

    Raises:
        UserError: as there; there are too few.
    """
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
    network = folders.read(folder).network
    tokenizer = encoding.load_tokenizer(folder, network.config.vocab_size)
    return {
        language: _states(network, encoded, update)
        for language, encoded in _encoded(splits, tokenizer, network.config.max_length).items()
    }


def _encoded(
    splits: Mapping[str, Split], tokenizer: Tokenizer, max_length: int
) -> dict[str, Encoded]:
    return {name: encoding.encode(split, tokenizer, max_length) for name, split in splits.items()}


def _states(
    network: Network, encoded: Encoded, update: Callable[[int], object]
) -> Float[np.ndarray, "layers rows hidden"]:
    params, config, head, _ = network
    labels = 1 if head is None else params["head"]["out"]["bias"].shape[0]
    model, placed = xlmr.XlmrModel(config, head or "linear", labels), jax.device_put(dict(params))
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
        found[:, there] = np.asarray(_means(model, placed, ids, lengths))[:, : len(there)]
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
    means = inside.groupby(["measure", "model"], sort=False).value.mean().unstack("measure")
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
