"""Exports of a tiny model, for tests to write, replace and damage."""

import functools
import json

import jax
import pytest
from tokenizers import Tokenizer, models

from alignreg_jax.models import xlmr
from alignreg_jax.run import export

CONFIG = xlmr.XlmrConfig(
    vocab_size=8,
    hidden_size=4,
    num_layers=2,
    num_heads=2,
    intermediate_size=6,
    max_positions=10,
)
LABELS = ("off", "on")


@pytest.fixture
def source(tmp_path):
    """A checkpoint folder without weights: the files that an export copies or reads."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))
    pieces = {piece: index for index, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", "a"])}
    Tokenizer(models.WordLevel(pieces, unk_token="<unk>")).save(str(folder / "tokenizer.json"))
    return folder


@functools.cache
def draw(seed):
    model = xlmr.XlmrModel(CONFIG, "dense-tanh-out", len(LABELS))
    return xlmr.init_params(model, jax.random.key(seed))


def write(folder, source, seed=0, card="# card\n"):
    params = draw(seed)
    head = {"config": CONFIG, "head": "dense-tanh-out", "labels": LABELS}
    export.write_export(folder, params=params, source=source, card=card, **head)
    return params
