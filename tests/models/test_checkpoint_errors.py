import json

import numpy as np
import pytest
from checkpoint_folders import add_tokenizer, configure, drop_head, load, rewrite, shard

from alignreg_jax.errors import UserError


def only_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def lose_a_shard(folder):
    (folder / shard(folder)[1]).unlink()


def index_without_map(folder):
    shard(folder)
    (folder / "model.safetensors.index.json").write_text("[]")


def index_names_more(folder):
    shard(folder)
    path = folder / "model.safetensors.index.json"
    weight_map = json.loads(path.read_text())["weight_map"]
    weight_map["roberta.absent"] = next(iter(weight_map.values()))
    path.write_text(json.dumps({"weight_map": weight_map}))


def lose_tensors(folder):
    def change(tensors):
        for name in [name for name in tensors if "layer.1" in name]:
            del tensors[name]

    rewrite(folder, change)


def half_a_head(folder):
    rewrite(folder, lambda tensors: tensors.pop("classifier.out_proj.weight"))


def add_tensor(folder):
    rewrite(folder, lambda tensors: tensors.update(adapter=np.zeros(3, np.float32)))


def twice(folder):
    name = "embeddings.LayerNorm.bias"
    rewrite(folder, lambda tensors: tensors.update({name: tensors[f"roberta.{name}"]}))


def wrong_dtype(folder):
    name = "roberta.embeddings.LayerNorm.bias"
    rewrite(folder, lambda tensors: tensors.update({name: tensors[name].astype(np.float64)}))


def other_head(folder):
    rewrite(folder, drop_head)
    linear = {"classifier.weight": np.zeros((3, 32), np.float32)}
    rewrite(folder, lambda tensors: tensors.update(linear))


BAD = {
    "no config": (lambda at: (at / "config.json").unlink(), ["config.json", "cannot be read"]),
    "config not JSON": (lambda at: (at / "config.json").write_text("{"), ["not JSON"]),
    "config a list": (lambda at: (at / "config.json").write_text("[]"), ["not a JSON object"]),
    "model type": (lambda at: configure(at, model_type="bert"), ["'bert'", "xlm-roberta"]),
    "activation": (lambda at: configure(at, hidden_act="relu"), ["hidden_act", "'relu'"]),
    "not a number": (lambda at: configure(at, hidden_size="32"), ["hidden_size", "'32'"]),
    "null": (lambda at: configure(at, hidden_size=None), ["hidden_size", "None"]),
    "a boolean": (lambda at: configure(at, num_hidden_layers=True), ["num_hidden_layers", "True"]),
    "no layers": (lambda at: configure(at, num_hidden_layers=0), ["num_hidden_layers is 0"]),
    "negative": (lambda at: configure(at, layer_norm_eps=-1e-5), ["layer_norm_eps is -1e-05"]),
    "heads": (lambda at: configure(at, num_attention_heads=5), ["num_attention_heads 5"]),
    "no heads": (lambda at: configure(at, num_attention_heads=0), ["num_attention_heads is 0"]),
    "pickle": (only_pickle, ["only pickle", "pytorch_model.bin", "save_pretrained"]),
    "no weights": (lambda at: (at / "model.safetensors").unlink(), ["no weights"]),
    "truncated": (truncate, ["model.safetensors", "not a complete safetensors file"]),
    "shard lost": (lose_a_shard, ["model-00002-of-00002.safetensors", "not there"]),
    "index": (index_without_map, ["index.json", "weight_map"]),
    "index promises": (index_names_more, ["roberta.absent"]),
    "missing": (lose_tensors, ["missing tensors", "encoder.layer.1", "and 13 more"]),
    "half a head": (half_a_head, ["missing tensors", "classifier.out_proj.weight"]),
    "surplus": (add_tensor, ["adapter"]),
    "twice": (twice, ["twice", "embeddings.LayerNorm.bias"]),
    "dtype": (wrong_dtype, ["F64", "embeddings.LayerNorm.bias", "bfloat16"]),
    "other head": (other_head, ["model.head", "classifier.weight"]),
    "shape": (
        lambda at: configure(at, intermediate_size=48),
        ["intermediate.dense.bias", "[64]", "[48]"],
    ),
    "vocabulary": (lambda at: add_tokenizer(at, pieces=61), ["61 pieces", "vocab_size is 60"]),
    "tokenizer": (lambda at: (at / "tokenizer.json").write_text("{}"), ["tokenizer.json"]),
}


@pytest.mark.parametrize(("damage", "words"), BAD.values(), ids=BAD)
def test_bad_checkpoint_is_one_line(damage, words, folder):
    damage(folder)
    with pytest.raises(UserError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert [word for word in words if word not in message] == []


def test_head_for_another_number_of_labels(folder):
    with pytest.raises(UserError, match=r"head has 3 labels and the task 7"):
        load(folder, labels=7)
