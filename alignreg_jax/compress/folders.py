"""A folder of a model as it is, with the head that it has or without one."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from alignreg_jax.compress.agreement import Network
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, elastic, heads, names, storage
from alignreg_jax.models.architecture import CONFIG, read_json
from alignreg_jax.pruning import size_files
from alignreg_jax.run import digests


class Original(NamedTuple):
    """A folder in memory.

    Attributes:
        network: the model, with the head that it has.
        labels: names of the head's rows; none without a head.
        skipped: tensors of the folder that have no place in it.
    """

    network: Network
    labels: tuple[str, ...]
    skipped: tuple[str, ...]


def read(folder: Path) -> Original:
    """Read a model with the head that it has.

    Args:
        folder: of model_type xlm-roberta, stock or in the free form.

    Raises:
        UserError: it is no such folder, or damaged.
    """
    checkpoints.read_config(folder)  # first: a folder of something else is told so
    stored = storage.Storage(folder)
    if not any(names.is_head(name) for name in stored.names):
        loaded = checkpoints.load(folder, head="linear", labels=("0",), seed=0, new_head=True)
        params = {name: tree for name, tree in loaded.params.items() if name != "head"}
        return Original(Network(params, loaded.config, None), (), tuple(loaded.skipped))
    head, labels = checkpoints.head_form(folder), _labels(folder, stored)
    loaded = checkpoints.load(folder, head=head, labels=labels, seed=0)
    return Original(Network(loaded.params, loaded.config, head), labels, tuple(loaded.skipped))


def sizes(folder: Path, network: Network) -> size_files.Sizes:
    """Read the thresholds of a model that serves every size.

    Args:
        folder: of the model.
        network: what was read there.

    Raises:
        UserError: there are none, they are damaged, or of another model.
    """
    found = size_files.read(folder)
    if found.encoder != digests.of_encoder(network.params, network.config):
        raise UserError(
            f"{folder}: its {size_files.SIZES} belongs to another model than its weights; bring"
            " back those that it was exported with"
        )
    try:
        elastic.as_arrays((found.tau, np.ones(1)), network.config, rows=1)  # checks their shapes
    except ValueError as error:
        raise UserError(f"{folder / size_files.SIZES}: is damaged ({error})") from None
    return found


def _labels(folder: Path, stored: storage.Storage) -> tuple[str, ...]:
    """Names of the head's rows; transformers' own where nobody has named them."""
    raw = read_json(folder / CONFIG)
    if "id2label" in raw:
        return heads.labels_of(raw, folder / CONFIG)
    last = ("classifier.out_proj.bias", "classifier.bias", "label_words.bias")
    rows = next(stored.shape(name)[0] for name in last if name in stored.names)
    return tuple(f"LABEL_{row}" for row in range(rows))
