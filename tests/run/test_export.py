"""An export is complete, is replaced as a whole, and has the tokenizer of stock transformers."""

import json
import shutil

import exports
import jax
import numpy as np
import pytest
from exports import CONFIG, LABELS, draw, write

from alignreg_jax.models import checkpoints
from alignreg_jax.run import export

source = exports.source  # a fixture


def test_the_folder_is_complete_and_nothing_is_left_beside_it(tmp_path, source):
    out = tmp_path / "run" / "export"
    out.parent.mkdir()
    write(out, source)
    assert {file.name for file in out.iterdir()} == {
        *("config.json", "model.safetensors", "README.md"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    assert (out / "README.md").read_text() == "# card\n"
    assert (out / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    assert [entry.name for entry in out.parent.iterdir()] == ["export"]


def test_an_export_is_replaced_as_a_whole(tmp_path, source):
    out = tmp_path / "export"
    write(out, source, seed=0)
    before = (out / "model.safetensors").read_bytes()
    (out / "stray").write_text("of the old export")
    write(out, source, seed=1)
    assert (out / "model.safetensors").read_bytes() != before
    assert not (out / "stray").exists()


def test_the_same_params_give_the_same_bytes(tmp_path, source):
    write(tmp_path / "one", source)
    write(tmp_path / "two", source)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_failure_keeps_the_old_export_and_the_next_try_cleans_up(tmp_path, source, monkeypatch):
    out = tmp_path / "run" / "export"
    out.parent.mkdir()
    write(out, source)
    before = (out / "model.safetensors").read_bytes()

    def full_disk(path, content):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(export, "atomic_write", full_disk)
        with pytest.raises(OSError, match="no space"):
            write(out, source, seed=1)
    assert (out / "model.safetensors").read_bytes() == before
    write(out, source, seed=1)
    assert (out / "model.safetensors").read_bytes() != before
    assert [entry.name for entry in out.parent.iterdir()] == ["export"]


def test_exact_zeros_arrive_as_zeros(tmp_path, source):
    from safetensors.numpy import load_file

    params = jax.tree.map(np.array, draw(0))
    params["encoder"]["intermediate"]["kernel"][1] = 0.0
    head = {"config": CONFIG, "head": "dense-tanh-out", "labels": LABELS}
    export.write_export(tmp_path / "export", params=params, source=source, card="", **head)
    stored = load_file(tmp_path / "export" / "model.safetensors")
    dense = "roberta.encoder.layer.{}.intermediate.dense.weight"
    assert np.count_nonzero(stored[dense.format(1)]) == 0
    assert np.count_nonzero(stored[dense.format(0)]) == 24


def test_an_export_whose_tokenizer_stock_transformers_rebuilds_is_refused(tmp_path):
    source = checkpoints.DEMO
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(source / name, tmp_path)
    settings = json.loads((source / "tokenizer_config.json").read_text())
    texts = ["turn on the light", "a blank that is none\u200c"]
    write = (tmp_path / "tokenizer_config.json").write_text
    write(json.dumps(settings | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    export.check_stock_tokenizer(tmp_path, texts)
    write(json.dumps(settings | {"tokenizer_class": "XLMRobertaTokenizer"}))
    with pytest.raises(RuntimeError, match="in another way"):
        export.check_stock_tokenizer(tmp_path, texts)
