"""What goes with a language's damage: correlations against scipy's, and a made-up run."""

import json
import runpy
import sys

import numpy as np
import pandas as pd
import pytest
import tiny
from scipy.stats import spearmanr

from alignreg_jax.compress import probing

TOOL = tiny.ROOT / "tools" / "damage_by_language.py"
LANGUAGES = ("de", "fr", "sw", "hu", "ru", "fi")


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(TOOL))


def test_a_partial_correlation_is_that_of_three_plain_ones(tool):
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(20, 3)), columns=["damage", "one", "dense"])
    table.one += table.dense
    plain = {
        pair: spearmanr(table[pair[0]], table[pair[1]]).statistic
        for pair in (("damage", "one"), ("damage", "dense"), ("one", "dense"))
    }
    rows = np.arange(20)
    found = tool["correlation"]([table], "one", "", rows)
    assert found == pytest.approx(plain["damage", "one"])
    both = plain["damage", "dense"] * plain["one", "dense"]
    left = np.sqrt((1 - plain["damage", "dense"] ** 2) * (1 - plain["one", "dense"] ** 2))
    found = tool["correlation"]([table], "one", "dense", rows)
    assert found == pytest.approx((plain["damage", "one"] - both) / left)
    two = tool["correlation"]([table, table.assign(one=-table.one)], "one", "", rows)
    assert two == pytest.approx(0)  # the mean of two runs
    assert np.isnan(tool["correlation"]([table.assign(one=1.0)], "one", "", rows))


def test_a_run_whose_damage_is_all_in_its_alignment(tmp_path, monkeypatch, capsys):
    run, probed = tmp_path / "run", tmp_path / "probed"
    (run / "steps" / "0").mkdir(parents=True)
    probed.mkdir()
    tiny.write_encoder(tmp_path / "encoder", ["a"])
    (tmp_path / "encoder" / "tokenizer.json").rename(run / "steps" / "0" / "tokenizer.json")
    scores, inside, texts = [], [], []
    for place, language in enumerate(("en", *LANGUAGES)):
        path = tmp_path / f"{language}.jsonl"
        path.write_text(json.dumps({"text": "a " * (place + 1)}) + "\n")
        texts.append(str(path))
        for step, value in ((0, 0.9), (1, 0.8 - place / 20)):
            head = {"prune_step": step, "split": "test", "metric": "accuracy"}
            scores.append({"language": language, "value": value, **head})
            model = "run/export" if step else "run/steps/0"
            for measure in (probing.FIRST, probing.PIVOT.format("en"), probing.CORRECTED):
                value = 1 - place / 10 * (measure == probing.PIVOT.format("en") and not step)
                row = {"model": model, "language": language, "layer": 1, "measure": measure}
                inside.append({**row, "value": value})
    # One that was evaluated and has no text is in no line
    head = {"language": "th", "split": "test", "metric": "accuracy"}
    scores += [{**head, "prune_step": 0, "value": 1.0}, {**head, "prune_step": 1, "value": 0.0}]
    pd.DataFrame(scores).to_csv(run / "results.csv", index=False)
    pd.DataFrame(inside).to_csv(probed / "probe.csv", index=False)
    monkeypatch.setattr(sys, "argv", ["tool", f"{run}={probed}", "--text", *texts])
    runpy.run_path(str(TOOL), run_name="__main__")
    said = capsys.readouterr().out
    assert "step 1: 1 runs, 6 languages\n  damage +27.5 points on average" in said
    lines = {line[2:36].strip(): line[36:].split() for line in said.splitlines()[2:]}
    assert lines["CKA with English, dense"][0] == "-1.00"
    assert lines["lost of CKA with English"][0] == "-1.00"  # where little was, little is lost
    assert lines["pieces for one of English"][0] == "+1.00"
    assert lines["retrieval, dense"][:4] == ["the", "same", "in", "all"]
