"""Token tasks: labels on pieces, a loss that is the mean over labelled pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_cases import (
    BATCH,
    CONFIG,
    LENGTH,
    QUIET,
    batches,
    first_gradients,
    make_trainer,
    method,
    model,
    params,
    sentences,
    train,
    worst_error,
)

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.models import xlmr
from alignreg_jax.training.state import DeviceData, flatten

PARTIAL = np.array([[40, 41, 42, -1, -1, -1, -1, -1]], np.int32)


def token_trainer(config=QUIET, **options):
    return make_trainer(config, head="token", train_rows=sentences(), **options)


def padded(numbers):
    """Ids and labels of the rows, padded by hand; -1 is no label."""
    encoded = sentences()
    ids = np.full((len(numbers), LENGTH), CONFIG.pad_token_id, np.int32)
    labels = np.full((len(numbers), LENGTH), -1, np.int32)
    for position, row in enumerate(numbers):
        size, start = encoded.lengths[row], encoded.offsets[row]
        ids[position, :size] = encoded.ids[start : start + size]
        labels[position, :size] = encoded.labels[start : start + size]
    return ids, labels


def test_batch_holds_labels_where_words_begin():
    data = jax.tree.map(jnp.asarray, DeviceData.from_encoded(sentences()))
    chosen = [3, 47, 0, 3]
    ids, lengths, labels, weights, _ = jax.jit(DeviceData.batch, static_argnums=(2, 3))(
        data, jnp.array([*chosen, -1]), LENGTH, CONFIG.pad_token_id
    )
    expected_ids, expected = padded(chosen)
    np.testing.assert_array_equal(ids[:4], expected_ids)
    np.testing.assert_array_equal(weights[:4], expected >= 0)
    np.testing.assert_array_equal(np.where(weights[:4] > 0, labels[:4], -1), expected)
    np.testing.assert_array_equal(lengths, [*sentences().lengths[chosen], 0])
    assert (np.asarray(labels) >= 0).all()  # a class everywhere, so that every loss is finite
    assert (np.asarray(ids[4]) == CONFIG.pad_token_id).all()
    assert (np.asarray(weights[4]) == 0).all()


def test_places_are_those_of_the_pieces():
    data = jax.tree.map(jnp.asarray, DeviceData.from_encoded(sentences()))
    places = np.asarray(data.places(jnp.array([5, -1, 2]), LENGTH))
    for row, found in zip((5, None, 2), places, strict=True):
        size = 0 if row is None else sentences().lengths[row]
        start = 0 if row is None else sentences().offsets[row]
        assert found[:size].tolist() == list(range(start, start + size))
        assert (found[size:] == -1).all()


@pytest.mark.parametrize("rows", [PARTIAL, batches(1, 1)], ids=["partial", "whole"])
def test_first_gradient_is_that_of_the_mean_over_labelled_pieces(rows):
    trainer = token_trainer()
    start = jax.device_get(trainer.state.params)
    metrics = train(trainer, rows)
    present = rows[0][rows[0] >= 0]
    ids, labels = padded(present)

    def loss(tree):
        lengths = jnp.asarray(sentences().lengths[present])
        logits = xlmr.logits(model(QUIET, "token"), tree, jnp.asarray(ids), lengths)
        chosen = jnp.maximum(jnp.asarray(labels), 0)[..., None]
        found = -jnp.take_along_axis(jax.nn.log_softmax(logits), chosen, axis=-1)[..., 0]
        return jnp.sum(jnp.where(labels >= 0, found, 0)) / np.sum(labels >= 0)

    value, gradients = jax.jit(jax.value_and_grad(loss))(start)
    np.testing.assert_allclose(metrics["task_loss"][0], value, rtol=1e-6)
    assert metrics["examples"][0] == len(present)  # rows, as everywhere
    assert worst_error(first_gradients(trainer), flatten(gradients)) < 1e-5


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_changes_nothing(parts):
    """Microbatches hold unequal numbers of words, so a mean of their means would differ."""
    whole, split = token_trainer(), token_trainer(accumulation=parts)
    one, other = train(whole, batches(0, 1)), train(split, batches(0, 1))
    np.testing.assert_allclose(one["task_loss"], other["task_loss"], rtol=1e-6)
    assert worst_error(first_gradients(split), first_gradients(whole)) < 1e-5


@pytest.mark.parametrize("layout", [(8, 1, 1), (2, 2, 2)], ids=["data", "mixed"])
@pytest.mark.sharded
def test_losses_of_five_steps_equal_one_device(layout):
    one = train(token_trainer(CONFIG), batches(0, 5))
    many = train(token_trainer(CONFIG, layout=layout), batches(0, 5))
    np.testing.assert_allclose(many["loss"], one["loss"], rtol=1e-6)
    assert np.ptp(one["loss"]) > 1e-3


def test_gradient_signals_are_of_the_mean_over_labelled_pieces():
    trainer = token_trainer(method_=method(criterion="gradient"))
    found = jax.device_get(trainer.gradients([Dispatch(LENGTH, batches(0, 1))]))["grad"]
    plain = token_trainer()
    train(plain, batches(0, 1))
    expected = first_gradients(plain)
    for name, leaf in found.items():
        theirs = expected[f"encoder/{name}/kernel"]
        assert np.abs(leaf - theirs).max() < 1e-5 * max(np.abs(theirs).max(), 1e-6)


def test_a_batch_without_a_label_moves_nothing_by_its_loss():
    """Words without a piece can leave a sentence without any label."""
    bare = sentences()
    bare = type(bare)(
        bare.ids, bare.offsets, bare.lengths, np.full_like(bare.labels, -1), bare.words, 0
    )
    trainer = make_trainer(QUIET, head="token", train_rows=bare)
    metrics = train(trainer, batches(0, 1))
    assert metrics["task_loss"][0] == 0
    assert metrics["examples"][0] == BATCH
    assert all((leaf == 0).all() for leaf in first_gradients(trainer).values())


def test_token_head_is_one_linear_layer():
    assert set(params("token")["head"]) == {"out"}
