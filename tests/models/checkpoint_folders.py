"""Tiny checkpoint folders for tests to load, change and damage."""

import json

import numpy as np
from flax import traverse_util
from parity_cases import CASES, NAMES
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models

from alignreg_jax.models import checkpoints

BASE = CASES["base"]


def add_tokenizer(folder, pieces=BASE.vocab_size):
    vocabulary = {piece: index for index, piece in enumerate(("<s>", "<pad>", "</s>", "<unk>"))}
    vocabulary |= {f"piece{index}": index for index in range(4, pieces)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    return folder


def load(folder, case=BASE, seed=0, labels=NAMES, **options):
    return checkpoints.load(folder, head=case.head, labels=labels, seed=seed, **options)


def rewrite(folder, change):
    """Change the dict of the folder's tensors in place."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def configure(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def shard(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    weight_map = {name: files[index % 2] for index, name in enumerate(tensors)}
    for file in files:
        part = {name: value for name, value in tensors.items() if weight_map[name] == file}
        save_file(part, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return files


def drop_head(tensors):
    for name in [name for name in tensors if name.startswith("classifier.")]:
        del tensors[name]


def flat(params):
    return traverse_util.flatten_dict(dict(params), sep="/")


def assert_same(ours, theirs):
    ours, theirs = flat(ours), flat(theirs)
    assert set(ours) == set(theirs)
    for path, leaf in ours.items():
        np.testing.assert_array_equal(leaf, theirs[path], err_msg=path, strict=True)
