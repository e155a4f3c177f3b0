"""The architecture that a Hugging Face config.json describes."""

import json
from pathlib import Path
from typing import Any

from alignreg_jax.errors import UserError
from alignreg_jax.models.xlmr import XlmrConfig

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
# config.json's name of each field of XlmrConfig, and the value that transformers takes without it
_REQUIRED = object()
FIELDS: dict[str, tuple[str, type, Any]] = {
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


def read_config(folder: Path) -> XlmrConfig:
    """The architecture in the folder's config.json.

    Raises:
        UserError: no such file, not JSON, another model_type, a field missing or unusable, or an
            adapter, which transformers would add to the model.
    """
    if (folder / ADAPTER).exists():
        raise UserError(
            f"{folder / ADAPTER}: adapters are not read; merge this one into the model with peft's "
            "merge_and_unload, and save that"
        )
    path = folder / CONFIG
    raw = read_json(path)
    if raw.get("model_type") != "xlm-roberta":
        raise UserError(
            f"{path}: model_type is {raw.get('model_type')!r}, only 'xlm-roberta' can be loaded"
        )
    for field, value in _FIXED.items():
        if raw.get(field, value) != value:
            raise UserError(f"{path}: {field} is {raw[field]!r}, only {value!r} is supported")
    values: dict[str, Any] = {}
    for name, (field, kind, default) in FIELDS.items():
        value = raw.get(field, default)
        if value is _REQUIRED:
            raise UserError(f"{path}: {field} is missing")
        accepted = (int, float) if kind is float else int
        number = isinstance(value, accepted) and not isinstance(value, bool)
        below = 1 if kind is float else 2**31  # dropouts and epsilon; sizes
        least = default is _REQUIRED
        if not ((number and least <= value < below) or value is default is None):
            raise UserError(f"{path}: {field} is {value!r}, not a usable {kind.__name__}")
        values[name] = value
    if values["hidden_size"] % values["num_heads"]:
        raise UserError(
            f"{path}: hidden_size {values['hidden_size']} is not a multiple of "
            f"num_attention_heads {values['num_heads']}"
        )
    return XlmrConfig(**values)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; UserError names the file if it holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object")
    return content
