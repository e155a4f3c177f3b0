"""From parameters to a folder that transformers loads, bit for bit over the tensors held.

Stock transformers, where its XLM-R can have the sizes; otherwise ("free" form) with the names of
stock tensors, shapes of their own, and one file of PyTorch code for whoever trusts it.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from flax import traverse_util
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from alignreg_jax.errors import UserError
from alignreg_jax.models import names, special_ids, storage
from alignreg_jax.models.architecture import (
    BERT,
    CONFIG,
    FIELDS,
    HEAD_SIZE,
    PLAIN_POSITIONS,
    SLICED,
    STOCK,
    Family,
    read_json,
)
from alignreg_jax.models.names import name_table
from alignreg_jax.models.xlmr import Head, Params, XlmrConfig

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SENTENCE_FILES = (
    "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json",
    "[0-9]_*/*.json",
)  # fmt: skip
"""What sentence-transformers reads beside an encoder: how vectors are made, and prompts."""
CODE = Path(__file__).parent / "modeling_xlmr_sliced.py"
"""PyTorch's side of the free form, which is copied into its folders."""
_CLASSES: dict[str, str] = {
    "dense-tanh-out": "XLMRobertaForSequenceClassification",
    "linear": "XLMRobertaModel",
    "token": "XLMRobertaForTokenClassification",
    "label-words": "XLMRobertaModel",
}
# What the free form's file has for each Auto class of transformers
_AUTO_MAP = {
    "AutoConfig": "XLMRobertaSlicedConfig",
    "AutoModel": "XLMRobertaSlicedModel",
    "AutoModelForSequenceClassification": "XLMRobertaSlicedForSequenceClassification",
    "AutoModelForTokenClassification": "XLMRobertaSlicedForTokenClassification",
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
    head: Head | None,
    labels: tuple[str, ...],
    source: Path,
    beside: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a folder that transformers loads, weights in float32.

    `dense-tanh-out` gives an `XLMRobertaForSequenceClassification`, `token` an
    `XLMRobertaForTokenClassification`; `linear` an `XLMRobertaModel` with the head beside it in
    head.safetensors (`classifier.weight` `[labels, hidden]`, `classifier.bias`), and so does
    `label-words` (`lm_head.dense`, `lm_head.layer_norm`, `label_words`); None an `XLMRobertaModel`
    alone, with what sentence-transformers reads beside it; of the family of BERT its classes of
    these names. Sizes that stock transformers cannot have (`XlmrConfig.stock`) give the free form:
    classes of modeling_xlmr_sliced.py, which is written beside them. `beside` are tensors, by their
    names, that are written as they are. tokenizer.json is copied from `source` byte for byte, if it
    is there. Files are written in place: give a temporary folder and rename it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / CONFIG, _config_json(config, head, labels, source))
    if not config.stock:
        shutil.copyfile(CODE, folder / CODE.name)
    if (source / TOKENIZER).exists():
        shutil.copyfile(source / TOKENIZER, folder / TOKENIZER)
        _write_json(folder / TOKENIZER_CONFIG, _tokenizer_config(config, source))
    if head is None:
        copy_sentence_files(source, folder)

    leaves: Any = traverse_util.flatten_dict(dict(params), sep="/")
    tensors, table = dict(beside or {}), name_table(config, head)
    for name, slot in table.items():
        leaf = leaves[slot.path]
        place = slice(slot.first, None) if slot.layer is None else slot.layer
        value = np.asarray(leaf[place], np.float32)
        # save_file writes a transposed view's memory as it lies, which is the wrong order
        tensors[name] = np.ascontiguousarray(value.T if slot.transpose else value)
    files = {storage.SINGLE: tensors}
    if head in names.BESIDE:
        apart = {name: tensors.pop(name) for name, slot in table.items() if slot.of_head}
        files[storage.HEAD] = apart
    for file, content in files.items():
        save_file(content, folder / file, metadata={"format": "pt"})
        # safetensors makes files that only their owner can read
        (folder / file).chmod((folder / CONFIG).stat().st_mode)


def copy_sentence_files(source: Path, target: Path) -> None:
    """Copy what sentence-transformers reads beside an encoder, if it is there."""
    for path in sorted(path for pattern in SENTENCE_FILES for path in source.glob(pattern)):
        there = target / path.relative_to(source)
        there.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, there)


def class_of(head: Head | None, family: Family = "xlm-roberta") -> str:
    """The class of transformers' that loads a model with a head, beside which it may stand."""
    name = _CLASSES[head or "linear"]
    return name.replace("XLMRoberta", "Bert") if family == "bert" else name


def head_form(folder: Path) -> Head:
    """The form of the head in a folder that `save` has written.

    Raises:
        UserError: it is no such folder.
    """
    classes = read_json(folder / CONFIG).get("architectures")
    for form, name in _CLASSES.items():
        beside = (folder / storage.HEAD).exists()
        own = [name, _sliced(name), class_of(cast(Head, form), "bert")]
        if classes in [[each] for each in own] and (form in names.BESIDE) == beside:
            # Both of those beside an encoder have its class
            words = beside and "label_words.weight" in storage.Storage(folder).names
            return cast(Head, "label-words" if words else form)
    raise UserError(f"{folder}: not an export of this program, whose head would be known")


def _sliced(name: str) -> str:
    """The class of modeling_xlmr_sliced.py that stands for one of transformers'."""
    return name.replace("XLMRoberta", "XLMRobertaSliced")


def _config_json(
    config: XlmrConfig, head: Head | None, labels: tuple[str, ...], source: Path
) -> dict[str, Any]:
    original = read_json(source / CONFIG)
    family = config.family if config.stock else STOCK
    name = class_of(head, family)
    form: dict[str, Any] = {"architectures": [name], "model_type": family}
    sizes: dict[str, Any] = {}
    if family == BERT:
        rows = config.max_positions - config.unused_positions
        sizes = {FIELDS["max_positions"][0]: rows}
        sizes[FIELDS["pad_token_id"][0]] = original.get("pad_token_id", 0)
    if not config.stock:
        auto = {auto: f"{CODE.stem}.{own}" for auto, own in _AUTO_MAP.items()}
        form = {"architectures": [_sliced(name)], "model_type": SLICED, "auto_map": auto}
        sizes = {
            FIELDS["num_heads"][0]: [sizes.heads for sizes in config.layers],
            FIELDS["intermediate_size"][0]: [sizes.ffn for sizes in config.layers],
            HEAD_SIZE: config.layers[0].head_size,
            PLAIN_POSITIONS: config.family == BERT,
        }
    return {
        **form,
        **{field: getattr(config, name) for name, (field, _, _) in FIELDS.items()},
        **sizes,
        "hidden_act": "gelu",
        "initializer_range": original.get("initializer_range", 0.02),
        **special_ids.around(source / TOKENIZER),
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
