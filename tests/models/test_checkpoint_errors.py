import json

import ml_dtypes
import numpy as np
import pytest
from checkpoint_folders import BASE, add_tokenizer, configure, drop_head, load, rewrite, shard
from parity_cases import CASES, NAMES, write_folder
from safetensors.numpy import load_file, save_file

from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, quantized


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


def wrap(folder, prefix):
    def change(tensors):
        for name in list(tensors):
            tensors[prefix + name] = tensors.pop(name)

    rewrite(folder, change)


def more_layers_than_said(folder):
    configure(folder, num_hidden_layers=1)


def only_an_adapter(folder):
    (folder / "config.json").unlink()
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")


BAD = {
    "no config": (lambda at: (at / "config.json").unlink(), ["config.json", "cannot be read"]),
    "config not JSON": (lambda at: (at / "config.json").write_text("{"), ["not JSON"]),
    "config a list": (lambda at: (at / "config.json").write_text("[]"), ["not a JSON object"]),
    "model type": (lambda at: configure(at, model_type="t5"), ["'t5'", "xlm-roberta"]),
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
    "names": (lambda at: wrap(at, "net."), ["missing", "the checkpoint has net.classifier"]),
    "more layers": (more_layers_than_said, ["1 layers", "encoder.layer.1.attention"]),
    "adapter": (only_an_adapter, ["adapter_config.json", "merge_and_unload"]),
    "adapter beside": (
        lambda at: (at / "adapter_config.json").write_text("{}"),
        ["adapter_config.json", "merge_and_unload"],
    ),
    "positions": (
        lambda at: configure(at, max_position_embeddings=30),
        ["position_embeddings.weight", "[20, 32]", "[30, 32]"],
    ),
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


# Values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_a_weight_that_is_not_finite_is_named(value, dtype, folder):
    """By the name in the file, wherever it is: this piece is in no data."""
    name = "roberta.embeddings.word_embeddings.weight"

    def spoil(tensors):
        for key in tensors:
            tensors[key] = tensors[key].astype(dtype)
        tensors[name][57, 3:5] = value

    rewrite(folder, spoil)
    with pytest.raises(UserError) as caught:
        load(folder)
    says = str(caught.value)
    assert says.startswith(f"{folder}/model.safetensors: tensor {name} ")
    assert f"2 of 1,920, the first {value} at [57, 3]" in says
    checkpoints.check(folder, head=BASE.head, labels=NAMES)  # reads no values


def test_a_weight_that_is_not_finite_in_a_head_of_its_own(tmp_path):
    case = CASES["minilm"]
    folder = write_folder(case, tmp_path)
    head = {}
    rewrite(folder, lambda tensors: head.update(
        {name: tensors.pop(name) for name in ("classifier.weight", "classifier.bias")}
    ))  # fmt: skip
    head["classifier.bias"][1] = np.inf
    save_file(head, folder / "head.safetensors")
    with pytest.raises(
        UserError, match=r"head\.safetensors: tensor classifier\.bias .*inf at \[1\]"
    ):
        load(folder, case)
    load(folder, case, new_head=True)


def test_a_scale_that_is_not_finite_in_quantised_weights(folder):
    name = "roberta.encoder.layer.1.output.dense.weight"
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    blocks = quantized.quantize(tensors[name])
    blocks[3, 1, :2] = np.frombuffer(np.float16(np.nan).tobytes(), np.uint8)
    quantized.save(folder / "model.q4.safetensors", {**tensors, name: blocks})
    with pytest.raises(UserError, match=rf"q4\.safetensors: tensor {name} .*32 of .* at \[3, 32\]"):
        load(folder)


def test_large_weights_whose_sum_overflows_are_read(folder):
    name = "roberta.encoder.layer.0.output.dense.bias"
    rewrite(folder, lambda tensors: tensors[name].fill(3e38))
    assert load(folder).params["encoder"]["output"]["bias"][0].min() == np.float32(3e38)
