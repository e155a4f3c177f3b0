"""The language model's head on a word for each label: PyTorch's scores, or one line why not."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_folders import BASE, add_tokenizer, drop_head, rewrite
from parity_cases import NAMES, batch, write_folder
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer, pre_tokenizers

from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, xlmr

WORDS, PIECES = ("piece9", "piece30", "piece12"), [9, 30, 12]
HEAD = "label-words"


def lm_head(tied):
    """Tensors of the head; their order of drawing is that of the names."""
    random, hidden = np.random.RandomState(7), BASE.hidden_size
    shapes = {
        "lm_head.dense.weight": (hidden, hidden),
        "lm_head.dense.bias": (hidden,),
        "lm_head.layer_norm.weight": (hidden,),
        "lm_head.layer_norm.bias": (hidden,),
        "lm_head.bias": (BASE.vocab_size,),
    }
    if not tied:
        shapes["lm_head.decoder.weight"] = (BASE.vocab_size, hidden)
        shapes["lm_head.decoder.bias"] = (BASE.vocab_size,)
    return {name: 0.3 * random.randn(*shape).astype(np.float32) for name, shape in shapes.items()}


def with_lm_head(folder, tied=True):
    """A checkpoint as of XLMRobertaForMaskedLM, whose tokenizer splits at spaces."""
    add_tokenizer(write_folder(BASE, folder))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))

    def change(tensors):
        drop_head(tensors)
        tensors |= lm_head(tied)

    rewrite(folder, change)
    return folder


def load(folder, labels=NAMES, words=WORDS, head=HEAD, **options):
    checkpoints.check(folder, head=head, labels=labels, words=words, **options)
    return checkpoints.load(folder, head=head, labels=labels, words=words, seed=0, **options)


def outputs(loaded):
    """Hidden states of the last layer, and the logits."""
    model = xlmr.XlmrModel(loaded.config, HEAD, len(NAMES))
    ids, lengths = (jnp.asarray(array) for array in batch(BASE)[:2])
    hidden = xlmr.hidden_states(model, loaded.params, ids, lengths)[-1]
    return np.asarray(hidden, np.float64), xlmr.logits(model, loaded.params, ids, lengths)


@pytest.mark.parametrize("tied", [True, False])
def test_scores_are_those_of_the_words_at_the_first_token(tied, tmp_path):
    folder = with_lm_head(tmp_path / "lm", tied)
    loaded = load(folder)
    hidden, logits = outputs(loaded)
    stored = load_file(folder / "model.safetensors")
    tensors = {name: leaf.astype(np.float64) for name, leaf in stored.items()}
    first = hidden[:, 0] @ tensors["lm_head.dense.weight"].T + tensors["lm_head.dense.bias"]
    first = first * (1 + erf(first / 2**0.5)) / 2
    first = first - first.mean(-1, keepdims=True)
    first /= np.sqrt((first**2).mean(-1, keepdims=True) + BASE.layer_norm_eps)
    first = first * tensors["lm_head.layer_norm.weight"] + tensors["lm_head.layer_norm.bias"]
    table = "roberta.embeddings.word_embeddings.weight" if tied else "lm_head.decoder.weight"
    bias = tensors["lm_head.bias" if tied else "lm_head.decoder.bias"]
    expected = first @ tensors[table][PIECES].T + bias[PIECES]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)
    assert loaded.initialised == []  # so a run may freeze it
    assert loaded.skipped == ([] if tied else ["lm_head.bias"])


@pytest.mark.torch
@pytest.mark.parametrize("tied", [True, False])
def test_scores_are_those_of_transformers(tied, tmp_path):
    import torch
    from transformers import XLMRobertaForMaskedLM

    folder = with_lm_head(tmp_path / "lm", tied)
    config = json.loads((folder / "config.json").read_text())
    config |= {"tie_word_embeddings": tied, "architectures": ["XLMRobertaForMaskedLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    model = XLMRobertaForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids, lengths, _ = batch(BASE)
    mask = torch.from_numpy(np.arange(ids.shape[1]) < lengths[:, None])
    with torch.inference_mode():
        theirs = model(torch.from_numpy(ids).long(), attention_mask=mask.long()).logits
    theirs = theirs[:, 0, PIECES]
    np.testing.assert_allclose(outputs(load(folder))[1], theirs.numpy(), rtol=0, atol=1e-5)


def test_words_go_with_labels_by_order_or_by_name(tmp_path):
    folder = with_lm_head(tmp_path / "lm")
    head = load(folder).params["head"]["out"]["kernel"]
    words = dict(zip(NAMES, WORDS, strict=True))
    pairs = [f"{label}={words[label]}" for label in reversed(NAMES)]
    np.testing.assert_array_equal(load(folder, words=pairs).params["head"]["out"]["kernel"], head)
    turned = load(folder, labels=NAMES[::-1], words=pairs).params["head"]["out"]["kernel"]
    np.testing.assert_array_equal(turned, head[:, ::-1])


def test_an_export_is_read_back_bit_for_bit_by_its_labels(tmp_path):
    folder = with_lm_head(tmp_path / "lm")
    loaded, out = load(folder), tmp_path / "out"
    checkpoints.save(out, loaded.params, loaded.config, head=HEAD, labels=NAMES, source=folder)
    assert checkpoints.head_form(out) == HEAD
    assert load_file(out / "head.safetensors")["label_words.weight"].shape == (3, BASE.hidden_size)
    assert not any("head" in name for name in load_file(out / "model.safetensors"))
    again = load(out, words=())
    np.testing.assert_array_equal(outputs(again)[1], outputs(loaded)[1])
    turned = load(out, labels=NAMES[::-1], words=())
    np.testing.assert_array_equal(outputs(turned)[1], outputs(loaded)[1][:, ::-1])
    with pytest.raises(UserError, match="has its words already"):
        load(out)
    with pytest.raises(UserError, match=r"another classification head .*model\.head=linear"):
        load(out, words=(), head="linear")
    fresh = load(out, words=(), head="linear", new_head=True)
    assert fresh.initialised == ["classifier.bias", "classifier.weight"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (WORDS[:2], "has 2 words, and there are 3 labels (label0, label1, label2)"),
        ((), "has 0 words"),
        (("piece9", "piece30", "piece1 piece2"), "'piece1 piece2' is 2 pieces"),
        (("piece9", "piece30", "elsewhere"), "'elsewhere' is unknown to the encoder's tokenizer"),
        (("piece9", "piece30", "piece9"), "'piece9' and 'piece9' are one piece"),
        (
            ("label0=piece9", "label1=piece30", "other=piece12"),
            "other=piece12 should be label=word",
        ),
        (("label0=piece9", "label1=piece30", "piece12"), "piece12 should be label=word"),
    ],
)
def test_words_that_are_refused(words, says, tmp_path):
    folder = with_lm_head(tmp_path / "lm")
    with pytest.raises(UserError) as caught:
        load(folder, words=words)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gone", ["lm_head.layer_norm.bias", "lm_head.bias"])
def test_a_checkpoint_without_the_whole_head_is_refused(gone, tmp_path):
    folder = with_lm_head(tmp_path / "lm")
    rewrite(folder, lambda tensors: tensors.pop(gone))
    with pytest.raises(UserError, match=f"label-words reads .*{gone} is not there"):
        load(folder)


def test_the_bias_may_be_stored_as_the_decoders(tmp_path):
    folder = with_lm_head(tmp_path / "lm")
    expected = load(folder).params["head"]["out"]["bias"]

    def rename(tensors):
        tensors["lm_head.decoder.bias"] = tensors.pop("lm_head.bias")

    rewrite(folder, rename)
    np.testing.assert_array_equal(load(folder).params["head"]["out"]["bias"], expected)
