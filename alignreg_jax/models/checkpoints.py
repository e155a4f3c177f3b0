"""Hugging Face checkpoint folders to parameters, bit for bit over the tensors held.

In: a folder or Hub id of model_type xlm-roberta or bert with safetensors weights (see storage.py).
The way back is in saving.py.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from tokenizers import Tokenizer

from alignreg_jax.errors import UserError
from alignreg_jax.models import heads, label_words, names, storage, xlmr
from alignreg_jax.models.architecture import ADAPTER, CONFIG, SLICED, read_config, read_json
from alignreg_jax.models.names import Slot, name_table
from alignreg_jax.models.quantized import FILE_NAME as QUANTIZED
from alignreg_jax.models.saving import (
    SENTENCE_FILES,
    TOKENIZER,
    TOKENIZER_CONFIG,
    head_form,
    save,
)
from alignreg_jax.models.xlmr import Head, Params, XlmrConfig
from alignreg_jax.support.caches import check_hub_cache

__all__ = [
    "TOKENIZER", "Loaded", "Slot", "check", "head_form", "load", "name_table", "read_config",
    "resolve", "save", "with_seed",
]  # fmt: skip

DEMO = Path(__file__).parent.parent / "demo" / "encoder"
HEAD_DEVIATION = 0.02  # of a new head's kernels, as in transformers (initializer_range)
_DOWNLOADS = [
    CONFIG,
    ADAPTER,
    storage.SINGLE,
    storage.INDEX,
    "model-*.safetensors",
    storage.HEAD,
    QUANTIZED,
    TOKENIZER,
    TOKENIZER_CONFIG,
    "README.md",
    *SENTENCE_FILES,
]


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory.

    `params` is the nested dict of models/xlmr.py in float32 numpy; `skipped` are tensors without a
    place in a classifier, `initialised` those the checkpoint lacks (a new head), both by the
    checkpoint's names. `notes` are lines for the log; `quantized`: weights were rounded to 4 bits.
    """

    params: Params
    config: XlmrConfig
    skipped: list[str]
    initialised: list[str]
    notes: list[str] = field(default_factory=list)
    quantized: bool = False


def resolve(name_or_path: str, field: str = "model.name_or_path") -> Path:
    """The checkpoint's folder: "demo" is the bundled encoder, else a folder, else a Hub id.

    Hub ids are fetched into the Hub's cache (`HF_HUB_OFFLINE`, `HF_HOME`) without pickle weights.
    `field` is where the name was given, for messages.

    Raises:
        UserError: neither a folder nor a model that the Hub or its cache has.
    """
    if name_or_path == "demo":
        return DEMO
    if not name_or_path:
        raise UserError(f"{field}: is empty; give a folder, a Hub id or demo")
    folder = Path(os.path.expanduser(name_or_path))  # leaves a ~user that is nobody; Path's raises
    if os.path.isdir(folder):  # Path's raises for a name that is too long
        return folder
    # Not at the top: the import reads HF_* and is not needed for a folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    check_hub_cache(f"{field}={name_or_path}")
    try:
        return Path(snapshot_download(name_or_path, allow_patterns=_DOWNLOADS))
    except (OSError, HFValidationError) as error:  # OSError: also every error of the Hub's
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{field}={name_or_path}: no such folder, and not from the Hub or its cache "
            f"({type(error).__name__}: {reason}); give an existing folder (./my-encoder), a Hub id "
            "(FacebookAI/xlm-roberta-base) or demo"
        ) from error


def load(
    folder: Path,
    *,
    head: Head,
    labels: Sequence[str],
    seed: int,
    new_head: bool = False,
    words: Sequence[str] = (),
) -> Loaded:
    """Parameters of the checkpoint in `folder` as float32; a missing head is drawn from `seed`.

    A new head's kernels are normal with deviation 0.02, its biases zero (transformers' rule).

    Args:
        folder: of the checkpoint.
        head: the form of the head.
        labels: of the data. The rows of a stored head are put into their order, by the names that
            config.json has for them.
        seed: of a new head.
        new_head: leave out the head that the checkpoint has.
        words: of head "label-words", one for each label (label_words.rows_of); none if the
            checkpoint's head is already of that form.

    Raises:
        UserError: weights that cannot be read or are not finite, are missing, surplus or of the
            wrong shape, a head for other labels, or a tokenizer with more pieces than rows.
    """
    plan = _plan(folder, head, labels, new_head, words)
    _check_vocabulary(folder, plan.config)
    stored = plan.stored
    leaves = {path: np.zeros(shape, np.float32) for path, shape in plan.shapes.items()}
    for name, slot in plan.slots:
        value = stored.read(name)
        if slot.per_label:
            value = value[plan.label_rows]
        place = slice(slot.first, None) if slot.layer is None else slot.layer
        leaves[slot.path][place] = value.T if slot.transpose else value
    leaves |= _new_head({path: plan.shapes[path] for path in plan.new_paths}, seed)
    params = traverse_util.unflatten_dict(leaves, sep="/")
    return Loaded(params, plan.config, plan.skipped, plan.initialised, plan.notes, stored.quantized)


def check(
    folder: Path,
    *,
    head: Head,
    labels: Sequence[str],
    new_head: bool = False,
    words: Sequence[str] = (),
) -> None:
    """Raise the UserError that `load` would for names and shapes; no values are read."""
    _plan(folder, head, labels, new_head, words)


@dataclass(frozen=True)
class _Plan:
    """What `load` will do, found out from config.json and the headers of the weights' files.

    `slots` are with names of `stored`; `label_rows` the row of each label in the stored head.
    """

    config: XlmrConfig
    stored: storage.Storage
    slots: list[tuple[str, Slot]]
    shapes: dict[str, tuple[int, ...]]
    label_rows: list[int]
    skipped: list[str]
    initialised: list[str]
    new_paths: list[str]
    notes: list[str]


def _plan(
    folder: Path, head: Head, labels: Sequence[str], new_head: bool, words: Sequence[str]
) -> _Plan:
    config, raw = read_config(folder), read_json(folder / CONFIG)
    if head == "label-words" and config.family != "xlm-roberta":
        raise UserError(f"model.head=label-words: {folder} is no XLM-R, whose head it would be")
    stored = storage.Storage(folder)
    table = {names.canonical(name): slot for name, slot in name_table(config, head).items()}
    unread = {name for name in stored.names if names.is_skipped(name) and name not in table}
    if new_head:
        unread |= {name for name in stored.names if names.is_head(name)}
    source = {name: name for name in stored.names if name not in unread}
    if names.WORD_EMBEDDING not in source and raw.get("tie_word_embeddings", True):
        if names.TIED in unread:
            unread.remove(names.TIED)
            source[names.WORD_EMBEDDING] = names.TIED
    scored = None
    if head == "label-words":
        scored = _label_words(folder, stored, source, labels, words)
        unread -= set(source.values())
    head_names = {name for name in table if table[name].of_head}
    initialised = [] if source.keys() & head_names else sorted(head_names)
    pooled = config.family == "bert" and head == "dense-tanh-out"
    if pooled and not any(table[name].per_label for name in source if name in table):
        initialised = sorted(head_names - source.keys())  # the pooler may be there
    _check_names(folder, head, config, set(source), set(table) - set(initialised))

    shapes = _leaf_shapes(config, head, len(labels))
    notes, label_rows = [], list(range(len(labels)))
    if stored.wrapper:
        notes.append(f"names of the checkpoint's tensors read without {stored.wrapper}")
    if "auto_map" in raw and raw["model_type"] != SLICED:  # ours is the same graph
        notes.append("config.json names code of the model's own (auto_map), which is not run")
    if scored:
        label_rows, notes = scored.pieces, [*notes, scored.note]
    elif not initialised:
        path = folder / CONFIG
        heads.check_use(raw, path, head=head, beside=stored.head_beside)
        (bias,) = (name for name in head_names if table[name].path == "head/out/bias")
        rows = stored.shape(bias)[:1]
        label_rows, note = heads.rows_of(labels, config=raw, path=path, rows=sum(rows))
        notes += [note] if note else []
    for name, held in source.items():
        slot = table[name]
        shape = shapes[slot.path] if slot.layer is None else shapes[slot.path][1:]
        expected = shape[::-1] if slot.transpose else (shape[0] - slot.first, *shape[1:])
        if scored and slot.per_label:  # of which those of the labels are taken
            expected = (config.vocab_size, *expected[1:])
        if stored.shape(held) != expected:
            raise UserError(
                f"{folder}: tensor {held} has shape {list(stored.shape(held))}, config.json says "
                f"{list(expected)}"
            )
    return _Plan(
        config,
        stored,
        [(source[name], table[name]) for name in sorted(source)],
        shapes,
        label_rows,
        [name for name in stored.names if name in unread],
        initialised,
        [table[name].path for name in initialised],
        notes,
    )


def _label_words(
    folder: Path,
    stored: storage.Storage,
    source: dict[str, str],
    labels: Sequence[str],
    words: Sequence[str],
) -> label_words.Rows | None:
    """Add to `source` where the label words come from; None: the checkpoint's head has them."""
    if "label_words.weight" in source:
        if words:
            raise UserError(
                f"{folder}: the checkpoint's head has its words already; leave out"
                " model.label_words, or begin with the encoder that it was made from"
            )
        return None
    rows = label_words.rows_of(folder, stored.names, labels, words)
    source |= {"label_words.weight": rows.weight, "label_words.bias": rows.bias}
    return rows


def with_seed(loaded: Loaded, *, head: Head, seed: int) -> Loaded:
    """What `load` gives for another seed: a new head is drawn, all other arrays are shared."""
    table = {names.canonical(name): slot for name, slot in name_table(loaded.config, head).items()}
    leaves: Any = traverse_util.flatten_dict(dict(loaded.params), sep="/")
    paths = [table[name].path for name in loaded.initialised]
    leaves |= _new_head({path: leaves[path].shape for path in paths}, seed)
    return replace(loaded, params=traverse_util.unflatten_dict(leaves, sep="/"))


def _new_head(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Kernels and biases of a head, drawn in the order given."""
    generator = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) == 1:
            return np.zeros(shape, np.float32)
        return generator.normal(0, HEAD_DEVIATION, shape).astype(np.float32)

    return {path: draw(shape) for path, shape in shapes.items()}


def _check_vocabulary(folder: Path, config: XlmrConfig) -> None:
    """Fewer pieces than rows is fine (tables are padded); a piece without a row is not."""
    path = folder / TOKENIZER
    if not path.exists():
        return  # whoever needs a tokenizer says that there is none
    try:
        pieces = max(Tokenizer.from_buffer(path.read_bytes()).get_vocab().values(), default=-1) + 1
    except Exception as error:  # tokenizers raises bare Exception
        raise UserError(f"{path}: not a tokenizer.json ({error})") from error
    if pieces > config.vocab_size:
        raise UserError(
            f"{path}: the tokenizer has {pieces} pieces but config.json's vocab_size is "
            f"{config.vocab_size}; they belong to different models"
        )


def _check_names(
    folder: Path, head: Head, config: XlmrConfig, held: set[str], wanted: set[str]
) -> None:
    missing, surplus = sorted(wanted - held), sorted(held - wanted)
    other_head = [name for name in surplus if names.is_head(name)]
    if other_head:
        wanted_form = "tokens need" if head == "token" else f"model.head={head}"
        raise UserError(
            f"{folder}: the checkpoint has another classification head "
            f"({storage.few(other_head)}) than {wanted_form}; set model.head to the form it has, "
            f"or {heads.NEW_HEAD}"
        )
    if missing:
        instead = f"; the checkpoint has {storage.few(surplus)} instead" if surplus else ""
        raise UserError(f"{folder}: missing tensors: {storage.few(missing)}{instead}")
    if surplus:
        raise UserError(
            f"{folder}: tensors that XLM-R with {config.num_layers} layers, as config.json says, "
            f"does not have: {storage.few(surplus)}"
        )


@lru_cache
def _leaf_shapes(config: XlmrConfig, head: Head, num_labels: int) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter, asked of the model itself."""
    model = xlmr.XlmrModel(config, head, num_labels)
    tree = jax.eval_shape(lambda key: xlmr.init_params(model, key), jax.random.key(0))
    leaves: Any = traverse_util.flatten_dict(dict(tree), sep="/")
    return {path: leaf.shape for path, leaf in leaves.items()}
