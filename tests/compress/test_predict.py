"""What predict.py reads, and what the gate has read."""

import json
import shutil
import subprocess
import sys

import deploy_cases
import empties
import pytest
from deploy_cases import deployed, facts, predicted, told

few_texts, quick = empties.few_texts, deploy_cases.quick  # in every test here
model = deploy_cases.model


@pytest.mark.parametrize("pairs", [False, True])
def test_a_tab_is_between_two_texts_only_for_a_model_of_pairs(model, tmp_path, pairs):
    """The card of the model that it was made from is not in UTF-8, which changes nothing."""
    folder = shutil.copytree(model / "dense-tanh-out", tmp_path / "model")
    (folder / "README.md").write_bytes(b"# Mod\xe8le\n")
    data = tmp_path / "data"
    data.mkdir()
    second = {"text_pair": "de3 de4"} if pairs else {}
    rows = [{"text": f"en{row}", **second} for row in range(9)]
    (data / "en.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    assert deployed(folder, out, data, "--quantize", "none") == 0
    assert facts(out)["pairs"] == pairs
    assert "# Mod\ufffdle, to serve\n" in (out / "README.md").read_text(encoding="utf-8")
    texts = [f"en{i}\tde{j}\tsw{i}" for i in range(0, 20, 3) for j in range(0, 20, 3)]
    as_texts = told(folder, texts)
    as_pairs = told(folder, [tuple(text.split("\t")[:2]) for text in texts])
    assert as_texts != as_pairs
    labels = as_pairs if pairs else as_texts
    expected = [f"{label}\t{text}" for label, text in zip(labels, texts, strict=True)]
    assert predicted(out, *texts) == expected
    usage = subprocess.run(
        [sys.executable, str(out / "predict.py"), "--help"], capture_output=True, text=True
    )
    assert usage.stdout.startswith("python predict.py TEXT ...: the label of each text")
    assert (usage.returncode, usage.stderr) == (0, "")
