"""From parameters to a folder that stock transformers loads, bit for bit over the tensors held."""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
from flax import traverse_util
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from alignreg_jax.errors import UserError
from alignreg_jax.models import names, storage
from alignreg_jax.models.architecture import CONFIG, FIELDS, read_json
from alignreg_jax.models.names import name_table
from alignreg_jax.models.xlmr import Head, Params, XlmrConfig

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
_CLASSES: dict[str, str] = {
    "dense-tanh-out": "XLMRobertaForSequenceClassification",
    "linear": "XLMRobertaModel",
    "token": "XLMRobertaForTokenClassification",
    "label-words": "XLMRobertaModel",
}
_SPECIALS = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


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
    head.safetensors (`classifier.weight` `[labels, hidden]`, `classifier.bias`), and so does
    `label-words` (`lm_head.dense`, `lm_head.layer_norm`, `label_words`). tokenizer.json is copied
    from `source` byte for byte. Files are written in place: give a temporary folder and rename it.

    Raises:
        ValueError: sizes that transformers' XLM-R cannot have.
    """
    if config.head_size is not None or not config.stacked:
        raise ValueError(
            "no stock form: transformers' XLM-R has layers of equal sizes, and heads of "
            "hidden_size / num_attention_heads"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / CONFIG, _config_json(config, head, labels, source))
    shutil.copyfile(source / TOKENIZER, folder / TOKENIZER)
    _write_json(folder / TOKENIZER_CONFIG, _tokenizer_config(config, source))

    leaves: Any = traverse_util.flatten_dict(dict(params), sep="/")
    tensors, table = {}, name_table(config, head)
    for name, slot in table.items():
        leaf = leaves[slot.path]
        value = np.asarray(leaf if slot.layer is None else leaf[slot.layer], np.float32)
        # save_file writes a transposed view's memory as it lies, which is the wrong order
        tensors[name] = np.ascontiguousarray(value.T if slot.transpose else value)
    files = {storage.SINGLE: tensors}
    if head in names.BESIDE:
        apart = {name: tensors.pop(name) for name in list(tensors) if table[name].of_head}
        files[storage.HEAD] = apart
    for file, content in files.items():
        save_file(content, folder / file, metadata={"format": "pt"})
        # safetensors makes files that only their owner can read
        (folder / file).chmod((folder / CONFIG).stat().st_mode)


def head_form(folder: Path) -> Head:
    """The form of the head in a folder that `save` has written.

    Raises:
        UserError: it is no such folder.
    """
    classes = read_json(folder / CONFIG).get("architectures")
    for form, name in _CLASSES.items():
        beside = (folder / storage.HEAD).exists()
        if [name] == classes and (form in names.BESIDE) == beside:
            # Both of those beside an encoder have its class
            words = beside and "label_words.weight" in storage.Storage(folder).names
            return cast(Head, "label-words" if words else form)
    raise UserError(f"{folder}: not an export of this program, whose head would be known")


def _config_json(
    config: XlmrConfig, head: Head, labels: tuple[str, ...], source: Path
) -> dict[str, Any]:
    original = read_json(source / CONFIG)
    return {
        "architectures": [_CLASSES[head]],
        "model_type": "xlm-roberta",
        **{field: getattr(config, name) for name, (field, _, _) in FIELDS.items()},
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
    original = read_json(path) if path.exists() else {}
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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
