"""Digests change with what they are of, and with nothing else."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny

from alignreg_jax.data.schema import Split
from alignreg_jax.models import checkpoints
from alignreg_jax.run import digests

TEXTS = Split(["a b", "c", "d"], ["e", "f", "g"], np.array([0, 1, 0], np.int32), "here")
WORDS = Split([["a", "b"], ["c"]], None, np.array([0, 1, 1], np.int32), "here")


def of(split, labels=("on", "off")):
    return digests.of_rows(split, labels)


@pytest.mark.parametrize(
    "change",
    [
        {"text_a": ["a b", "c", "D"]},
        {"text_a": ["a b", "d", "c"]},
        {"text_a": ["a", "b c", "d"]},
        {"text_a": ["e", "f", "g"], "text_b": ["a b", "c", "d"]},
        {"text_b": None},
        {"text_b": ["e", "f", ""]},
        {"labels": np.array([1, 1, 0], np.int32)},
        {"text_a": ["a b", "c"], "text_b": ["e", "f"], "labels": np.array([0, 1], np.int32)},
    ],
    ids=lambda change: "-".join(change),
)
def test_rows(change):
    assert of(replace(TEXTS, **change)) != of(TEXTS) == of(replace(TEXTS, origin="elsewhere"))


def test_rows_of_words():
    for words in ([["a"], ["b", "c"]], [["a", "b"], ["d"]], [["ab"], ["c", ""]]):
        assert of(replace(WORDS, text_a=words)) != of(WORDS)


def test_rows_have_labels_by_name(monkeypatch):
    """Labels in another order have a digest of their own; that of rows does not change."""
    turned = replace(TEXTS, labels=1 - TEXTS.labels)
    assert of(turned, ("off", "on")) == of(TEXTS) != of(TEXTS, ("on", "Off"))
    assert of(TEXTS, ("on", "off", "open")) == of(TEXTS)
    monkeypatch.setattr(digests, "_ROWS", 2)  # rows at a time
    assert of(turned, ("off", "on")) == of(TEXTS) != of(replace(TEXTS, text_b=["e", "f", "h"]))


def test_rows_that_nobody_could_encode():
    assert of(replace(TEXTS, text_a=["\ud800", "c", "d"])) != of(TEXTS)


def test_a_tokenizer_by_its_content(world, tmp_path):
    path = tmp_path / "tokenizer.json"
    content = json.loads((world.encoder / path.name).read_text())

    def of_changed(**changes):
        path.write_text(json.dumps({**dict(reversed(content.items())), **changes}, indent=4))
        return digests.of_tokenizer(path)

    same = digests.of_tokenizer(world.encoder / path.name)
    cut = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    assert of_changed() == of_changed(truncation=cut) == same
    assert of_changed(normalizer={"type": "NFC"}) != same
    vocabulary = content["model"]["vocab"]
    swapped = [*vocabulary[:-2], vocabulary[-1], vocabulary[-2]]
    assert of_changed(model={**content["model"], "vocab": swapped}) != same


def test_an_encoder_by_its_weights_and_architecture(world):
    loaded = checkpoints.load(world.encoder, head="linear", labels=tiny.LABELS, seed=0)
    params, config = loaded.params, loaded.config
    same = digests.of_encoder(params, config)
    other_head = checkpoints.with_seed(loaded, head="linear", seed=1)
    assert digests.of_encoder(other_head.params, config) == same
    head, other = (digests.of_arrays(one.params["head"]) for one in (loaded, other_head))
    assert head != other
    for change in ({"hidden_dropout": 0.2}, {"layer_norm_eps": 1e-6}, {"num_heads": 2}):
        assert digests.of_encoder(params, replace(config, **change)) != same
    table = np.array(params["embeddings"]["word"]["embedding"])
    table[3, 3] = np.nextafter(table[3, 3], np.float32(9))
    embeddings = params["embeddings"] | {"word": {"embedding": table}}
    assert digests.of_encoder(params | {"embeddings": embeddings}, config) != same


def test_arrays_by_name_shape_and_bits():
    array = np.arange(6, dtype=np.float32)
    same = digests.of_arrays({"a": {"b": array}})
    for other in (
        {"a": {"c": array}},
        {"a": {"b": array.reshape(2, 3)}},
        {"a": {"b": array.view(np.int32)}},
        {"a": {"b": -array}},
    ):
        assert digests.of_arrays(other) != same
    assert digests.of_arrays({"a": {"b": np.stack([array, array])[:, ::2].T.T[0]}}) != same
    assert digests.of_arrays({"a": {"b": np.repeat(array, 2)[::2]}}) == same  # not contiguous


def test_differences_are_named_and_only_where_both_tell():
    old = {"rows": {"a.test": "0"}, "labels": "1", "tokenizer": "2", "active_pieces": None}
    assert digests.differences(old, old) == digests.differences({}, old) == []
    assert digests.differences(old, {"labels": "2"}) == ["labels"]
    new = {"rows": {"a.test": "1"}, "labels": "1", "tokenizer": "3", "active_pieces": "4"}
    assert digests.differences(old, new) == ["rows of a.test", "tokenizer", "active pieces"]
