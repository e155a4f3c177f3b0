"""What passes the gate of deploying, what is kept where nothing does, and what the card says."""

import deploy_cases
import empties
import onnx
import pytest
from deploy_cases import deployed, facts, predicted, told
from onnx import numpy_helper

from alignreg_jax.compress import gate
from alignreg_jax.compress.deployment import comparing
from alignreg_jax.compress.onnx import graph

few_texts, quick = empties.few_texts, deploy_cases.quick  # in every test here
model = deploy_cases.model


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
    assert "so there is the float model alone; more --max-flips allow more changes" in said
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
        assert float(row["changed %"]) == pytest.approx(100 * each["flips"] / 18, abs=0.051)


def test_the_card_of_a_refused_model_says_so(world, model, tmp_path, monkeypatch):
    damaged(monkeypatch, "int8")
    out = tmp_path / "out"
    flags = ("--quantize", "int8", "--max-flips", "5")
    assert deployed(model / "dense-tanh-out", out, world.data, *flags) == 3
    card = (out / "README.md").read_text()
    assert "No smaller form of it passed." in card
    assert "gate: int8 changes too many answers:" in card
    assert "is the same in float32" not in card
