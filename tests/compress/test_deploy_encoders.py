"""Models without a head: vectors of texts, and which text is most like which."""

import json
import shutil

import empties
import jax
import numpy as np
import onnx
import pytest
import tiny
from deploy_cases import deployed, facts, predicted, quick
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from alignreg_jax.compress import agreement, folders, gate, pooling
from alignreg_jax.compress.onnx import graph, sessions
from alignreg_jax.compress.onnx.products import Form
from alignreg_jax.data.encoding import load_tokenizer
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints

few_texts, quick = empties.few_texts, quick
ROWS = [np.array(row, np.int32) for row in ([0, 5, 2], [0, 8, 9, 10, 11, 2], [0, 7, 4, 2])]


@pytest.fixture(scope="module")
def encoder(world, tmp_path_factory):
    """As sentence-transformers keeps one, with words that decide."""
    folder = tmp_path_factory.mktemp("encoder") / "model"
    shutil.copytree(world.encoder, folder)
    params, config = empties.load(world)
    leaves = empties.flat(params)
    leaves["embeddings/word/embedding"] *= 6
    saved = {"head": "linear", "labels": tiny.LABELS, "source": world.encoder}
    checkpoints.save(folder.parent / "whole", empties.nested(leaves), config, **saved)
    # The encoder of that export, which has its head in a file of its own
    shutil.copyfile(folder.parent / "whole" / "model.safetensors", folder / "model.safetensors")
    (folder / "modules.json").write_text("[]")
    pool(folder, pooling_mode_cls_token=False, pooling_mode_mean_tokens=True)
    assert folders.read(folder).network.head is None
    return folder


def pool(folder, **said):
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"dimension": 1, **said}))


def vectors(folder, texts, way):
    """Of the JAX model, row by row."""
    network = folders.read(folder).network
    tokenizer = load_tokenizer(folder, network.config.vocab_size)
    found = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids], np.int32)
        hidden = np.asarray(agreement._ask(network, ids, np.array([ids.shape[1]], np.int32)))[0]
        found.append(hidden.mean(axis=0) if way == "mean" else hidden[0])
    return np.array(found)


@pytest.mark.parametrize("form", [Form(), Form(whole=True), Form(fused=True)])
def test_a_graph_gives_the_last_hidden_states(encoder, tmp_path, form):
    network = folders.read(encoder).network
    graph.write(tmp_path / "model.onnx", network, form)
    model = sessions.session(tmp_path / "model.onnx")
    assert [each.name for each in model.get_outputs()] == ["last_hidden_state"]
    (found,) = model.run(None, sessions.feed(ROWS, pad=1))
    for row, states in zip(ROWS, found, strict=True):
        lengths = np.array([len(row)], np.int32)
        want = np.asarray(jax.device_get(agreement._ask(network, row[None], lengths)))[0]
        np.testing.assert_allclose(states[: len(row)], want, atol=1e-5, rtol=0)


@pytest.mark.parametrize("way", ["mean", "first"])
def test_an_encoder_is_served_with_its_vectors(world, encoder, tmp_path, capsys, way):
    source = tmp_path / "model"
    shutil.copytree(encoder, source)
    mean = way == "mean"
    pool(source, pooling_mode_mean_tokens=mean, pooling_mode_cls_token=not mean)
    out = tmp_path / "out"
    assert deployed(source, out, world.data) == 0
    said = capsys.readouterr().out
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {
        "README.md", "config.json", "deploy.json", "predict.py", "tokenizer.json",
        "tokenizer_config.json", "onnx/model.onnx", "onnx/model_quantized.onnx",
        "modules.json", "1_Pooling/config.json",
    }  # fmt: skip
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["XLMRobertaModel"]
    assert "id2label" not in config
    found = facts(out)
    assert found["pooling"] == way
    assert found["models"][1]["compared"]["sw"]["flips"] == 0
    assert found["models"][1]["scores"] == {}
    card = (out / "README.md").read_text()
    assert "pipeline_tag: sentence-similarity" in card
    assert "most like" in card
    assert "right answers" not in card
    assert "most like" in said
    # The program that needs nothing of this library, in float32: what the JAX model says
    (out / "onnx" / "model.onnx").replace(out / "onnx" / "model_quantized.onnx")
    texts = ["en1 en2 en3", "de4", "sw5 sw6 sw1 sw2"]
    own = vectors(source, texts, way)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    want = [f"{own[0] @ each:.3f}\t{text}" for each, text in zip(own[1:], texts[1:], strict=True)]
    assert predicted(out, *texts) == want


def test_what_is_damaged_does_not_pass(world, encoder, tmp_path, monkeypatch, capsys):
    """One text's neighbour in ten is too many where none may change."""
    plain = gate.nearest
    seen = []

    def wrong(found):
        seen.append(found.shape)
        answers = plain(found)
        return answers if len(seen) <= 9 else (answers + 1) % len(answers)  # 3 languages, fp32

    monkeypatch.setattr(gate, "nearest", wrong)
    out = tmp_path / "out"
    assert deployed(encoder, out, world.data, "--quantize", "q8", "--max-flips", "2") == 3
    assert "gate: q8 changes too many answers" in capsys.readouterr().out
    assert not (out / "onnx" / "model_quantized.onnx").exists()


def test_a_text_that_is_there_twice_is_asked_once(encoder, tmp_path):
    """Of two that are equal neither is nearer: chance would decide."""
    data = tmp_path / "data"
    data.mkdir()
    rows = [{"text": f"sw{number % 6} sw3", "label": "?"} for number in range(15)]
    (data / "sw.dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert deployed(encoder, tmp_path / "out", data, "--quantize", "fp16") == 0
    found = facts(tmp_path / "out")
    assert found["rows"] == {"sw": 6}
    assert found["models"][-1]["compared"]["sw"]["answers"] == 6


def test_weights_in_eight_bits_leave_the_vectors_where_they_are(encoder, tmp_path):
    network = folders.read(encoder).network
    graph.write(tmp_path / "model.onnx", network, Form("q8", "int8"))
    stored = {each.data_type for each in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert stored & {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    (found,) = sessions.session(tmp_path / "model.onnx").run(None, sessions.feed(ROWS, pad=1))
    for row, states in zip(ROWS, found, strict=True):
        want = np.asarray(agreement._ask(network, row[None], np.array([len(row)], np.int32)))[0]
        assert np.corrcoef(states[: len(row)].ravel(), want.ravel())[0, 1] > 0.999


@given(st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_the_nearest_text_is_scikit_learns(rows, seed):
    found = np.random.default_rng(seed).normal(size=(rows, 5)).astype(np.float32)
    search = NearestNeighbors(n_neighbors=1, metric="cosine").fit(found)
    want = search.kneighbors(return_distance=False)[:, 0]  # of others, where none is given
    np.testing.assert_array_equal(gate.nearest(found), want)


def test_who_has_no_neighbour():
    assert gate.nearest(np.ones((1, 3), np.float32)).tolist() == [-1]
    found = np.array([[1, 0], [np.nan, 0], [1, 0.1]], np.float32)
    assert gate.nearest(found).tolist() == [2, -1, 0]


@pytest.mark.parametrize(
    "said",
    [
        {"pooling_mode_max_tokens": True},
        {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True},
        {"pooling_mode": "lasttoken"},
        {"pooling_mode_cls_token": False},
    ],
)
def test_another_way_to_make_a_vector_is_refused(world, encoder, tmp_path, capsys, said):
    source = tmp_path / "model"
    shutil.copytree(encoder, source)
    pool(source, **said)
    assert deployed(source, tmp_path / "out", world.data) == 2
    error = capsys.readouterr().err
    assert "1_Pooling/config.json" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_newer_files_name_the_way(tmp_path):
    pool(tmp_path, pooling_mode="cls")
    assert pooling.read(tmp_path) == "first"
    shutil.rmtree(tmp_path / "1_Pooling")
    assert pooling.read(tmp_path) == "mean"


def test_a_step_after_the_mean_is_not_passed_over(tmp_path):
    (tmp_path / "2_Normalize").mkdir()
    assert pooling.read(tmp_path) == "mean"
    (tmp_path / "3_Dense").mkdir()
    with pytest.raises(UserError, match="3_Dense: this step of the model is not computed here"):
        pooling.read(tmp_path)


def test_a_classifier_is_not_asked_how_vectors_are_made(world, encoder, tmp_path):
    source = tmp_path / "model"
    shutil.copytree(encoder.parent / "whole", source)
    pool(source, pooling_mode="lasttoken")
    assert deployed(source, tmp_path / "out", world.data, "--quantize", "none") == 0
    assert facts(tmp_path / "out")["pooling"] is None
