"""The command from a run or a folder of a model to one that is served."""

import json
import shutil
from dataclasses import replace

import deploy_cases
import empties
import numpy as np
import onnx
import pytest
import tiny
import yaml
from deploy_cases import deployed, facts, predicted, told

from alignreg_jax import cli
from alignreg_jax import deploy as program
from alignreg_jax.compress import agreement, folders, served
from alignreg_jax.compress.deployment import account
from alignreg_jax.compress.deployment.comparing import Line
from alignreg_jax.compress.gate import Judged
from alignreg_jax.compress.onnx import graph, sessions
from alignreg_jax.compress.onnx.candidates import KINDS
from alignreg_jax.errors import UserError

few_texts, quick = empties.few_texts, deploy_cases.quick  # in every test here
model, tagged = deploy_cases.model, deploy_cases.tagged


def test_a_model_becomes_a_folder_that_is_served(world, model, tmp_path, capsys):
    out = tmp_path / "out"
    assert deployed(model / "dense-tanh-out", out, world.data) == 0
    said = capsys.readouterr().out
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {
        "README.md", "config.json", "deploy.json", "predict.py", "tokenizer.json",
        "tokenizer_config.json", "onnx/model.onnx", "onnx/model_quantized.onnx",
    }  # fmt: skip
    found = facts(out)
    assert found["kept"] in ("int8", "int8-fine", "q8", "fp16")
    assert found["file"] == "onnx/model_quantized.onnx"
    assert found["labels"] == list(tiny.LABELS)
    models = {each["name"]: each for each in found["models"]}
    assert list(models)[:2] == ["original", "fp32"]
    assert models["fp32"]["compared"]["sw"]["flips"] == 0
    assert models["fp32"]["scores"] == models["original"]["scores"]
    assert models[found["kept"]]["bytes"] == (out / found["file"]).stat().st_size
    assert models["fp32"]["gzip"] < models["fp32"]["bytes"]
    assert f"{models['fp32']['en']:.1f}" in said
    assert said.endswith(f"{out}: {found['kept']}\n")
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["XLMRobertaForSequenceClassification"]
    assert config["id2label"] == {str(row): name for row, name in enumerate(tiny.LABELS)}
    texts = ["en1 en2 en3", "de4", "sw5 sw6"]
    script = (out / "predict.py").read_text()
    assert len([line for line in script.split("\n") if line]) < 25
    assert script.rstrip() in (out / "README.md").read_text()
    answers = [line.split("\t") for line in predicted(out, *texts)]
    assert [text for _, text in answers] == texts
    read = served.encoding.load_tokenizer(out, 65)
    rows = [np.array(read.encode(text).ids, np.int32) for text in texts]
    (logits,) = sessions.session(out / found["file"]).run(None, sessions.feed(rows, pad=1))
    assert [label for label, _ in answers] == [tiny.LABELS[row.argmax()] for row in logits]


def test_scores_are_shares_of_right_answers(world, model, tmp_path):
    """Against the labels of the file and predictions of the JAX model."""
    deployed(model / "linear", tmp_path / "out", world.data, "--quantize", "none")
    found = facts(tmp_path / "out")
    for language in tiny.LANGUAGES:
        lines = (world.data / f"{language}.test.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        labels = told(model / "linear", [row["text"] for row in rows])
        right = [row["label"] == label for row, label in zip(rows, labels, strict=True)]
        assert found["models"][1]["scores"][language] == pytest.approx(100 * np.mean(right))
        assert found["rows"][language] == len(rows)
    assert found["kept"] == "fp32"


def test_words_have_labels(model, tagged, tmp_path):
    out = tmp_path / "out"
    assert deployed(model / "token", out, tagged) == 0
    assert facts(out)["models"][1]["compared"]["de"]["answers"] == sum(1 + i % 4 for i in range(12))
    network = folders.read(model / "token").network
    read = served.encoding.load_tokenizer(out, network.config.vocab_size)
    words = ["en1", "de2", "sw3"]
    ids = np.array([read.encode(words, is_pretokenized=True).ids], np.int32)
    logits = np.asarray(agreement._ask(network, ids, np.array([5], np.int32)))[0, 1:4]
    labels = [tiny.LABELS[number] for number in logits.argmax(-1)]
    expected = " ".join(f"{word}/{label}" for word, label in zip(words, labels, strict=True))
    assert predicted(out, " ".join(words)) == [expected]
    script = (out / "predict.py").read_text()
    assert len([line for line in script.split("\n") if line]) < 25


def test_four_bits_are_served_when_asked_for(world, model, tmp_path):
    out = tmp_path / "out"
    assert deployed(model / "dense-tanh-out", out, world.data, "--quantize", "int4") == 0
    assert facts(out)["kept"] == facts(out)["models"][-1]["name"] == "int4"
    assert "session.x64quantprecision" in (out / "README.md").read_text()
    assert predicted(out, "en1 en2")[0].split("\t")[1] == "en1 en2"
    stored = {each.name for each in onnx.load(out / facts(out)["file"]).graph.initializer}
    assert {"word.nibbles", "layer0.ffn.inner.nibbles"} <= stored
    assert not {"word.weight", "layer0.ffn.inner.weight"} & stored


def test_attention_may_be_one_operator(world, model, tmp_path):
    out = tmp_path / "out"
    assert deployed(model / "linear", out, world.data, "--quantize", "int8", "--fused") == 0
    for name in ("model", "model_quantized"):
        made = onnx.load(out / "onnx" / f"{name}.onnx")
        assert [each.version for each in made.opset_import if not each.domain] == [23]
        kinds = {node.op_type for node in made.graph.node}
        assert {"Attention", "Softmax"} & kinds == {"Attention"}
    assert facts(out)["opset"] == 23
    assert facts(out)["models"][1]["compared"]["sw"]["flips"] == 0


def test_pairs(world, model, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    rows = [{"text": f"en{i}", "text_pair": f"de{i} de3", "label": "on"} for i in range(9)]
    (data / "en.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    assert deployed(model / "linear", out, data, "--quantize", "none") == 0
    (line,) = predicted(out, "en1\tde1 de3")
    network = folders.read(model / "linear").network
    read = served.encoding.load_tokenizer(out, network.config.vocab_size)
    ids = np.array([read.encode("en1", "de1 de3").ids], np.int32)
    logits = agreement._ask(network, ids, np.array([ids.shape[1]], np.int32))
    assert line == f"{tiny.LABELS[int(np.asarray(logits)[0].argmax())]}\ten1\tde1 de3"


def test_a_run_brings_its_own_rows(world, tmp_path, capsys):
    workdir, out = tmp_path / "run", tmp_path / "out"
    assert tiny.run(tiny.command(world, workdir, "--config.pruning.steps=1"))[0] == 0
    assert cli.execute(["deploy", str(workdir), "--out", str(out), "--max-flips", "100"]) == 0
    found, results = facts(out), json.loads((workdir / "results.json").read_text())
    assert [each["name"] for each in found["models"][:2]] == ["dense", "original"]
    card = (out / "README.md").read_text()
    assert "| language | answers | changed % | dense | float | served | difference |" in card
    for model, step in zip(found["models"], (0, -1), strict=False):
        scores = results["prune_steps"][step]["languages"]
        wanted = {language: 100 * value for language, value in scores.items()}
        assert model["scores"] == pytest.approx(wanted, abs=1e-6)
    assert found["models"][0]["milliseconds"] == found["models"][1]["milliseconds"]
    assert "## What each language lost" in (out / "README.md").read_text()
    own = ["--data", str(world.data), "--out", str(tmp_path / "other"), "--quantize", "none"]
    assert cli.execute(["deploy", str(workdir), *own]) == 0
    assert facts(tmp_path / "other")["max_length"] == found["max_length"] == 38
    moved = shutil.copytree(workdir, tmp_path / "moved")
    fields = json.loads((moved / "config.json").read_text())
    fields["inputs"]["rows"]["sw.test"] = "other"
    (moved / "config.json").write_text(json.dumps(fields))
    assert cli.execute(["deploy", str(moved), "--out", str(tmp_path / "third")]) == 2
    assert "its data are not what it was trained on: rows of sw" in capsys.readouterr().err
    for name, value, said in (
        (
            "data_dir",
            "gone",
            "its data are not at task.data_dir=gone; start this where the run was",
        ),
        ("export", False, "has no export; it was made with --config.export=False"),
    ):
        values = fields["config"]["task"] if name == "data_dir" else fields["config"]
        values[name] = value
        (moved / "config.json").write_text(json.dumps(fields))
        if name == "export":
            shutil.rmtree(moved / "export")
        assert cli.execute(["deploy", str(moved), "--out", str(tmp_path / "third")]) == 2
        assert said in capsys.readouterr().err


def test_the_kinds_of_the_command_line_are_those_that_there_are():
    assert all(f"{kind}," in program._USAGE or f"{kind} or" in program._USAGE for kind in KINDS)
    for kind in (*KINDS, "auto", "none"):
        assert program._parse(["x", "--out", "y", "--quantize", kind]).quantize == kind


def test_empty_units_are_not_served(world, tmp_path):
    folder = empties.write(world, tmp_path / "export")
    out = tmp_path / "out"
    assert deployed(folder, out, world.data, "--quantize", "none") == 0
    found = facts(out)
    assert (found["heads"], found["ffn"]) == (empties.LEFT["heads"], empties.LEFT["ffn"])
    assert [each["name"] for each in found["models"]] == ["original", "at its size", "fp32"]
    assert found["models"][2]["scores"] == found["models"][0]["scores"]
    config = json.loads((out / "config.json").read_text())
    assert config["model_type"] == "xlm-roberta"
    assert config["alignreg"]["num_attention_heads"] == empties.LEFT["heads"]
    assert config["num_attention_heads"] == tiny.HEADS
    assert "auto_map" not in config


def test_rows_without_labels_are_compared(world, model, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    text = "".join(json.dumps({"text": f"sw{i} sw3"}) + "\n" for i in range(15))
    (data / "sw.dev.jsonl").write_text(text)
    out = tmp_path / "out"
    assert deployed(model / "linear", out, data, "--quantize", "q8") == 0
    found = facts(out)["models"]
    assert found[1]["scores"] == {}
    assert found[-1]["compared"]["sw"]["answers"] == 15
    assert found[-1]["compared"]["sw"]["difference"] is None


def test_licence_and_origin_are_kept_however_they_are_written(world, tmp_path):
    card = """---
license: other
license_name: own
language:
  - "en"
base_model:
- intfloat/e5
tags:
  - x
# a comment of its template
---
```sh
# how to install it
```
# Mine
"""
    folder = empties.write(world, tmp_path / "export", card=card)
    out = tmp_path / "out"
    assert deployed(folder, out, world.data, "--quantize", "none") == 0
    _, head, text = (out / "README.md").read_text().split("---\n", 2)
    found = yaml.safe_load(head)
    assert (found["license"], found["license_name"]) == ("other", "own")
    assert found["base_model"] == ["intfloat/e5"]
    assert "tags" not in found
    assert text.startswith("\n# Mine, to serve\n")
    (index,) = found["model-index"]
    assert index["name"] == "Mine"
    scores = {each["dataset"]["config"]: each["metrics"][0]["value"] for each in index["results"]}
    assert {each["dataset"]["type"] for each in index["results"]} == {"own-rows"}
    served = facts(out)["models"][-1]["scores"]
    assert scores == {language: round(score / 100, 4) for language, score in served.items()}
    assert len(scores) == 3


def test_metadata_that_cannot_be_read_are_left_out(world, tmp_path):
    folder = empties.write(world, tmp_path / "export", card="---\nlicense: [\n---\n# Mine\n")
    assert deployed(folder, tmp_path / "out", world.data, "--quantize", "none") == 0
    _, head, text = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    assert "license" not in yaml.safe_load(head)
    assert text.startswith("\n# Mine, to serve\n")


def test_large_models_are_counted_with_their_weights(world, model, tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "_LARGEST", 1000)
    out = tmp_path / "out"
    flags = ("--quantize", "int8", "--mixed")
    assert deployed(model / "linear", out, world.data, *flags) == 0
    line = next(each for each in facts(out)["models"] if each["name"] == "fp32")
    both = [out / "onnx" / name for name in ("model.onnx", "model.onnx_data")]
    assert line["bytes"] == sum(file.stat().st_size for file in both)
    assert line["gzip"] > both[0].stat().st_size
    assert predicted(out, "en1")


def test_numbers_for_labels(world, model, tmp_path):
    """In the order of labels.json, or without it of the head's rows."""
    data = tmp_path / "data"
    data.mkdir()
    rows = [json.loads(line) for line in (world.data / "en.test.jsonl").read_text().splitlines()]
    spelt = tiny.LABELS[::-1]
    text = "".join(
        json.dumps({"text": row["text"], "label": spelt.index(row["label"])}) + "\n" for row in rows
    )
    (data / "en.test.jsonl").write_text(text)
    (data / "labels.json").write_text(json.dumps(spelt))
    plain = served.of_folder(world.data, "linear", tiny.LABELS, ["en"]).rows["en"].labels
    np.testing.assert_array_equal(
        served.of_folder(data, "linear", tiny.LABELS, ["en"]).rows["en"].labels, plain
    )
    (data / "labels.json").unlink()
    np.testing.assert_array_equal(
        served.of_folder(data, "linear", tiny.LABELS, ["en"]).rows["en"].labels, 2 - plain
    )


def test_dev_stands_for_a_test_that_is_not_there(world, tmp_path):
    for name in ("en.test", "de.dev", "sw.test", "sw.dev"):
        shutil.copy(world.data / f"{name}.jsonl", tmp_path)
    found = served.of_folder(tmp_path, "linear", tiny.LABELS, ()).rows
    assert {name: split.rows for name, split in found.items()} == {"en": 18, "de": 10, "sw": 18}
    shutil.copy(world.data / "de.test.jsonl", tmp_path / "fr.test.jsonl.zip")
    with pytest.raises(UserError, match=r"fr\.test\.jsonl\.zip"):
        served.of_folder(tmp_path, "linear", tiny.LABELS, ())


def test_a_card_has_the_scores_of_what_is_served(world, tmp_path):
    """Not those of the float model beside it."""
    asked = served.of_folder(world.data, "dense-tanh-out", tiny.LABELS, ())
    judged = [Judged("de", 9, 3, 8, (6, 5), 1, 1), Judged("sw", 9, 3, 0, (0, 0), 0, 1)]
    chosen, asked = Line("int8", tmp_path, 9, {}, judged), replace(asked, task="intents")
    text = account._metadata({}, "Mine", asked, chosen, "token-classification")
    (result,) = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"]
    assert result["dataset"] == {"name": "intents", "type": "intents", "config": "de"}
    assert result["metrics"][0]["value"] == 0.625
    assert result["task"]["type"] == "token-classification"
