"""Encoders of model_type bert with XLM-R's tokenizer: read, run, cut, written in their own form."""

import json
import shutil

import empties
import jax
import numpy as np
import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, processors

from alignreg_jax.compress import agreement, folders
from alignreg_jax.compress.onnx import graph, sessions
from alignreg_jax.compress.shrink import shrink
from alignreg_jax.compress.trim import Wanted, trim
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, saving, xlmr
from alignreg_jax.run import mask_artefact
from alignreg_jax.run.inputs import load_inputs
from alignreg_jax.training import sharding

few_texts = empties.few_texts  # in every test here
IDS = np.array([[0, 5, 1, 30, 2], [0, 7, 2, 1, 1]], np.int32)  # a text may contain "<pad>"
LENGTHS = np.array([5, 3], np.int32)
HEADS = ("dense-tanh-out", "linear", "token")


def to_bert(source, folder, pooler=True, prefix=""):
    """The folder of an XLM-R as one of BERT: no rows before the first position, two types."""
    shutil.copytree(source, folder)
    tensors, random = load_file(folder / "model.safetensors"), np.random.RandomState(7)
    name = "embeddings.position_embeddings.weight"
    tensors[name] = tensors[name][2:]
    name = "embeddings.token_type_embeddings.weight"
    tensors[name] = np.concatenate([tensors[name], tensors[name] + 1])
    if pooler:
        shape = (tiny.HIDDEN, tiny.HIDDEN)
        tensors["pooler.dense.weight"] = 0.3 * random.randn(*shape).astype(np.float32)
        tensors["pooler.dense.bias"] = random.randn(tiny.HIDDEN).astype(np.float32)
    tensors = {prefix + key: np.ascontiguousarray(value) for key, value in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "bert", "max_position_embeddings": tiny.POSITIONS - 2}
    config |= {"pad_token_id": 0, "type_vocab_size": 2}  # as multilingual-e5-small says
    for field in ("bos_token_id", "eos_token_id"):
        config.pop(field)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def bert(world, tmp_path_factory):
    return to_bert(world.encoder, tmp_path_factory.mktemp("bert") / "encoder")


def exported(bert, folder, head):
    """With a head whose logits are of the size of trained ones."""
    params, config = empties.load(None, head, source=bert)
    saving.save(folder, params, config, head=head, labels=tiny.LABELS, source=bert)
    return folder


def logits(network, ids=IDS, lengths=LENGTHS):
    found = np.asarray(agreement._ask(network, ids, lengths))
    return found if found.ndim == 2 else found[np.arange(ids.shape[1]) < lengths[:, None]]


def test_it_is_the_encoder_that_xlmr_with_two_more_rows_is(world, bert):
    """On texts without a padding piece positions are the same, and so is every bit."""
    ids = np.where(IDS == 1, np.arange(5) % 2 + 8, IDS).astype(np.int32)
    states = []
    for folder in (world.encoder, bert):
        loaded = checkpoints.load(folder, head="linear", labels=("0",), seed=0)
        model = xlmr.XlmrModel(loaded.config, "linear", 1)
        hidden = jax.jit(xlmr.hidden_states, static_argnums=0)
        states.append(np.asarray(hidden(model, loaded.params, ids, np.array([5, 5], np.int32))))
    np.testing.assert_array_equal(*states)
    assert loaded.config.max_length == tiny.POSITIONS - 2
    assert loaded.skipped == ["pooler.dense.bias", "pooler.dense.weight"]


def test_the_pooler_is_the_dense_layer_of_a_new_head(bert):
    stored = load_file(bert / "model.safetensors")
    loaded = checkpoints.load(bert, head="dense-tanh-out", labels=tiny.LABELS, seed=0)
    np.testing.assert_array_equal(
        loaded.params["head"]["dense"]["kernel"], stored["pooler.dense.weight"].T
    )
    assert loaded.initialised == ["classifier.bias", "classifier.weight"]
    other = checkpoints.with_seed(loaded, head="dense-tanh-out", seed=1).params["head"]
    dense = loaded.params["head"]["dense"]["kernel"]
    np.testing.assert_array_equal(other["dense"]["kernel"], dense)
    assert not np.array_equal(other["out"]["kernel"], loaded.params["head"]["out"]["kernel"])


def test_without_a_pooler_the_whole_head_is_new(world, tmp_path):
    folder = to_bert(world.encoder, tmp_path / "plain", pooler=False, prefix="bert.")
    loaded = checkpoints.load(folder, head="dense-tanh-out", labels=tiny.LABELS, seed=0)
    assert len(loaded.initialised) == 4


@pytest.mark.parametrize("head", [*HEADS, None])
def test_what_is_written_is_what_was_read(bert, tmp_path, head):
    loaded = checkpoints.load(bert, head=head or "linear", labels=tiny.LABELS, seed=0)
    model = {"head": head, "labels": tiny.LABELS, "source": bert}
    saving.save(tmp_path / "out", loaded.params, loaded.config, **model)
    before, after = (load_file(each / "model.safetensors") for each in (bert, tmp_path / "out"))
    found = {name.removeprefix("bert."): value for name, value in after.items()}
    for name, value in before.items():
        if name in found or head == "dense-tanh-out":
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        else:
            assert name.startswith("pooler.")
    assert all(name.startswith(("bert.", "classifier.")) for name in after) == (
        head in ("dense-tanh-out", "token")
    )
    said, was = (
        json.loads((each / "config.json").read_text()) for each in (tmp_path / "out", bert)
    )
    for field in ("model_type", "max_position_embeddings", "pad_token_id", "type_vocab_size"):
        assert said[field] == was[field], field
    assert checkpoints.read_config(tmp_path / "out") == loaded.config
    if head:
        assert checkpoints.head_form(tmp_path / "out") == head
        again = checkpoints.load(tmp_path / "out", head=head, labels=tiny.LABELS, seed=5)
        assert not again.initialised


rows = st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=12), min_size=1, max_size=4)


@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=rows, head=st.sampled_from(HEADS))
def test_its_graph_computes_what_jax_does(bert, tmp_path, rows, head):
    """Rows with padding pieces among them, which positions count as any other."""
    folder = tmp_path / head
    network = folders.read(folder if folder.exists() else exported(bert, folder, head)).network
    graph.write(tmp_path / "model.onnx", network)
    inputs = sessions.feed([np.array(row, np.int32) for row in rows], pad=1)
    (found,) = sessions.session(tmp_path / "model.onnx").run(None, inputs)
    lengths = np.array(list(map(len, rows)), np.int32)
    want = logits(network, inputs["input_ids"].astype(np.int32), lengths)
    found = found if found.ndim == 2 else found[inputs["attention_mask"] == 1]
    np.testing.assert_allclose(found, want, atol=1e-5, rtol=0)


def test_a_run_exports_what_stock_bert_loads_and_starts_from_it_again(world, bert, tmp_path):
    flags = (f"--config.model.name_or_path={bert}", "--config.pruning.steps=1")
    code, _, err = tiny.run(tiny.command(world, tmp_path / "run", *flags))
    assert code == 0, err
    export = tmp_path / "run" / "export"
    said = json.loads((export / "config.json").read_text())
    assert (said["model_type"], said["architectures"]) == (
        "bert", ["BertForSequenceClassification"]
    )  # fmt: skip
    left = json.loads((tmp_path / "run" / "results.json").read_text())["prune_steps"][-1]
    assert left["remaining"] == pytest.approx(0.5, abs=0.01)
    tensors = load_file(export / "model.safetensors")
    assert "bert.pooler.dense.weight" in tensors
    query = tensors["bert.encoder.layer.0.attention.self.query.weight"]
    assert np.count_nonzero(query) == pytest.approx(query.size / 2, abs=1)
    config = tiny.configured(world, f"--config.model.name_or_path={export}")
    assert load_inputs(config).encoder.initialised == []


@pytest.mark.sharded
def test_it_computes_the_same_on_eight_devices(bert):
    params, config = empties.load(None, "token", source=bert)
    model = xlmr.XlmrModel(config, "token", len(tiny.LABELS))
    compute = jax.jit(xlmr.logits, static_argnums=0)
    alone = np.asarray(compute(model, params, IDS, LENGTHS))
    mesh = sharding.make_mesh(2, 2, 2)
    placed = jax.device_put(params, sharding.for_params(params, mesh))
    kernel = placed["encoder"]["attention"]["query"]["kernel"]
    assert kernel.sharding.shard_shape(kernel.shape) != kernel.shape
    np.testing.assert_allclose(
        np.asarray(compute(model, placed, IDS, LENGTHS)), alone, atol=1e-5, rtol=0
    )


def test_it_loses_units_in_both_forms(bert, tmp_path):
    """Its free form is of XLM-R's sliced classes, which count positions as it does."""
    params, config = empties.load(None, "token", source=bert)
    model = {"head": "token", "labels": tiny.LABELS, "source": bert}
    every = empties.empty(params)
    saving.save(tmp_path / "whole", every, config, **model)
    shrink(tmp_path / "whole", tmp_path / "free", "free")
    alike = empties.empty(params, *map(empties.no_heads, (empties.SILENT, empties.CONSTANT)))
    saving.save(tmp_path / "alike", alike, config, **model)
    shrink(tmp_path / "alike", tmp_path / "stock", "stock")
    for small, large, kind in (("free", "whole", "xlm-roberta-sliced"), ("stock", "alike", "bert")):
        found, was = (folders.read(tmp_path / each).network for each in (small, large))
        assert json.loads((tmp_path / small / "config.json").read_text())["model_type"] == kind
        assert found.config.family == "bert"
        np.testing.assert_allclose(logits(found), logits(was), atol=1e-5, rtol=0)


def test_it_loses_pieces(bert, tmp_path):
    folder = exported(bert, tmp_path / "export", "dense-tanh-out")
    trim(folder, tmp_path / "out", Wanted({"de": ["de1 de2", "de7"]}, {}))
    ids = np.array(json.loads((tmp_path / "out" / "trim.json").read_text())["ids"])
    old, new = (folders.read(each).network for each in (folder, tmp_path / "out"))
    small = np.array([[0, 5, 4, 2]], np.int32)
    four = np.array([4], np.int32)
    np.testing.assert_array_equal(
        logits(new, small, four), logits(old, ids[small].astype(np.int32), four)
    )


def test_ids_that_transformers_5_writes_as_null_are_the_tokenizers(bert, tmp_path):
    from transformers import AutoConfig, BertConfig

    folder = shutil.copytree(bert, tmp_path / "null")
    raw = json.loads((folder / "config.json").read_text())
    null = BertConfig(**raw).to_dict()
    assert null["bos_token_id"] is null["eos_token_id"] is None
    (folder / "config.json").write_text(json.dumps(null))
    exported(folder, tmp_path / "export", "token")
    for name in ("null", "export"):
        trim(tmp_path / name, tmp_path / f"{name}-small", Wanted({"de": ["de1 de2", "de7"]}, {}))
    for name in ("export", "null-small", "export-small"):
        stock = AutoConfig.from_pretrained(tmp_path / name)
        assert (stock.bos_token_id, stock.eos_token_id) == (0, 2)


def test_its_mask_and_head_are_an_export_again(bert, tmp_path):
    """Weights are as pretrained or left out, all else is as pretrained."""
    loaded = checkpoints.load(bert, head="linear", labels=tiny.LABELS, seed=0)
    leaves, pruned = (empties.flat(dict(each)) for each in (loaded.params, loaded.params))
    for path in (path for path in leaves if path.startswith("encoder/") and "kernel" in path):
        pruned[path] = leaves[path] * (np.arange(leaves[path].size) % 3 > 0).reshape(
            leaves[path].shape
        )
    model = {"head": "linear", "labels": tiny.LABELS, "source": bert}
    saving.save(tmp_path / "export", empties.nested(pruned), loaded.config, **model)
    base = mask_artefact.Base.load(bert)
    (tmp_path / "export" / "README.md").write_bytes(b"# Mod\xe8le\n")  # not UTF-8
    artefact = mask_artefact.difference(base, tmp_path / "export")
    assert artefact.card == "# Mod\ufffdle\n"
    mask_artefact.write(tmp_path / "mask", artefact)
    mask_artefact.write_model(tmp_path / "again", base, mask_artefact.read(tmp_path / "mask"))
    one, two = (load_file(tmp_path / each / "model.safetensors") for each in ("export", "again"))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_what_is_no_such_encoder(world, bert, tmp_path):
    with pytest.raises(UserError, match=r"label-words: .* is no XLM-R"):
        checkpoints.load(
            bert, head="label-words", labels=tiny.LABELS, seed=0, words=("en1", "en2", "en3")
        )
    other = shutil.copytree(bert, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "distilbert"}))
    with pytest.raises(UserError, match="'xlm-roberta', and 'bert' with XLM-R's tokenizer"):
        checkpoints.read_config(other)
    # mBERT's own tokenizer writes [CLS] A [SEP] B [SEP]
    wordpiece = Tokenizer(models.WordPiece({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "en": 3}))
    wordpiece.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    words = shutil.copytree(bert, tmp_path / "words")
    wordpiece.save(str(words / "tokenizer.json"))
    with pytest.raises(UserError, match="not XLM-R's"):
        load_inputs(tiny.configured(world, f"--config.model.name_or_path={words}"))


@pytest.mark.torch
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("head", HEADS)
def test_stock_bert_says_the_same(bert, tmp_path, head):
    import torch
    import transformers

    kinds = {
        "dense-tanh-out": transformers.BertForSequenceClassification,
        "token": transformers.BertForTokenClassification,
        "linear": transformers.BertModel,
    }
    folder = exported(bert, tmp_path / "export", head)
    options = {"add_pooling_layer": False} if head == "linear" else {}
    stock, told = kinds[head].from_pretrained(folder, output_loading_info=True, **options)
    assert not any(told.values()), told
    mask = torch.tensor(np.arange(5) < LENGTHS[:, None])
    with torch.no_grad():
        found = stock.eval()(input_ids=torch.tensor(IDS).long(), attention_mask=mask.long())
    network = folders.read(folder).network
    if head == "linear":
        model = xlmr.XlmrModel(network.config, "linear", 3)
        hidden = jax.jit(xlmr.hidden_states, static_argnums=0)
        want = np.asarray(hidden(model, network.params, IDS, LENGTHS))[-1]
        np.testing.assert_allclose(
            found.last_hidden_state[mask].numpy(), want[mask.numpy()], atol=1e-5, rtol=0
        )
        return
    theirs = found.logits.numpy() if head != "token" else found.logits[mask].numpy()
    np.testing.assert_allclose(theirs, logits(network), atol=1e-5, rtol=0)


@pytest.mark.torch
@pytest.mark.filterwarnings("default")
def test_the_free_form_says_the_same_under_pytorch(bert, tmp_path, monkeypatch):
    import torch
    import transformers
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    params, config = empties.load(None, "token", source=bert)
    model = {"head": "token", "labels": tiny.LABELS, "source": bert}
    saving.save(tmp_path / "whole", empties.empty(params), config, **model)
    shrink(tmp_path / "whole", tmp_path / "free", "free")
    code = transformers.AutoModelForTokenClassification.from_pretrained(
        tmp_path / "free", trust_remote_code=True
    ).eval()
    mask = torch.tensor(np.arange(5) < LENGTHS[:, None])
    with torch.no_grad():
        found = code(input_ids=torch.tensor(IDS).long(), attention_mask=mask.long()).logits
    want = logits(folders.read(tmp_path / "whole").network)
    np.testing.assert_allclose(found[mask].numpy(), want, atol=1e-5, rtol=0)
