"""Steps whose rows train at sizes of their own: the loss, microbatches, seeds, meshes, resuming."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_cases import (
    BATCH,
    CONFIG,
    LABELS,
    LENGTH,
    QUIET,
    batches,
    first_gradients,
    make_trainer,
    model,
    moments,
    params,
    rows,
    state_of,
    train,
    worst_error,
)

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.models import xlmr
from alignreg_jax.pruning import elastic
from alignreg_jax.pruning.method import Method
from alignreg_jax.training import losses
from alignreg_jax.training.in_flight import fetch
from alignreg_jax.training.losses import Teacher
from alignreg_jax.training.state import flatten

SMALLEST = 0.25
DRAW = np.random.default_rng(7).random
TAU = elastic.thresholds(
    {"heads": DRAW((2, CONFIG.num_heads)), "ffn": DRAW((2, CONFIG.intermediate_size))},
    {"heads": 1024, "ffn": 64},
    "free",
)


def sizes(state, hyper, key, rows):
    return state["tau"], elastic.row_sizes(key, rows, SMALLEST)


PLAIN = Method(init=lambda kernels, key: {"tau": jax.tree.map(jnp.asarray, dict(TAU))})
METHOD = replace(PLAIN, name="elastic", sizes=sizes)


def elastic_trainer(config=QUIET, **options):
    return make_trainer(config, method_=METHOD, **options)


def padded(chosen):
    """Rows as arrays, made by hand."""
    encoded = rows()
    ids = np.full((len(chosen), LENGTH), 1, np.int32)
    for row, index in zip(ids, chosen, strict=True):
        start, size = encoded.offsets[index], encoded.lengths[index]
        row[:size] = encoded.ids[start : start + size]
    return jnp.asarray(ids), jnp.asarray(encoded.lengths[chosen]), encoded.labels[chosen]


def drawn(seed=0, step=0):
    """The sizes of a step, from its key."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return elastic.row_sizes(jax.random.fold_in(key, 2), BATCH, SMALLEST)


@pytest.fixture(scope="module")
def whole():
    """One full batch in one piece: metrics and gradients."""
    trainer = elastic_trainer()
    return train(trainer, batches(0, 1)), first_gradients(trainer)


def test_every_row_trains_at_its_own_size(whole):
    ids, lengths, labels = padded(np.arange(BATCH))

    def loss(tree):
        logits = xlmr.logits(model(QUIET), tree, ids, lengths, None, (TAU, drawn()))
        return jnp.mean(losses.cross_entropy(logits, jnp.asarray(labels)))

    value, gradients = jax.jit(jax.value_and_grad(loss))(params())
    metrics, found = whole
    np.testing.assert_allclose(metrics["task_loss"], value, rtol=1e-6)
    assert worst_error(found, flatten(jax.device_get(gradients))) < 1e-5
    plain = train(make_trainer(QUIET, method_=PLAIN), batches(0, 1))
    assert abs(plain["task_loss"] - value) > 1e-3


def test_a_row_keeps_its_size_in_a_microbatch(whole):
    trainer = elastic_trainer(accumulation=4)
    metrics = train(trainer, batches(0, 1))
    np.testing.assert_allclose(metrics["task_loss"], whole[0]["task_loss"], rtol=1e-6)
    assert worst_error(first_gradients(trainer), whole[1]) < 1e-5


def test_what_a_teacher_says_is_compared_at_the_rows_sizes():
    """Logits and hidden states of the student are those of its sizes."""
    said = np.random.default_rng(3).normal(size=(len(rows().lengths), LABELS)).astype(np.float32)
    trainer = elastic_trainer(hyper={"distill_weight": 0.5}, hidden_layers=(1, 2))
    teacher = jax.tree.map(jnp.copy, trainer.state.params)
    trainer.teach([Teacher(jnp.asarray(said), teacher)])
    metrics = train(trainer, batches(0, 1))
    ids, lengths, _ = padded(np.arange(BATCH))

    @jax.jit
    def parts(tree):
        given = model(QUIET), tree, ids, lengths
        logits, states = xlmr.logits_and_states(*given, elastic=(TAU, drawn()))
        apart = losses.divergence(logits, jnp.asarray(said[:BATCH]), 1.0)
        theirs = xlmr.hidden_states(*given)
        hidden = losses.hidden_distance(states, theirs, lengths, (1, 2))
        return jnp.mean(apart), hidden / jnp.sum(lengths)

    expected, hidden = parts(params())
    np.testing.assert_allclose(metrics["teacher_loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["hidden_loss"], hidden, rtol=1e-5)
    assert hidden > 1e-3  # the teacher is the student at full size


def test_seeds_side_by_side_draw_other_sizes_and_are_what_they_are_alone():
    """Without dropout, on the same rows, nothing else tells them apart."""

    def told(seeds):
        trainer = elastic_trainer(seeds=seeds)
        trainer.dispatch(*[Dispatch(LENGTH, batches(0, 3))] * len(seeds))
        losses = [metrics["task_loss"] for metrics in fetch(trainer.drain())]
        members = (trainer.member(index)[0] for index in range(len(seeds)))
        return losses, [moments(jax.device_get(member))[0] for member in members]

    together, states = told((4, 9))
    assert abs(together[0] - together[1]) > 1e-4
    for seed, loss, state in zip((4, 9), together, states, strict=True):
        alone, (expected,) = told((seed,))
        assert loss == pytest.approx(alone[0], rel=2e-5)
        assert worst_error(state, expected) < 1e-4


@pytest.mark.sharded
def test_a_mesh_changes_nothing(whole):
    trainer = elastic_trainer(layout=(2, 2, 2))
    metrics = train(trainer, batches(0, 1))
    np.testing.assert_allclose(metrics["task_loss"], whole[0]["task_loss"], rtol=1e-5)
    assert worst_error(first_gradients(trainer), whole[1]) < 1e-4


def test_a_run_that_goes_on_draws_the_sizes_that_it_would_have():
    straight, first, second = (elastic_trainer(CONFIG) for _ in range(3))
    train(straight, batches(0, 4))
    train(first, batches(0, 2))
    second.restore([first.snapshot(0)[0]], 2)
    train(second, batches(2, 2))
    for expected, found in zip(state_of(straight), state_of(second), strict=True):
        for path, leaf in expected.items():
            np.testing.assert_array_equal(found[path], leaf, err_msg=path)
