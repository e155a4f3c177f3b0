"""What the command that deploys a model refuses, in one line and leaving nothing."""

import errno
import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import deploy_cases
import empties
import numpy as np
import pytest
import tiny
from deploy_cases import deployed

from alignreg_jax import deploy as program
from alignreg_jax.compress import served
from alignreg_jax.compress.deployment import comparing, cutting
from alignreg_jax.compress.deployment.cutting import Cuts
from alignreg_jax.compress.deployment.deploy import Wanted, deploy
from alignreg_jax.compress.onnx import graph
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints

few_texts, quick = empties.few_texts, deploy_cases.quick  # in every test here
model, tagged = deploy_cases.model, deploy_cases.tagged


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--languages", "xx"],
            "--languages: no rows of xx to compare on; there are rows of de, en",
        ),
        (["--size", "0.5"], "sizes.npz"),
        (["--size", "1.5"], "--size=1.5: should be above 0 and at most 1"),
        (["--quantize", "int3"], "invalid choice"),
        (["--max-flips", "0"], "--max-flips=0: should be above 0"),
        (["--threads", "0"], "--threads=0: should be at least 1"),
        (["--tokens", "9", "--coverage", ".9"], "not allowed with argument"),
        (["--coverage", ".9"], "--coverage is of --languages; name them"),
        (["--tokens", "9"], "--tokens: pieces of which --languages, or of what --text?"),
        (["--word-lists", "x"], "--word-lists is for --languages; name them"),
        (["--word-lists", "x", "--languages", "sw"], "--word-lists: all pieces stay without"),
        (
            ["--word-lists", "x", "--languages", "sw", "--max-ms", "5"],
            "--word-lists: all pieces stay without",
        ),
        (
            ["--word-lists", "nowhere", "--languages", "sw", "--coverage", ".9"],
            "--word-lists: nowhere: is no folder",
        ),
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
    where += "; it has 'off', 'on', 'open'"
    assert where in refused(model / "linear", "--data", tmp_path / "data")
    assert not out.exists()
    out.symlink_to(tmp_path / "nowhere")
    assert "is there already" in refused(model / "linear", "--data", world.data)
    out.unlink()
    out.mkdir()
    assert "is there already" in refused(model / "linear", "--data", world.data)


def test_a_model_whose_answers_are_all_the_same_is_not_compared(world, tmp_path, capsys):
    """One label, as of a model that gives a number: no answer would ever be another."""
    params, config = empties.load(world, "linear")
    leaves = empties.flat(params)
    for path in [path for path in leaves if path.startswith("head/")]:
        leaves[path] = leaves[path][..., :1]
    saved = {"head": "linear", "labels": ("LABEL_0",), "source": world.encoder}
    checkpoints.save(tmp_path / "one", empties.nested(leaves), config, **saved)
    for language in ("en", "de"):
        (tmp_path / f"{language}.test.jsonl").write_text('{"text": "en1"}\n')
    assert deployed(tmp_path / "one", tmp_path / "out", tmp_path) == 2
    assert "its head has one label, so that every answer is the same" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_language_with_nothing_to_compare_is_named(tmp_path, model):
    before = {"de": np.array([-1, -1]), "en": np.array([0, -1])}
    asked = SimpleNamespace(answers=lambda *_: before, pooling="mean")
    with pytest.raises(UserError, match=r"^de: the model gives no answer to compare"):
        inspect.unwrap(comparing.reference)("x", model, asked, SimpleNamespace(rows={}))


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
