"""The settings of a step: numbers that are traced, leaves that are frozen or anchored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import on_eight
from training_cases import (
    BATCH,
    CONFIG,
    HYPER,
    LENGTH,
    QUIET,
    batches,
    make_trainer,
    method,
    model,
    params,
    prune,
    rows,
    state_of,
    train,
    worst_error,
)

from alignreg_jax.models import xlmr
from alignreg_jax.pruning import regularizers
from alignreg_jax.pruning.kernels import KERNELS, kernel_path, split
from alignreg_jax.training import forward
from alignreg_jax.training.optimizers import decays
from alignreg_jax.training.state import flatten

# ---- Hyper-parameters and frozen leaves ---------------------------------------------------------


@pytest.mark.exact
def test_regularizer_of_weight_0_is_none():
    plain = make_trainer(clip=True)
    weightless = make_trainer(
        method_=method(regularizer="cosine"), hyper={"regularizer_weight": 0.0}, clip=True
    )
    ours, theirs = train(weightless, batches(0, 5)), train(plain, batches(0, 5))
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-7)
    assert (ours["penalty"] == 0).all()
    assert ours["regularizer"][0] == pytest.approx(-1, abs=1e-5)  # logged all the same
    assert "regularizer" not in theirs
    for found, expected in zip(state_of(weightless), state_of(plain), strict=True):
        assert worst_error(found, expected) < 1e-5


@pytest.mark.parametrize("name", ["cosine", "frobenius"])
def test_penalty_and_cross_entropy_are_logged_apart(name):
    trainer = make_trainer(
        method_=method(regularizer=name), hyper={"regularizer_weight": 0.25}, clip=True
    )
    metrics = train(trainer, batches(0, 2))
    np.testing.assert_allclose(
        metrics["loss"], metrics["task_loss"] + metrics["penalty"], rtol=1e-6
    )
    np.testing.assert_allclose(metrics["penalty"], 0.25 * metrics["regularizer"], rtol=1e-6)
    start = jax.tree.map(jnp.asarray, split(params())[0])
    distances = {"cosine": regularizers.cosine(start, start), "frobenius": 0.0}
    np.testing.assert_allclose(metrics["regularizer"][0], distances[name], rtol=1e-5, atol=1e-6)
    assert metrics["penalty"][1] != metrics["penalty"][0]


def test_decay_alone_shrinks_matrices_only():
    """At a gradient of 0 (epsilon keeps 0 / 0 away) only the decay moves a leaf."""
    trainer = make_trainer(hyper={"weight_decay": 0.5, "learning_rate": 0.1}, clip=True)
    train(trainer, np.full((1, BATCH), -1, np.int32))  # padding rows only
    found, _, _ = state_of(trainer)
    for path, leaf in flatten(params()).items():
        expected = leaf * np.float32(1 - 0.1 * 0.5) if decays(path) else leaf
        np.testing.assert_allclose(found[path], expected, rtol=1e-6, err_msg=path)


@pytest.fixture(scope="module")
def frozen():
    """A run with frozen leaves, one of them a kernel, whose rate warms up and falls."""
    trainer = make_trainer(
        freeze=("embeddings", "encoder/output"),
        hyper={"warmup_steps": 2.0},
        total_steps=6,
        schedule="linear",
    )
    masks = prune(trainer, 0.5)
    rates = [train(trainer, batches(0, steps))["learning_rate"] for steps in (4, 2)]
    return masks, np.concatenate(rates), state_of(trainer)


def test_learning_rate_is_that_of_the_step(frozen):
    expected = 1e-3 * np.array([1 / 2, 1, 1, 3 / 4, 2 / 4, 1 / 4])
    np.testing.assert_allclose(frozen[1], expected, rtol=1e-6)


def test_frozen_leaves_stay_bit_for_bit_and_have_no_moments(frozen):
    """A frozen kernel is cut like any other, and then stays as it is."""
    masks, _, (found, first, second) = frozen
    for path, leaf in flatten(params()).items():
        is_frozen = path.startswith(("embeddings/", "encoder/output/"))
        assert (path in first) == (path in second) == (not is_frozen)
        expected = np.where(masks["output"], leaf, 0) if path == kernel_path("output") else leaf
        assert np.array_equal(found[path], expected) == is_frozen, path


def test_every_step_drops_other_elements():
    """The same batch at a rate of 0: dropout is all that can differ."""
    trainer = make_trainer(clip=True, hyper={"learning_rate": 0.0})
    losses = train(trainer, np.concatenate([batches(0, 1)] * 4))["loss"].tolist()
    assert len(set(losses)) == 4


def test_seeds_differ_and_repeat():
    losses = [
        train(make_trainer(seed=seed, clip=True), batches(0, 2))["loss"].tolist()
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


# ---- Anchored parameters ------------------------------------------------------------------------


def test_l2sp_pulls_all_that_is_pretrained_and_trained():
    """Two steps at weight 0 and at 0.3 from one state: the difference is the pull, leaf by leaf."""
    trainer = make_trainer(
        QUIET, method_=method(regularizer="l2sp"), freeze=("embeddings",), hyper={"weight_decay": 0}
    )
    trainer.set_clock(1.0, regularizer_weight=0.0)
    train(trainer, batches(0, 3))
    moved, first, _ = state_of(trainer)
    start = flatten(params())
    found = {}
    kept = jax.tree.map(lambda leaf: leaf.copy(), trainer.state)
    for weight in (0.0, 0.3):
        trainer.restore([jax.tree.map(lambda leaf: leaf.copy(), kept)], 3)
        trainer.set_clock(1.0, regularizer_weight=weight)
        metrics = train(trainer, batches(3, 1))
        found[weight] = state_of(trainer)[1]
    pretrained = [path for path in first if not path.startswith("head/")]
    distance = sum(np.sum((moved[p] - start[p]).astype(np.float64) ** 2) for p in pretrained)
    np.testing.assert_allclose(metrics["regularizer"], distance, rtol=1e-5)
    assert len(pretrained) > 10
    for path in first:
        pull = (found[0.3][path] - found[0.0][path]) / 0.1
        expected = 2 * 0.3 * (moved[path] - start[path])
        if path.startswith("head/"):
            expected = np.zeros_like(expected)
        np.testing.assert_allclose(pull, expected, rtol=1e-3, atol=1e-6, err_msg=path)


def test_l2sp_of_the_kernels_alone_trains_as_frobenius_to_the_bit():
    """With everything frozen but the kernels and the head: trained, cut, trained again."""
    head = tuple(path for path in flatten(params()) if not path.startswith("head/"))
    freeze = tuple(path for path in head if path not in {kernel_path(name) for name in KERNELS})
    found = {}
    for name in ("l2sp", "frobenius"):
        trainer = make_trainer(
            method_=method(regularizer=name), freeze=freeze, hyper={"regularizer_weight": 0.3}
        )
        penalties = train(trainer, batches(0, 3))["penalty"]
        prune(trainer, 0.4)
        penalties = np.concatenate([penalties, train(trainer, batches(3, 3))["penalty"]])
        found[name] = penalties, state_of(trainer)
    jax.tree.map(np.testing.assert_array_equal, found["l2sp"], found["frobenius"])
    assert (found["l2sp"][0][1:] > 0).all()


def test_only_l2sp_keeps_a_copy_of_the_rest():
    assert make_trainer(method_=method(regularizer="frobenius"))._anchors == {}
    anchors = make_trainer(method_=method(regularizer="l2sp"))._anchors
    assert "embeddings/word/embedding" in anchors
    assert not any(path.startswith("head/") or path == kernel_path("output") for path in anchors)
    assert HYPER["regularizer_weight"] > 0


# ---- Prediction ---------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [(1, 1, 1), on_eight((2, 2, 2))])
def test_predictions_are_the_classes_of_the_rows(layout):
    trainer = make_trainer(layout=layout)
    predict = forward.make_predict(model(), trainer.mesh)
    chosen = np.full((3, BATCH), -1, np.int32)
    chosen[:2] = batches(0, 2)
    chosen[1, 5:] = -1
    start = np.full(rows().rows + 1, 77, np.int32)
    found, done = predict(
        *trainer.place((start,)),
        trainer.serve(trainer.state),
        trainer.data,
        *trainer.place((chosen, np.int32(2))),
        length=LENGTH,
    )
    batch = trainer.data.batch(jnp.arange(13), LENGTH, CONFIG.pad_token_id)
    ids, lengths = (jnp.asarray(np.asarray(part)) for part in (batch.ids, batch.lengths))
    logits = xlmr.logits(model(), jax.tree.map(jnp.asarray, params()), ids, lengths)
    np.testing.assert_array_equal(np.asarray(found)[:13], np.argmax(logits, 1))
    assert (np.asarray(found)[13:-1] == 77).all()
    assert int(done) == 2
