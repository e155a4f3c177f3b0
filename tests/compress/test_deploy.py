"""The command from a run or a folder to one that is served, and what it refuses."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import empties
import numpy as np
import onnx
import pytest
import tiny
from onnx import numpy_helper

from alignreg_jax import cli
from alignreg_jax import deploy as program
from alignreg_jax.compress import agreement, folders, gate, served
from alignreg_jax.compress.deployment import comparing, cutting
from alignreg_jax.compress.deployment.cutting import Cuts
from alignreg_jax.compress.deployment.deploy import Wanted, deploy
from alignreg_jax.compress.onnx import graph, sessions
from alignreg_jax.compress.onnx.candidates import KINDS
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints

few_texts = empties.few_texts  # in every test here


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Times are measured of one shape, briefly."""
    monkeypatch.setattr(comparing, "SHAPES", ((1, 16),))
    monkeypatch.setattr("alignreg_jax.compress.onnx.sessions._ENOUGH", 0.0)


@pytest.fixture(scope="module")
def model(world, tmp_path_factory):
    """Head -> a folder of a model with it, without empty units."""
    made = tmp_path_factory.mktemp("models")
    for head in ("dense-tanh-out", "token", "linear"):
        params, config = empties.load(world, head)
        leaves = empties.flat(params)  # what a text says decides over its answer
        leaves["embeddings/word/embedding"] *= 6
        params = empties.nested(leaves)
        saved = {"head": head, "labels": tiny.LABELS, "source": world.encoder}
        checkpoints.save(made / head, params, config, **saved)
    return made


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """Sentences whose words have labels."""
    folder = tmp_path_factory.mktemp("tagged")
    for language in tiny.LANGUAGES:
        rows = [
            {"tokens": [f"{language}{(i + j) % 9}" for j in range(1 + i % 4)],
             "tags": [tiny.LABELS[(i + j) % 3] for j in range(1 + i % 4)]}
            for i in range(12)
        ]  # fmt: skip
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{language}.test.jsonl").write_text(text)
    return folder


def facts(out):
    return json.loads((out / "deploy.json").read_text())


def deployed(folder, out, data, *flags):
    """The exit code; every flip is allowed unless a flag says otherwise."""
    lax = () if "--max-flips" in flags else ("--max-flips", "100")
    return program.main([str(folder), "--out", str(out), "--data", str(data), *flags, *lax])


ALONE = """\
import sys

class Finder:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("alignreg_jax", "jax", "flax", "onnx", "transformers"):
            raise ImportError(name)

sys.meta_path.insert(0, Finder())
import runpy
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def predicted(out, *texts):
    """What predict.py prints, where nothing but what it names can be imported."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(out / "predict.py"), *texts],
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    return done.stdout.splitlines()


def told(folder, texts):
    """The labels that the JAX model gives."""
    network = folders.read(folder).network
    tokenizer = checkpoints.resolve(str(folder)) / "tokenizer.json"
    read = served.encoding.load_tokenizer(folder, network.config.vocab_size)
    assert tokenizer.exists()
    found = []
    for text in texts:
        ids = np.array([read.encode(text).ids], np.int32)
        logits = agreement._ask(network, ids, np.array([ids.shape[1]], np.int32))
        found.append(tiny.LABELS[int(np.asarray(logits)[0].argmax())])
    return found


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


def damaged(monkeypatch, name):
    """Every graph of one kind of weights is written with one scale ten times too large."""
    write = graph.write

    def wrong(path, network, form=graph.Form()):  # noqa: B008
        write(path, network, form)
        if form.weights != name:
            return
        model = onnx.load(path)
        (scale,) = [
            each for each in model.graph.initializer if each.name == "layer1.ffn.output.scale"
        ]
        scale.CopyFrom(numpy_helper.from_array(10 * numpy_helper.to_array(scale), scale.name))
        onnx.save(model, path)

    monkeypatch.setattr(graph, "write", wrong)


def test_a_damaged_file_does_not_pass_and_the_float_model_stays(
    world, model, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    damaged(monkeypatch, "int8")
    flags = ("--quantize", "int8", "--max-flips", "5")
    assert deployed(model / "dense-tanh-out", out, world.data, *flags) == 3
    said = capsys.readouterr().out
    assert "gate: int8 changes too many answers:" in said
    assert not (out / "onnx/model_quantized.onnx").exists()
    assert facts(out)["kept"] == "fp32"
    assert facts(out)["refused"]["int8"]
    assert predicted(out, "en1 en2") == [
        f"{told(model / 'dense-tanh-out', ['en1 en2'])[0]}\ten1 en2"
    ]


def test_the_next_candidate_is_tried(world, model, tmp_path, monkeypatch):
    damaged(monkeypatch, "int8")
    out = tmp_path / "out"
    monkeypatch.setattr(gate, "lower_bound", lambda flips, total, _: 100 * flips / total)
    assert deployed(model / "dense-tanh-out", out, world.data, "--max-flips", "12") == 0
    assert facts(out)["kept"] in ("q8", "fp16")
    tried = [each["name"] for each in facts(out)["models"][2:]]
    assert tried[-1] == facts(out)["kept"]


def test_fewer_pieces_that_change_answers_do_not_pass(world, model, tmp_path, capsys):
    """Of German texts alone: English and Swahili are <unk>."""
    (tmp_path / "de.txt").write_text("\n".join(f"de{i} de{i + 1}" for i in range(19)))
    data = tmp_path / "data"
    data.mkdir()
    for name in ("en", "de", "sw"):
        text = (world.data / f"{name}.test.jsonl").read_text()
        (data / f"{name}.test.jsonl").write_text(text)
    out, flags = tmp_path / "out", ("--text", str(tmp_path / "de.txt"), "--max-flips", "5")
    assert deployed(model / "dense-tanh-out", out, data, *flags) == 3
    said = capsys.readouterr().out
    assert "gate: fp32 changes too many answers:" in said
    assert "keep more pieces" in said
    refused = facts(out)["refused"]["fp32"]
    assert "sw" in refused
    assert "de" not in refused
    assert facts(out)["kept"] == "fp32, all pieces"
    assert facts(out)["pieces"] == 65
    assert predicted(out, "sw1")[0].split("\t")[0] == told(model / "dense-tanh-out", ["sw1"])[0]


def test_fewer_pieces_of_all_texts_change_nothing(world, model, tmp_path):
    """Training rows of the folder stand for English; the others' words are given."""
    for name in ("de", "sw"):
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{name}{i}" for i in range(18)))
    files = [str(tmp_path / f"{name}.txt") for name in ("de", "sw")]
    out = tmp_path / "out"
    assert deployed(model / "linear", out, world.data, "--text", *files, "--quantize", "none") == 0
    found = facts(out)
    assert found["pieces"] < 65
    assert found["models"][1]["scores"] == found["models"][0]["scores"]
    assert [each["of"] for each in found["vocabulary"]] == ["training", "de.txt", "sw.txt"]
    labels = [line.split("\t")[0] for line in predicted(out, "de1 de2", "en3")]
    assert labels == told(model / "linear", ["de1 de2", "en3"])


@pytest.mark.parametrize("wrong", [1, 32])
def test_rows_are_compared_one_at_a_time_and_together(world, model, tmp_path, monkeypatch, wrong):
    answers = comparing.Asked.answers

    def damaged(self, path, batch, name):
        found = answers(self, path, batch, name)
        if (name, batch) != ("fp16", wrong):
            return found
        return {language: (each + 1) % 3 for language, each in found.items()}

    monkeypatch.setattr(comparing.Asked, "answers", damaged)
    out = tmp_path / "out"
    assert deployed(model / "linear", out, world.data, "--quantize", "fp16") == 0
    for each in facts(out)["models"][-1]["compared"].values():
        assert (each["batch"], each["flips"]) == (wrong, each["answers"])


def test_pieces_that_are_all_wanted_stay(world, model, tmp_path):
    every = [f"{name}{i}" for name in tiny.LANGUAGES for i in range(20)]
    (tmp_path / "all.txt").write_text("\n".join(every))
    out = tmp_path / "out"
    flags = ("--text", str(tmp_path / "all.txt"), "--quantize", "none")
    assert deployed(model / "linear", out, world.data, *flags) == 0
    assert facts(out)["pieces"] == 65
    assert facts(out)["vocabulary"] == []


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


def test_mixed_keeps_parts_wide_until_it_passes(world, model, tmp_path, monkeypatch):
    """Nothing but the exact answers passes here."""
    out = tmp_path / "out"
    judged = gate.failed
    monkeypatch.setattr(
        gate, "failed",
        lambda each, most: [] if "wide" in str(tried[-1]) else judged(each, -1.0),
    )  # fmt: skip
    tried = []
    line = comparing.line
    monkeypatch.setattr(
        comparing, "line", lambda name, *rest: (tried.append(name), line(name, *rest))[1]
    )
    flags = ("--quantize", "int8", "--mixed", "--max-flips", "5")
    assert deployed(model / "linear", out, world.data, *flags) == 3  # fp32 is refused, too
    tried.clear()
    monkeypatch.setattr(
        gate, "failed",
        lambda each, most: [] if tried[-1] in ("fp32", "int8, 1 wide") else judged(each, -1.0),
    )  # fmt: skip
    out = tmp_path / "again"
    assert deployed(model / "linear", out, world.data, *flags) == 0
    assert tried == ["fp32", "int8", "int8, 1 wide"]
    assert facts(out)["kept"] == "int8, 1 wide"


def table(out):
    """Rows of the card's table of languages, as text."""
    card = (out / "README.md").read_text().split("## What each language lost")[1]
    lines = [line for line in card.split("## ")[0].split("\n") if line.startswith("|")]
    heads, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(heads, row, strict=True)) for row in rows]


def test_the_cards_columns_are_of_one_comparison(world, model, tmp_path):
    out = tmp_path / "out"
    assert deployed(model / "dense-tanh-out", out, world.data, "--quantize", "int8") == 0
    compared = facts(out)["models"][-1]["compared"]
    rows = table(out)
    assert [row["language"] for row in rows] == ["en", "de", "sw"]
    for row in rows:
        each = compared[row["language"]]
        assert [float(row["float"]), float(row["served"])] == pytest.approx(
            each["scores"], abs=0.051
        )
        low, high = map(float, row["difference"].split(" to "))
        change = each["scores"][1] - each["scores"][0]
        assert low - 3 <= change <= high + 3  # half a row more in each cell draws it to the middle
        assert float(row["others %"]) == pytest.approx(100 * each["flips"] / 18, abs=0.051)


def test_the_card_of_a_refused_model_says_so(world, model, tmp_path, monkeypatch):
    damaged(monkeypatch, "int8")
    out = tmp_path / "out"
    flags = ("--quantize", "int8", "--max-flips", "5")
    assert deployed(model / "dense-tanh-out", out, world.data, *flags) == 3
    card = (out / "README.md").read_text()
    assert "No smaller form of it passed." in card
    assert "gate: int8 changes too many answers:" in card
    assert "is the same in float32" not in card


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
---
# Mine
"""
    folder = empties.write(world, tmp_path / "export", card=card)
    out = tmp_path / "out"
    assert deployed(folder, out, world.data, "--quantize", "none") == 0
    head = (out / "README.md").read_text().split("---")[1]
    assert head.startswith("\nlicense: other\nlicense_name: own\nbase_model:\n- intfloat/e5\nlang")
    assert "tags" not in head


def test_languages_without_words_and_texts_are_no_pieces(world, model, tmp_path, capsys):
    """Rows that are compared do not stand for texts to keep."""
    data, lists = tmp_path / "data", tmp_path / "lists"
    for folder in (data, lists):
        folder.mkdir()
    for name in ("en", "sw"):
        shutil.copy(world.data / f"{name}.test.jsonl", data)
    (lists / "en.txt").write_text("\n".join(f"en{i}" for i in range(20)))
    flags = ("--languages", "sw", "--word-lists", str(lists), "--coverage", ".9")
    assert deployed(model / "linear", tmp_path / "out", data, *flags) == 2
    assert "sw.txt" in capsys.readouterr().err


def test_files_of_one_name_are_two(world, model, tmp_path):
    files = []
    for name in ("de", "sw"):
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "train.txt")
        files[-1].write_text("\n".join(f"{name}{i}" for i in range(18)))
    out = tmp_path / "out"
    flags = ("--text", *map(str, files), "--quantize", "none")
    assert deployed(model / "linear", out, world.data, *flags) == 0
    found = facts(out)
    assert [each["of"] for each in found["vocabulary"]] == ["training", *map(str, files)]
    assert found["models"][1]["scores"] == found["models"][0]["scores"]


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


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--languages", "xx"],
            "--languages: no rows of xx to compare on; there are rows of de, en",
        ),
        (["--size", "0.5"], "sizes.npz"),
        (["--size", "1.5"], "--size=1.5: should be above 0 and at most 1"),
        (["--quantize", "int4"], "invalid choice"),
        (["--max-flips", "0"], "--max-flips=0: should be above 0"),
        (["--threads", "0"], "--threads=0: should be at least 1"),
        (["--tokens", "9", "--coverage", ".9"], "not allowed with argument"),
        (["--coverage", ".9"], "--coverage is of --languages; name them"),
        (["--word-lists", "x"], "--word-lists is for --languages; name them"),
        (["--mixed", "--max-mb", "9"], "--mixed is without a budget"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(world, model, tmp_path, capsys, flags, message):
    out = tmp_path / "out"
    assert deployed(model / "linear", out, world.data, *flags) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_more_mistakes(world, model, tagged, tmp_path, capsys):
    out = tmp_path / "out"

    def refused(*arguments):
        assert program.main([*map(str, arguments), "--out", str(out)]) == 2
        return capsys.readouterr().err

    assert "is a model and no run, so give --data FOLDER" in refused(model / "linear")
    assert "is neither a run nor a model: it has no config.json" in refused(world.data)
    assert "no such folder" in refused(tmp_path / "nothing")
    assert "has tokens" in refused(model / "linear", "--data", tagged)
    (tmp_path / "file").write_text("")
    assert program.main([str(model / "linear"), "--out", str(tmp_path / "file" / "x")]) == 2
    assert "is a file; give a folder in a folder" in capsys.readouterr().err
    (tmp_path / "data").mkdir()
    assert "has no <language>.test.jsonl" in refused(model / "linear", "--data", tmp_path / "data")
    (tmp_path / "data" / "de.test.jsonl").write_text('{"text": "de1", "label": "maybe"}\n')
    where = f"{tmp_path / 'data' / 'de.test.jsonl'}:1: the model has no label 'maybe'"
    assert where in refused(model / "linear", "--data", tmp_path / "data")
    assert not out.exists()
    out.mkdir()
    assert "is there already" in refused(model / "linear", "--data", world.data)


def test_without_the_packages_it_says_what_to_install(tmp_path):
    """In a process of its own: nothing that needs them may be imported before."""
    script = """\
import sys
sys.modules["onnx"] = sys.modules["onnxruntime"] = None
from alignreg_jax import deploy
sys.exit(deploy.main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", script, str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tiny.ROOT)
    assert done.returncode == 2
    assert "pip install 'alignreg_jax[deploy]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_one_line_and_leaves_nothing(world, model, tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(graph, "write", full)
    assert deployed(model / "linear", tmp_path / "out", world.data) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "No space left on device" in err
    assert list(tmp_path.iterdir()) == []


def test_what_fails_on_the_way_leaves_nothing(world, model, tmp_path, monkeypatch):
    asked = served.of_folder(world.data, "linear", tiny.LABELS, ())

    def fail(*arguments):
        raise UserError("on the way")

    monkeypatch.setattr(cutting, "cut", fail)
    with pytest.raises(UserError, match="on the way"):
        deploy(model / "linear", tmp_path / "out", asked, Wanted(Cuts()))
    assert list(Path(tmp_path).iterdir()) == []
