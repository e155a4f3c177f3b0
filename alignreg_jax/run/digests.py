"""Digests of what a run reads: by them it knows its inputs again, wherever they lie.

A digest is of content and of nothing else: not of paths, nor of how a file is written. The whole
set of a run is plain JSON, `{"rows": {"de.test": digest, ...}, "labels": digest, ...}`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from alignreg_jax.data.schema import Split
from alignreg_jax.evaluation.scoring import names
from alignreg_jax.models.xlmr import Params, XlmrConfig

Digests = dict[str, Any]

_ROWS = 10_000  # at a time: all the texts together may be a gigabyte
# What a line of text calls each of them; "rows" are named by language and split
_WORDS = {
    "labels": "labels",
    "text": "unlabelled text",
    "teacher": "teacher",
    "tokenizer": "tokenizer",
    "encoder": "encoder",
    "head": "the encoder's head",
    "max_length": "pieces in a row",
    "active_pieces": "active pieces",
}


def of_rows(split: Split, labels: Sequence[str]) -> str:
    """Of texts, second texts and label names, in their order."""
    digest = hashlib.sha256()
    said = names(split, split.labels, labels)
    for start in range(0, split.rows, _ROWS):
        stop = start + _ROWS
        second = None if split.text_b is None else split.text_b[start:stop]
        _update(digest, [split.text_a[start:stop], second, said[start:stop]])
    return _short(digest)


def of_texts(split: Split) -> str:
    """Of texts and second texts, in their order."""
    digest = hashlib.sha256()
    for start in range(0, split.rows, _ROWS):
        stop = start + _ROWS
        second = None if split.text_b is None else split.text_b[start:stop]
        _update(digest, [split.text_a[start:stop], second])
    return _short(digest)


def of_json(value: Any) -> str:
    """Of a plain value; the order of an object's keys does not count."""
    digest = hashlib.sha256()
    _update(digest, value)
    return _short(digest)


def of_tokenizer(path: Path) -> str:
    """Of a tokenizer.json, without the truncation and padding that whoever loads it sets."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return of_json({**content, "truncation": None, "padding": None})


def of_arrays(params: Params) -> str:
    """Of a tree's arrays: names, shapes, types and every bit."""
    digest = hashlib.sha256()
    leaves: Any = traverse_util.flatten_dict(dict(params), sep="/")
    for name, leaf in sorted(leaves.items()):
        array = np.ascontiguousarray(leaf)
        _update(digest, [name, array.shape, array.dtype.str])
        digest.update(array.reshape(-1).view(np.uint8).data)
    return _short(digest)


def of_encoder(params: Params, config: XlmrConfig) -> str:
    """Of architecture and weights, but for the head.

    Fields of the architecture at their defaults are left out, so that one that comes later does not
    change the digests of encoders that do without.
    """
    shape = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    }
    body = {name: leaves for name, leaves in params.items() if name != "head"}
    return of_json([shape, of_arrays(body)])


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs, in words; what only one of them tells of is not compared."""
    both = [name for name in old if name in new and old[name] != new[name]]
    found = [words for name, words in _WORDS.items() if name in both]
    if "rows" in both:
        found.insert(0, f"rows of {', '.join(_different_rows(old['rows'], new['rows']))}")
    return found


def _different_rows(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Languages and splits, those that are gone or new marked."""
    found = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            found.append(f"{name} (not there any more)")
        elif name not in old:
            found.append(f"{name} (not there before)")
        elif old[name] != new[name]:
            found.append(name)
    return found


def _update(digest: Any, value: Any) -> None:
    # A lone surrogate has no UTF-8; that it is refused elsewhere is no matter of a digest
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    digest.update(text.encode("utf-8", "surrogatepass"))


def _short(digest: Any) -> str:
    return digest.hexdigest()[:32]
