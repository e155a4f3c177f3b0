"""Both forms under PyTorch and transformers, beside the original and beside JAX."""

import empties
import jax
import numpy as np
import pytest
import tiny

from alignreg_jax.compress import agreement
from alignreg_jax.compress.shrink import shrink
from alignreg_jax.models import checkpoints, xlmr

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("default")]

IDS = np.array([[0, 5, 1, 30, 2], [0, 7, 2, 1, 1]])  # a text may contain "<pad>"
MASK = (np.arange(5) < np.array([[5], [3]])).astype(np.int64)


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Where transformers copies code to, and few texts to compare."""
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(agreement, "TEXTS", 1)
    monkeypatch.setattr(agreement, "_LENGTHS", (16,))


def theirs(folder, head, **options):
    """Logits of transformers' class for a folder; nothing may be missing or new there."""
    import torch
    import transformers

    kinds = {
        "dense-tanh-out": transformers.AutoModelForSequenceClassification,
        "token": transformers.AutoModelForTokenClassification,
        "linear": transformers.AutoModel,
    }
    if head == "linear" and not options:
        options = {"add_pooling_layer": False}
    model, told = kinds[head].from_pretrained(folder, output_loading_info=True, **options)
    assert not any(told.values()), told
    inputs = {"input_ids": torch.from_numpy(IDS), "attention_mask": torch.from_numpy(MASK)}
    with torch.no_grad():
        found = model.eval()(**inputs)
    if head == "linear":
        return found.last_hidden_state.numpy()[MASK > 0]
    logits = found.logits.numpy()
    return logits[MASK > 0] if head == "token" else logits


def ours(folder, head):
    loaded = checkpoints.load(folder, head=head, labels=tiny.LABELS, seed=0)
    model = xlmr.XlmrModel(loaded.config, head, len(tiny.LABELS))
    rows = IDS.astype(np.int32), MASK.sum(axis=1).astype(np.int32)
    function = xlmr.logits
    if head == "linear":

        def function(*arguments):
            return xlmr.hidden_states(*arguments)[-1]

    found = np.asarray(jax.jit(function, static_argnums=0)(model, loaded.params, *rows))
    return found[MASK > 0] if found.ndim == 3 else found


@pytest.mark.parametrize("head", ["dense-tanh-out", "token", "linear"])
def test_the_free_form_loads_where_its_code_is_trusted(world, tmp_path, head):
    source = empties.write(world, tmp_path / "export", head)
    shrink(source, tmp_path / "out", "free")
    found = theirs(tmp_path / "out", head, trust_remote_code=True)
    np.testing.assert_allclose(found, theirs(source, head), atol=1e-5, rtol=0)
    np.testing.assert_allclose(found, ours(tmp_path / "out", head), atol=1e-5, rtol=0)


@pytest.mark.parametrize("head", ["dense-tanh-out", "token"])
def test_the_stock_form_loads_as_ever(world, tmp_path, head):
    source = empties.write(world, tmp_path / "export", head, heads=False)
    shrink(source, tmp_path / "out")
    found = theirs(tmp_path / "out", head)
    np.testing.assert_allclose(found, theirs(source, head), atol=1e-5, rtol=0)
    np.testing.assert_allclose(found, ours(tmp_path / "out", head), atol=1e-5, rtol=0)


def test_layers_may_have_lost_everything_and_the_code_trains(world, tmp_path):
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    params, config = empties.load(world)
    gone = {"heads": {0: range(4), 1: [1]}, "ffn": {0: [], 1: range(tiny.INNER)}}
    none = {"heads": {0: [], 1: []}, "ffn": {0: [], 1: []}}
    model = {"config": config, "head": "dense-tanh-out", "labels": tiny.LABELS}
    checkpoints.save(
        tmp_path / "export", empties.empty(params, gone, none), source=world.encoder, **model
    )
    out = tmp_path / "out"
    shrink(tmp_path / "export", out, "free")
    assert checkpoints.read_config(out).heads == (0, 3)
    found = theirs(out, "dense-tanh-out", trust_remote_code=True)
    np.testing.assert_allclose(found, ours(out, "dense-tanh-out"), atol=1e-5, rtol=0)
    told = AutoConfig.from_pretrained(out, trust_remote_code=True)
    assert told.id2label == dict(enumerate(tiny.LABELS))
    tokenizer = AutoTokenizer.from_pretrained(out, trust_remote_code=True)
    assert tokenizer("en1 en2")["input_ids"] == [0, 5, 6, 2]
    network = AutoModelForSequenceClassification.from_pretrained(out, trust_remote_code=True)
    ids = torch.from_numpy(IDS)
    answer = network.train()(ids, torch.from_numpy(MASK), labels=torch.tensor([0, 2]))
    answer.loss.backward()
    weights = dict(network.named_parameters())
    gradients = {name: weight.grad for name, weight in weights.items() if weight.numel()}
    unused = [name for name, gradient in gradients.items() if gradient is None]
    assert not unused
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    assert gradients["roberta.encoder.layer.1.attention.self.value.weight"].abs().max() > 0
    network.save_pretrained(tmp_path / "saved")
    again = theirs(tmp_path / "saved", "dense-tanh-out", trust_remote_code=True)
    np.testing.assert_array_equal(again, found)
