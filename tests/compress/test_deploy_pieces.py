"""A deployed model with fewer pieces of its vocabulary, and where they change answers."""

import shutil

import deploy_cases
import empties
import tiny
from deploy_cases import deployed, facts, predicted, told

few_texts, quick = empties.few_texts, deploy_cases.quick  # in every test here
model = deploy_cases.model


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


def test_pieces_that_are_all_wanted_stay(world, model, tmp_path):
    every = [f"{name}{i}" for name in tiny.LANGUAGES for i in range(20)]
    (tmp_path / "all.txt").write_text("\n".join(every))
    out = tmp_path / "out"
    flags = ("--text", str(tmp_path / "all.txt"), "--quantize", "none")
    assert deployed(model / "linear", out, world.data, *flags) == 0
    assert facts(out)["pieces"] == 65
    assert facts(out)["vocabulary"] == []


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
