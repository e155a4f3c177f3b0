"""A loaded checkpoint is saved as a folder that this library, transformers and PyTorch read."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_folders import (
    BASE,
    add_tokenizer,
    assert_same,
    load,
)
from demo_cases import rows
from parity_cases import CASES, LABELS, batch, checkpoint, write_folder
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from alignreg_jax.models import checkpoints, xlmr

LINEAR, TOKENS = CASES["minilm"], CASES["tokens"]
NAMES = ("lamp", "door", "window")


def export(folder, out, case=BASE):
    loaded = load(folder, case)
    checkpoints.save(out, loaded.params, loaded.config, head=case.head, labels=NAMES, source=folder)
    return loaded, out


@pytest.mark.parametrize("case", [BASE, LINEAR, TOKENS], ids=["dense-tanh-out", "linear", "token"])
def test_load_save_load_is_bitwise(case, tmp_path):
    source = add_tokenizer(write_folder(case, tmp_path / "source"))
    loaded, out = export(source, tmp_path / "out", case)
    again = load(out, case, labels=NAMES)
    assert_same(again.params, loaded.params)
    assert again.config == loaded.config
    assert again.skipped == again.initialised == []


def test_exported_tensors_are_the_source_bit_for_bit(folder, tmp_path):
    _, out = export(folder, tmp_path / "out")
    written, source = load_file(out / "model.safetensors"), checkpoint(BASE)
    assert set(written) == set(source)
    for name, value in source.items():
        np.testing.assert_array_equal(written[name], value, err_msg=name, strict=True)


def test_export_files(folder, tmp_path):
    _, out = export(folder, tmp_path / "out")
    assert (out / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    modes = {path.stat().st_mode & 0o777 for path in out.iterdir()}
    assert len(modes) == 1  # safetensors alone would be private to its owner
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["XLMRobertaForSequenceClassification"]
    assert config["id2label"] == {"0": "lamp", "1": "door", "2": "window"}
    assert config["label2id"] == {"lamp": 0, "door": 1, "window": 2}
    assert config["dtype"] == "float32"
    for name, value in BASE.config.items():
        assert name == "id2label" or config[name] == value
    options = json.loads((out / "tokenizer_config.json").read_text())
    assert options["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "mask_token" not in options  # this vocabulary has none


def test_linear_head_is_a_file_of_its_own(tmp_path):
    source = add_tokenizer(write_folder(LINEAR, tmp_path / "source"))
    _, out = export(source, tmp_path / "out", LINEAR)
    head = load_file(out / "head.safetensors")
    assert {name: value.shape for name, value in head.items()} == {
        "classifier.weight": (LABELS, LINEAR.hidden_size),
        "classifier.bias": (LABELS,),
    }
    encoder = load_file(out / "model.safetensors")
    assert not [name for name in encoder if name.startswith(("classifier", "roberta"))]
    assert json.loads((out / "config.json").read_text())["architectures"] == ["XLMRobertaModel"]


def test_token_head_has_the_names_of_transformers(tmp_path):
    source = add_tokenizer(write_folder(TOKENS, tmp_path / "source"))
    _, out = export(source, tmp_path / "out", TOKENS)
    written = load_file(out / "model.safetensors")
    assert {name for name in written if not name.startswith("roberta.")} == {
        "classifier.weight",
        "classifier.bias",
    }
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["XLMRobertaForTokenClassification"]


def test_auto_tokenizer_on_an_export_gives_the_same_ids(tmp_path):
    from transformers import AutoTokenizer

    source = checkpoints.resolve("demo")
    loaded = checkpoints.load(source, head="dense-tanh-out", labels=NAMES, seed=0)
    checkpoints.save(
        tmp_path, loaded.params, loaded.config,
        head="dense-tanh-out", labels=NAMES, source=source,
    )  # fmt: skip
    ours = Tokenizer.from_file(str(source / "tokenizer.json"))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    # A blank after normalisation at the end is where a rebuilt pipeline differs
    odd = ["turn on\u200c", "\u200c", "", " ", "  two  blanks ", "a\tb\n", "<s> <mask> </s>", "ﬁ①"]
    texts = odd + [text for text, _ in rows()][::20]
    expected = [encoding.ids for encoding in ours.encode_batch(texts)]
    assert theirs(texts)["input_ids"] == expected
    pairs = list(zip(texts[:200], texts[200:400], strict=True))
    expected = [encoding.ids for encoding in ours.encode_batch(pairs)]
    assert theirs(*map(list, zip(*pairs, strict=True)))["input_ids"] == expected
    assert len(theirs) == ours.get_vocab_size()
    assert theirs.model_max_length == 512


# PyTorch on an export


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_torch_gives_our_logits_on_an_export(case, tmp_path):
    import torch
    import transformers

    source = add_tokenizer(write_folder(case, tmp_path / "source"), case.vocab_size)
    loaded, out = export(source, tmp_path / "out", case)
    ids, lengths, _ = batch(case)
    tensor, valid = torch.from_numpy(ids).long(), np.arange(ids.shape[1]) < lengths[:, None]
    mask = torch.from_numpy(valid)
    if case.head == "linear":
        model, report = transformers.XLMRobertaModel.from_pretrained(
            out, add_pooling_layer=False, output_loading_info=True
        )
        head = load_file(out / "head.safetensors")
        with torch.inference_mode():
            first = model(tensor, attention_mask=mask).last_hidden_state[:, 0].numpy()
        theirs = first @ head["classifier.weight"].T + head["classifier.bias"]
    else:
        (name,) = json.loads((out / "config.json").read_text())["architectures"]
        model, report = getattr(transformers, name).from_pretrained(out, output_loading_info=True)
        assert model.config.id2label == dict(enumerate(NAMES))
        with torch.inference_mode():
            theirs = model(tensor, attention_mask=mask).logits.numpy()
    assert not any(report.values()), report
    assert model.dtype == torch.float32
    model = xlmr.XlmrModel(loaded.config, case.head, LABELS)
    ours = xlmr.logits(model, loaded.params, jnp.asarray(ids), jnp.asarray(lengths))
    if case.head == "token":  # at padding nobody reads them
        ours, theirs = ours[valid], theirs[valid]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1, np.abs(theirs).max()))
