import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from demo_cases import pieces_digest, sentences
from parity_cases import REFERENCE
from tokenizers import Tokenizer

from alignreg_jax.models import checkpoints, xlmr

FOLDER = checkpoints.resolve("demo")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE / "demo.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def loaded():
    return checkpoints.load(
        FOLDER, head="dense-tanh-out", labels=[str(row) for row in range(23)], seed=0
    )


def test_every_bundled_text_has_the_original_pieces(tokenizer, reference):
    assert pieces_digest(tokenizer) == str(reference["pieces_digest"])


def test_special_pieces_keep_their_ids(tokenizer):
    assert [tokenizer.id_to_token(index) for index in range(4)] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert tokenizer.id_to_token(tokenizer.get_vocab_size() - 1) == "<mask>"
    pair = tokenizer.encode("turn on", "the light").tokens
    assert (pair[0], pair[-1], pair.count("</s>")) == ("<s>", "</s>", 3)


def test_embeddings_equal_the_untrimmed_model_in_torch(tokenizer, reference, loaded):
    encodings = [tokenizer.encode(sentence).ids for sentence in sentences()]
    lengths = np.array([len(ids) for ids in encodings], np.int32)
    ids = np.ones((len(encodings), lengths.max()), np.int32)
    for row, pieces in enumerate(encodings):
        ids[row, : len(pieces)] = pieces
    model = xlmr.XlmrModel(loaded.config, "dense-tanh-out", 23)
    last = jax.jit(lambda *arguments: xlmr.hidden_states(model, *arguments)[-1])
    hidden = np.asarray(last(loaded.params, jnp.asarray(ids), lengths))
    valid = ids != 1
    means = (hidden * valid[..., None]).sum(axis=1) / lengths[:, None]
    np.testing.assert_allclose(means, reference["embeddings"], rtol=0, atol=1e-5)


def test_shape_and_zeros(loaded):
    config = loaded.config
    assert (config.num_layers, config.hidden_size, config.num_heads) == (12, 384, 12)
    assert (config.max_positions, config.type_vocab_size, config.layer_norm_eps) == (514, 1, 1e-12)
    kernels = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(loaded.params["encoder"])
        if leaf.ndim == 3
    ]
    total = sum(kernel.size for kernel in kernels)
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    assert total == 21_233_664
    assert zeros / total == pytest.approx(0.1449, abs=1e-4)  # what 4 bits leave


def test_size_and_licence():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 16_000_000
    assert "MIT License" in (FOLDER / "LICENSE").read_text()
    assert json.loads((FOLDER / "tokenizer_config.json").read_text())["tokenizer_class"] == (
        "PreTrainedTokenizerFast"
    )
