"""Hugging Face checkpoint folders to parameters and back, bit for bit over the tensors held.

In: a folder or Hub id of model_type xlm-roberta with safetensors weights (see storage.py). Out: a
folder that stock transformers loads.
"""

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from alignreg_jax.errors import UserError
from alignreg_jax.models import names, storage, xlmr
from alignreg_jax.models.names import Slot, name_table
from alignreg_jax.models.quantized import FILE_NAME as QUANTIZED
from alignreg_jax.models.xlmr import Head, Params, XlmrConfig

__all__ = ["Loaded", "Slot", "load", "name_table", "read_config", "resolve", "save", "with_seed"]

DEMO = Path(__file__).parent.parent / "demo" / "encoder"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
_CLASSES: dict[str, str] = {
    "dense-tanh-out": "XLMRobertaForSequenceClassification",
    "linear": "XLMRobertaModel",
    "token": "XLMRobertaForTokenClassification",
}
HEAD_DEVIATION = 0.02  # of a new head's kernels, as in transformers (initializer_range)
_DOWNLOADS = [
    "config.json",
    storage.SINGLE,
    storage.INDEX,
    "model-*.safetensors",
    storage.HEAD,
    QUANTIZED,
    TOKENIZER,
    TOKENIZER_CONFIG,
]
# config.json's name of each field of XlmrConfig, and the value that transformers takes without it
_REQUIRED = object()
_FIELDS: dict[str, tuple[str, type, Any]] = {
    "vocab_size": ("vocab_size", int, _REQUIRED),
    "hidden_size": ("hidden_size", int, _REQUIRED),
    "num_layers": ("num_hidden_layers", int, _REQUIRED),
    "num_heads": ("num_attention_heads", int, _REQUIRED),
    "intermediate_size": ("intermediate_size", int, _REQUIRED),
    "max_positions": ("max_position_embeddings", int, _REQUIRED),
    "type_vocab_size": ("type_vocab_size", int, 2),
    "layer_norm_eps": ("layer_norm_eps", float, 1e-12),
    "pad_token_id": ("pad_token_id", int, 1),
    "hidden_dropout": ("hidden_dropout_prob", float, 0.1),
    "attention_dropout": ("attention_probs_dropout_prob", float, 0.1),
    "classifier_dropout": ("classifier_dropout", float, None),
}
# What the encoder here does not do; another value would silently give other numbers
_FIXED = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}
_SPECIALS = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory.

    `params` is the nested dict of models/xlmr.py in float32 numpy; `skipped` are tensors without a
    place in a classifier, `initialised` those the checkpoint lacks (a new head), both by the
    checkpoint's names.
    """

    params: Params
    config: XlmrConfig
    skipped: list[str]
    initialised: list[str]


def resolve(name_or_path: str) -> Path:
    """The checkpoint's folder: "demo" is the bundled encoder, else a folder, else a Hub id.

    Hub ids are fetched into the Hub's cache (`HF_HUB_OFFLINE`, `HF_HOME`) without pickle weights.

    Raises:
        UserError: neither a folder nor a model that the Hub or its cache has.
    """
    if name_or_path == "demo":
        return DEMO
    folder = Path(os.path.expanduser(name_or_path))  # leaves a ~user that is nobody; Path's raises
    if folder.is_dir():
        return folder
    # Not at the top: the import reads HF_* and is not needed for a folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name_or_path, allow_patterns=_DOWNLOADS))
    except (OSError, HFValidationError) as error:  # OSError: also every error of the Hub's
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"model.name_or_path={name_or_path}: no such folder, and not from the Hub or its cache "
            f"({type(error).__name__}: {reason}); give an existing folder (./my-encoder), a Hub id "
            "(FacebookAI/xlm-roberta-base) or demo"
        ) from error


def read_config(folder: Path) -> XlmrConfig:
    """The architecture in the folder's config.json.

    Raises:
        UserError: no such file, not JSON, another model_type, or a field missing or unusable.
    """
    path = folder / "config.json"
    raw = _read_json(path)
    if raw.get("model_type") != "xlm-roberta":
        raise UserError(
            f"{path}: model_type is {raw.get('model_type')!r}, only 'xlm-roberta' can be loaded"
        )
    for field, value in _FIXED.items():
        if raw.get(field, value) != value:
            raise UserError(f"{path}: {field} is {raw[field]!r}, only {value!r} is supported")
    values: dict[str, Any] = {}
    for name, (field, kind, default) in _FIELDS.items():
        value = raw.get(field, default)
        if value is _REQUIRED:
            raise UserError(f"{path}: {field} is missing")
        accepted = (int, float) if kind is float else int
        number = isinstance(value, accepted) and not isinstance(value, bool)
        if not ((number and value >= (default is _REQUIRED)) or value is default is None):
            raise UserError(f"{path}: {field} is {value!r}, not a usable {kind.__name__}")
        values[name] = value
    if values["hidden_size"] % values["num_heads"]:
        raise UserError(
            f"{path}: hidden_size {values['hidden_size']} is not a multiple of "
            f"num_attention_heads {values['num_heads']}"
        )
    return XlmrConfig(**values)


def load(folder: Path, *, head: Head, num_labels: int, seed: int) -> Loaded:
    """Parameters of the checkpoint in `folder` as float32; a missing head is drawn from `seed`.

    A new head's kernels are normal with deviation 0.02, its biases zero (transformers' rule).

    Raises:
        UserError: weights that cannot be read, are missing, surplus or of the wrong shape, a head
            for another number of labels, or a tokenizer with more pieces than embedding rows.
    """
    config = read_config(folder)
    _check_vocabulary(folder, config)
    stored = storage.Storage(folder)
    table = {names.canonical(name): slot for name, slot in name_table(config, head).items()}
    skipped = [name for name in stored.names if names.is_skipped(name)]
    held = set(stored.names) - set(skipped)
    head_names = {name for name in table if names.is_head(name)}
    initialised = [] if held & head_names else sorted(head_names)
    _check_names(folder, head, held, set(table) - set(initialised))

    shapes = _leaf_shapes(config, head, num_labels)
    leaves = {path: np.empty(shape, np.float32) for path, shape in shapes.items()}
    for name in sorted(held):
        slot = table[name]
        shape = shapes[slot.path] if slot.layer is None else shapes[slot.path][1:]
        expected = shape[::-1] if slot.transpose else shape
        if stored.shape(name) != expected:
            raise _wrong_shape(folder, name, stored.shape(name), expected)
        value = stored.read(name)
        leaves[slot.path][... if slot.layer is None else slot.layer] = (
            value.T if slot.transpose else value
        )
    leaves |= _new_head({table[name].path: shapes[table[name].path] for name in initialised}, seed)
    params = traverse_util.unflatten_dict(leaves, sep="/")
    return Loaded(params, config, skipped, initialised)


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


def save(
    folder: Path,
    params: Params,
    config: XlmrConfig,
    *,
    head: Head,
    labels: tuple[str, ...],
    source: Path,
) -> None:
    """Write a folder that stock transformers loads, weights in float32.

    `dense-tanh-out` gives an `XLMRobertaForSequenceClassification`, `token` an
    `XLMRobertaForTokenClassification`; `linear` an `XLMRobertaModel` with the head beside it in
    head.safetensors (`classifier.weight` `[labels, hidden]`, `classifier.bias`). tokenizer.json is
    copied from `source` byte for byte. Files are written in place: give a temporary folder and
    rename it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", _config_json(config, head, labels, source))
    shutil.copyfile(source / TOKENIZER, folder / TOKENIZER)
    _write_json(folder / TOKENIZER_CONFIG, _tokenizer_config(config, source))

    leaves: Any = traverse_util.flatten_dict(dict(params), sep="/")
    tensors = {}
    for name, slot in name_table(config, head).items():
        leaf = leaves[slot.path]
        value = np.asarray(leaf if slot.layer is None else leaf[slot.layer], np.float32)
        # save_file writes a transposed view's memory as it lies, which is the wrong order
        tensors[name] = np.ascontiguousarray(value.T if slot.transpose else value)
    files = {storage.SINGLE: tensors}
    if head == "linear":
        apart = {name: tensors.pop(name) for name in list(tensors) if names.is_head(name)}
        files[storage.HEAD] = apart
    for file, content in files.items():
        save_file(content, folder / file, metadata={"format": "pt"})
        # safetensors makes files that only their owner can read
        (folder / file).chmod((folder / "config.json").stat().st_mode)


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


def _check_names(folder: Path, head: Head, held: set[str], wanted: set[str]) -> None:
    missing, surplus = sorted(wanted - held), sorted(held - wanted)
    if any(names.is_head(name) for name in surplus):
        raise UserError(
            f"{folder}: the checkpoint has another classification head "
            f"({storage.few([name for name in surplus if names.is_head(name)])}) than "
            f"model.head={head}; set model.head to the form it has, or remove those tensors"
        )
    if missing:
        raise UserError(f"{folder}: missing tensors: {storage.few(missing)}")
    if surplus:
        raise UserError(f"{folder}: tensors XLM-R does not have: {storage.few(surplus)}")


def _leaf_shapes(config: XlmrConfig, head: Head, num_labels: int) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter, asked of the model itself."""
    model = xlmr.XlmrModel(config, head, num_labels)
    tree = jax.eval_shape(lambda key: xlmr.init_params(model, key), jax.random.key(0))
    leaves: Any = traverse_util.flatten_dict(dict(tree), sep="/")
    return {path: leaf.shape for path, leaf in leaves.items()}


def _wrong_shape(
    folder: Path, name: str, shape: tuple[int, ...], expected: tuple[int, ...]
) -> UserError:
    if names.is_head(name) and shape[1:] == expected[1:]:
        return UserError(
            f"{folder}: the checkpoint's head has {shape[0]} labels and the task {expected[0]} "
            f"({name}); start from an encoder without a head, or choose the task it was made for"
        )
    return UserError(
        f"{folder}: tensor {name} has shape {list(shape)}, config.json says {list(expected)}"
    )


def _config_json(
    config: XlmrConfig, head: Head, labels: tuple[str, ...], source: Path
) -> dict[str, Any]:
    original = _read_json(source / "config.json")
    return {
        "architectures": [_CLASSES[head]],
        "model_type": "xlm-roberta",
        **{field: getattr(config, name) for name, (field, _, _) in _FIELDS.items()},
        "hidden_act": "gelu",
        "initializer_range": original.get("initializer_range", 0.02),
        "bos_token_id": original.get("bos_token_id", 0),
        "eos_token_id": original.get("eos_token_id", 2),
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        "dtype": "float32",
    }


def _tokenizer_config(config: XlmrConfig, source: Path) -> dict[str, Any]:
    """Options of a tokenizer class that takes tokenizer.json as it is.

    XLMRobertaTokenizer in transformers 5 builds its own pipeline instead, which splits some strings
    otherwise (those ending in U+200C, for one). Special tokens come from the source, so far as the
    vocabulary has them: any other would be added to it.
    """
    path = source / TOKENIZER_CONFIG
    original = _read_json(path) if path.exists() else {}
    known = Tokenizer.from_buffer((source / TOKENIZER).read_bytes()).get_vocab()
    specials = {}
    for role, default in _SPECIALS.items():
        token = original.get(role, default)
        token = token.get("content") if isinstance(token, dict) else token
        if token in known:
            specials[role] = token
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_length,
        "model_input_names": ["input_ids", "attention_mask"],
        **specials,
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object")
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
