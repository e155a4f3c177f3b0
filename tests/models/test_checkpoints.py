"""Checkpoints are loaded by the names of their tensors, from files, shards and the Hub's cache."""

import os
import subprocess
import sys

import huggingface_hub
import ml_dtypes
import numpy as np
import pytest
from checkpoint_folders import (
    BASE,
    add_tokenizer,
    assert_same,
    configure,
    drop_head,
    flat,
    load,
    rewrite,
    shard,
)
from huggingface_hub.utils import filter_repo_objects
from parity_cases import CASES, checkpoint, write_folder
from parity_cases import NAMES as CLASSES
from safetensors.numpy import load_file, save_file

from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints

# Names


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("head", ["dense-tanh-out", "linear", "token"])
def test_name_table_covers_every_slice_once(case, head, tmp_path):
    config = checkpoints.read_config(write_folder(case, tmp_path))
    table = checkpoints.name_table(config, head)
    assert len(set(table.values())) == len(table)
    slices = set()
    for path in flat(checkpoints.load(tmp_path, head=case.head, labels=CLASSES, seed=0).params):
        if not path.startswith("head/"):
            stacked = path.startswith("encoder/")
            slices |= (
                {(path, layer) for layer in range(config.num_layers)} if stacked else {(path, None)}
            )
    encoder = {(slot.path, slot.layer) for slot in table.values() if "head" not in slot.path}
    assert encoder == slices


def test_name_table_has_the_names_of_transformers(folder):
    assert set(checkpoints.name_table(checkpoints.read_config(folder), BASE.head)) == set(
        checkpoint(BASE)
    )


# Load


def test_kernels_are_in_by_out_and_stacked(folder):
    params = flat(load(folder).params)
    tensors = checkpoint(BASE)
    for layer in range(BASE.num_hidden_layers):
        weight = tensors[f"roberta.encoder.layer.{layer}.intermediate.dense.weight"]
        np.testing.assert_array_equal(params["encoder/intermediate/kernel"][layer], weight.T)
    scale = params["encoder/attention/layer_norm/scale"][1]
    norm = tensors["roberta.encoder.layer.1.attention.output.LayerNorm.weight"]
    np.testing.assert_array_equal(scale, norm)
    assert {leaf.dtype for leaf in params.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_widened_exactly(dtype, tmp_path):
    half = load(write_folder(BASE, tmp_path / "half", dtype))
    tensors = {name: value.astype(dtype) for name, value in checkpoint(BASE).items()}
    wide = {name: value.astype(np.float32) for name, value in tensors.items()}
    save_file(wide, write_folder(BASE, tmp_path / "wide") / "model.safetensors")
    assert_same(half.params, load(tmp_path / "wide").params)


def test_shards_equal_a_single_file(folder, tmp_path):
    single = load(folder)
    shard(folder)
    assert_same(load(folder).params, single.params)


def test_names_without_prefix_and_what_is_skipped(folder):
    whole = load(folder)
    extra = {
        "lm_head.bias": np.zeros(4, np.float32),
        "lm_head.decoder.weight": np.zeros((4, 4), np.float32),
        "pooler.dense.weight": np.zeros((2, 2), np.float32),
        "embeddings.position_ids": np.arange(20)[None],
    }

    def change(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("roberta.")] = tensors.pop(name)
        tensors.update(extra)

    rewrite(folder, change)
    bare = load(folder)
    assert_same(bare.params, whole.params)
    assert set(bare.skipped) == set(extra)
    assert whole.skipped == whole.initialised == bare.initialised == []


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "_orig_mod.module."])
def test_names_of_a_module_around_the_model(prefix, folder):
    whole = load(folder)

    def wrap(tensors):
        for name in list(tensors):
            tensors[prefix + name] = tensors.pop(name)

    rewrite(folder, wrap)
    wrapped = load(folder)
    assert_same(wrapped.params, whole.params)
    assert wrapped.notes == [f"names of the checkpoint's tensors read without {prefix}"]
    shard(folder)
    assert_same(load(folder).params, whole.params)


def test_code_of_the_models_own_is_told(folder):
    configure(folder, auto_map={"AutoModel": "modeling.OtherModel"})
    assert "auto_map" in load(folder).notes[0]


def test_word_embedding_under_the_name_of_the_language_model(folder):
    """Tied, they are one tensor, and a file may have it under either name or both."""
    whole = load(folder)
    name = "roberta.embeddings.word_embeddings.weight"

    def rename(tensors):
        tensors["lm_head.decoder.weight"] = tensors.pop(name)
        tensors["lm_head.bias"] = np.zeros(4, np.float32)

    rewrite(folder, rename)
    tied = load(folder)
    assert_same(tied.params, whole.params)
    assert tied.skipped == ["lm_head.bias"]
    configure(folder, tie_word_embeddings=False)
    with pytest.raises(UserError, match=r"missing tensors: embeddings\.word_embeddings\.weight"):
        load(folder)
    configure(folder, tie_word_embeddings=True)
    table = load_file(folder / "model.safetensors")["lm_head.decoder.weight"]
    rewrite(folder, lambda tensors: tensors.update({name: table + 1}))
    both = load(folder)
    assert both.skipped == ["lm_head.bias", "lm_head.decoder.weight"]
    embedding = both.params["embeddings"]["word"]["embedding"]
    np.testing.assert_array_equal(embedding, table + 1)


def test_missing_head_is_drawn_from_the_seed(folder):
    rewrite(folder, drop_head)
    loaded, again, other = load(folder, seed=1), load(folder, seed=1), load(folder, seed=2)
    assert loaded.initialised == [
        "classifier.dense.bias",
        "classifier.dense.weight",
        "classifier.out_proj.bias",
        "classifier.out_proj.weight",
    ]
    assert_same(loaded.params, again.params)
    head, another = loaded.params["head"], other.params["head"]
    assert head["dense"]["kernel"].std() == pytest.approx(0.02, rel=0.1)
    assert not head["dense"]["bias"].any()
    assert not head["out"]["bias"].any()
    assert (head["dense"]["kernel"] != another["dense"]["kernel"]).all()
    assert (head["dense"]["kernel"][0] != head["dense"]["kernel"][1]).all()
    np.testing.assert_array_equal(
        loaded.params["encoder"]["output"]["kernel"], other.params["encoder"]["output"]["kernel"]
    )


def test_vocabulary_padding_is_allowed(tmp_path):
    load(add_tokenizer(write_folder(BASE, tmp_path), pieces=BASE.vocab_size - 7))


# Names of models


def test_resolve_knows_the_demo_and_folders(folder):
    assert (checkpoints.resolve("demo") / "config.json").exists()
    assert checkpoints.resolve(str(folder)) == folder


OFFLINE = """
import sys
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints
for name in sys.argv[1:]:
    try:
        folder = checkpoints.resolve(name)
        labels = ("label0", "label1", "label2")
        loaded = checkpoints.load(folder, head="dense-tanh-out", labels=labels, seed=0)
        print(float(loaded.params["embeddings"]["word"]["embedding"].sum()))
    except UserError as error:
        print("UserError", error)
"""


def test_hub_id_from_the_local_cache_offline(folder, tmp_path):
    """The Hub's cache layout by hand: blobs, a snapshot of links to them, refs/main."""
    home = tmp_path / "home"
    repository = home / "hub" / "models--org--tiny"
    snapshot = repository / "snapshots" / "0123abcd"
    for made in (snapshot, repository / "blobs", repository / "refs"):
        made.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abcd")
    for index, file in enumerate(sorted(folder.iterdir())):
        (repository / "blobs" / str(index)).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(f"../../blobs/{index}")
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    asked = ("org/tiny", "org/absent", "./no/such/folder")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, *asked],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    cached, absent, path = done.stdout.splitlines()
    expected = load(folder).params["embeddings"]["word"]["embedding"].sum()
    assert float(cached) == pytest.approx(float(expected), rel=1e-6)
    for message, name in ((absent, "org/absent"), (path, "./no/such/folder")):
        assert message.startswith(f"UserError model.name_or_path={name}: no such folder")
        assert "./my-encoder" in message


def test_what_is_fetched_of_a_hub_id(folder, monkeypatch):
    """The card and how vectors are made, too; no pickle, no ONNX, no weights of other programs."""
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.extend(allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert checkpoints.resolve("org/encoder") == folder
    wanted = [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md",
        "modules.json", "1_Pooling/config.json", "2_Dense/config.json",
        "config_sentence_transformers.json",
    ]  # fmt: skip
    others = ["pytorch_model.bin", "onnx/model.onnx", "tf_model.h5", "2_Dense/model.safetensors"]
    assert [*filter_repo_objects([*wanted, *others], allow_patterns=asked)] == wanted
    with pytest.raises(UserError, match=r"^distill\.teacher: is empty; give a folder"):
        checkpoints.resolve("", "distill.teacher")
