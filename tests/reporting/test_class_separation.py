"""How well classes come apart inside a run's models, against JAX's states and scikit-learn."""

import json
import runpy
import sys

import numpy as np
import pandas as pd
import pytest
import tiny
from sklearn.metrics import silhouette_samples
from tokenizers import Tokenizer

from alignreg_jax.compress import agreement, folders

TOOL = tiny.ROOT / "tools" / "class_separation.py"


def separated(folder, data, language):
    """One row after the other, without ONNX."""
    network = folders.read(folder).network._replace(head=None)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    lines = (data / f"{language}.test.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    vectors = []
    for row in rows:
        ids = np.array([tokenizer.encode(row["text"]).ids], np.int32)
        lengths = np.array([ids.shape[1]], np.int32)
        vectors.append(np.asarray(agreement._ask(network, ids, lengths))[0, 0])
    names = [row["label"] for row in rows]
    return silhouette_samples(np.array(vectors), names, metric="cosine").mean()


def test_a_line_for_every_step(world, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    assert tiny.run(tiny.command(world, run, "--config.export=steps"))[0] == 0
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["class_separation.py", str(run)])
    tool = runpy.run_path(str(TOOL), run_name="__main__")
    head, _, *lines, last = capsys.readouterr().out.splitlines()
    results = json.loads((run / "results.json").read_text())["prune_steps"]
    assert head.startswith("| weights | silhouette: en |")
    assert len(lines) == len(results)
    assert last == f"1 runs, {len(tiny.LANGUAGES)} languages"
    found = tool["of_run"](run)
    for number, step in enumerate(results):
        folder = run / "steps" / str(number)
        folder = folder if folder.is_dir() else run / "export"
        mine = found[found.step == number].set_index("language")
        for language in tiny.LANGUAGES:
            expected = separated(folder, world.data, language)
            assert mine.silhouette[language] == pytest.approx(expected, abs=1e-4)
            assert mine.accuracy[language] == step["languages"][language]
        others = mine.drop("en")
        cells = [float(cell) for cell in lines[number].replace(" %", "").split("|")[1:-1]]
        assert cells[1:4] == pytest.approx(
            [mine.silhouette["en"], others.silhouette.mean(), others.silhouette.min()], abs=6e-4
        )
        scores = [mine.accuracy["en"], others.accuracy.mean()]
        assert cells[4:] == pytest.approx([100 * score for score in scores], abs=0.06)
        assert cells[0] == pytest.approx(100 * step["remaining"], abs=0.6)


def test_seeds_are_averaged_before_the_worst_language_is_found(monkeypatch, capsys):
    """The two runs have cut to shares that differ by a weight."""
    tool, told = runpy.run_path(str(TOOL)), {}
    for run, share, values in (("one", 0.5, (0.4, 0.1, 0.3)), ("two", 0.5001, (0.6, 0.3, 0.2))):
        lines = [
            (1, share, language, value, 0.5)
            for language, value in zip(("en", "de", "sw"), values, strict=True)
        ]
        columns = ["step", "left", "language", "silhouette", "accuracy"]
        told[run] = pd.DataFrame(lines, columns=columns)
    monkeypatch.setitem(tool["main"].__globals__, "of_run", lambda run: told[str(run)])
    monkeypatch.setattr(sys, "argv", ["class_separation.py", "one", "two"])
    tool["main"]()
    _, _, line, last = capsys.readouterr().out.splitlines()
    assert line == "| 50 % | 0.500 | 0.225 | 0.200 | 50.0 | 50.0 |"
    assert last == "2 runs, 3 languages"
    told["one"] = told["two"] = told["one"][:0]
    with pytest.raises(SystemExit, match="no language has texts of two classes"):
        tool["main"]()


def test_a_run_without_its_steps(world, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["class_separation.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="export=steps"):
        runpy.run_path(str(TOOL), run_name="__main__")


def test_the_sizes_of_one_model_are_no_steps(world, tmp_path, monkeypatch):
    tool, sizes = runpy.run_path(str(TOOL)), ("--config.pruning.sizes=1,.5",)
    config = tiny.configured(world, "--config.method=elastic", *sizes)
    monkeypatch.setattr(tool["workdir"], "config_of", lambda run: config)
    (tmp_path / "steps").mkdir()
    with pytest.raises(SystemExit, match=r"\(pruning.sizes\) are one model"):
        tool["of_run"](tmp_path)
