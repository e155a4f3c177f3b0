"""Padding is where a row ends: a text that contains "<pad>" has padding's id inside.

Against the network in float64, whose masks are counted from lengths.
"""

import exact
import numpy as np
import pytest
from training_cases import LABELS, QUIET, first_gradients, make_trainer, model, params, train

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.methods import build
from alignreg_jax.training import forward
from alignreg_jax.training.state import flatten

PAD, LENGTH = QUIET.pad_token_id, 10
# The empty text, "<pad>" alone, at either end of the text and again and again; the last two rows of
# the batch fill it up
TEXTS = ([], [PAD], [5, PAD, 7], [PAD, 5, 6, 9], [5, 8, PAD], [5, PAD, PAD, PAD, 9, 6, 7, 8])
CHOSEN = np.array([[0, 1, 2, 3, 4, 5, -1, -1]], np.int32)


def encoded(head):
    pieces = [[0, *text, 2] for text in TEXTS]
    lengths = np.array([len(row) for row in pieces], np.int32)
    ids, begins = np.concatenate(pieces).astype(np.int32), np.cumsum(lengths) - lengths
    generator = np.random.default_rng(0)
    if head != "token":
        labels = generator.integers(0, LABELS, len(TEXTS)).astype(np.int32)
        return Encoded(ids, begins.astype(np.int32), lengths, labels)
    special = (ids == 0) | (ids == 2)  # a word can be "<pad>", and has a label then
    labels = np.where(special, -1, generator.integers(0, LABELS, len(ids))).astype(np.int32)
    words = np.where(special, -1, np.cumsum(~special) - 1).astype(np.int32)
    return Encoded(ids, begins.astype(np.int32), lengths, labels, words, int((~special).sum()))


def padded(rows):
    """Ids, lengths and labels; a label of -1 is none."""
    ids = np.full((rows.rows, LENGTH), PAD, np.int32)
    labels = np.full(ids.shape, -1, np.int32) if rows.per_token else rows.labels
    for index, (start, size) in enumerate(zip(rows.offsets, rows.lengths, strict=True)):
        ids[index, :size] = rows.ids[start : start + size]
        if rows.per_token:
            labels[index, :size] = rows.labels[start : start + size]
    return ids, rows.lengths, labels


def assert_close(found, right, tolerance=2e-5):
    size = max(np.abs(right).max(), 1e-3)
    np.testing.assert_allclose(found, right, rtol=0, atol=tolerance * size)


@pytest.fixture(params=[("dense-tanh-out", "einsum"), ("dense-tanh-out", "xla"), ("token", "xla")])
def kind(request):
    return request.param


def trainer_of(head, attention, **options):
    return make_trainer(
        QUIET,
        head=head,
        train_rows=encoded(head),
        network={"attention": attention},
        **options,
    )


def test_the_gradient_of_training_is_that_of_whole_rows(kind):
    head, _ = kind
    trainer = trainer_of(*kind)
    train(trainer, CHOSEN, LENGTH)
    found = first_gradients(trainer)
    right = flatten(exact.gradients(QUIET, head, params(head), *padded(encoded(head))))
    # PyTorch trains no row of padding, whatever stands there (nn.Embedding's padding_idx)
    for path in ("embeddings/word/embedding", "embeddings/position/embedding"):
        assert np.abs(right[path][PAD]).max() > 1e-6
        right[path][PAD] = 0
    for path, leaf in right.items():
        assert_close(found[path], leaf)


def test_predictions_are_of_whole_rows(kind):
    head, attention = kind
    trainer = trainer_of(*kind)
    predict = forward.make_predict(model(QUIET, head, attention=attention), trainer.mesh)
    rows = encoded(head)
    start = np.full(len(rows.labels) + 1, -7, np.int32)
    found, _ = predict(
        *trainer.place((start,)),
        trainer.serve(trainer.state),
        trainer.data,
        *trainer.place((CHOSEN, np.int32(1))),
        length=LENGTH,
    )
    ids, lengths, _ = padded(rows)
    right = exact.logits(QUIET, head, params(head), ids, lengths)
    classes = np.argmax(right, axis=-1)
    if head == "token":
        classes = classes[np.arange(LENGTH) < lengths[:, None]]
    np.testing.assert_array_equal(np.asarray(found)[:-1], classes)


def test_signals_are_of_whole_rows():
    method = build(criterion="gradient", scope="layer")
    trainer = trainer_of("dense-tanh-out", "einsum", method_=method)
    found = trainer.gradients([Dispatch(LENGTH, CHOSEN)])["grad"]
    rows = padded(encoded("dense-tanh-out"))
    right = flatten(exact.gradients(QUIET, "dense-tanh-out", params(), *rows))
    for name in KERNELS:
        assert_close(found[name], right[f"encoder/{name}/kernel"])
