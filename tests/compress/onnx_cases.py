"""Models, rows and answers that tests of ONNX graphs share."""

import empties
import jax
import numpy as np
import pytest
import tiny

from alignreg_jax.compress.agreement import Network
from alignreg_jax.compress.onnx import graph, sessions
from alignreg_jax.compress.onnx.products import Form
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.models import xlmr

HEADS = ("dense-tanh-out", "linear", "token", "label-words")
PLAIN = Form()
random = np.random.default_rng(0)
ROWS = [
    np.concatenate([[0], random.integers(3, 60, length), [2]]).astype(np.int32)
    for length in (1, 3, 30, 12, 7)
]


@pytest.fixture(scope="module")
def network(world, tmp_path_factory):
    """Head -> a model with it."""
    with_words = tiny.with_lm_head(world, tmp_path_factory.mktemp("words") / "encoder")
    made = {}
    for head in HEADS:
        words = {"source": with_words, "words": ("en1", "en2", "en3")}
        params, config = empties.load(world, head, **(words if head == "label-words" else {}))
        made[head] = Network(params, config, head)
    return made


def expected(network, rows=ROWS):
    """Logits of the JAX model of rows one by one, of words one after the other."""
    model = xlmr.XlmrModel(network.config, network.head, len(tiny.LABELS))
    width = max(map(len, rows))
    ids = np.full((len(rows), width), 1, np.int32)
    lengths = np.array(list(map(len, rows)), np.int32)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    found = np.asarray(jax.jit(xlmr.logits, static_argnums=0)(model, network.params, ids, lengths))
    return found if found.ndim == 2 else found[np.arange(width) < lengths[:, None]]


def run(path, rows=ROWS, **options):
    session = sessions.session(path, **options)
    inputs = sessions.feed(rows, pad=1)
    (found,) = session.run(None, inputs)
    return found if found.ndim == 2 else found[inputs["attention_mask"] == 1]


def written(folder, network, form=PLAIN):
    graph.write(folder / "model.onnx", network, form)
    return folder / "model.onnx"


def encoded(rows=ROWS):
    lengths = np.array(list(map(len, rows)), np.int32)
    offsets = (np.cumsum(lengths) - lengths).astype(np.int32)
    return Encoded(np.concatenate(rows), offsets, lengths, np.zeros(len(rows), np.int32))
