from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_cases import (
    BATCH,
    LABELS,
    LENGTH,
    QUIET,
    batches,
    first_gradients,
    make_trainer,
    method,
    model,
    params,
    prune,
    pruned_entries,
    rows,
    state_of,
    train,
    worst_error,
)

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.models import xlmr
from alignreg_jax.pruning.kernels import KERNELS, kernel_path, split
from alignreg_jax.pruning.method import Weights
from alignreg_jax.training import losses, programs
from alignreg_jax.training.state import flatten

PARTIAL = np.array([[40, 41, 42, -1, -1, -1, -1, -1]], np.int32)


# ---- The loss -----------------------------------------------------------------------------------


def test_task_loss_is_cross_entropy():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 10, (64, LABELS)).astype(np.float32)
    labels = generator.integers(0, LABELS, 64).astype(np.int32)
    exact = logits.astype(np.float64)
    expected = np.log(np.exp(exact).sum(1)) - exact[np.arange(64), labels]
    found = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_task_loss_of_huge_logits_is_finite():
    found = losses.cross_entropy(jnp.array([[1e4, -1e4], [1e4, -1e4]]), jnp.array([0, 1]))
    np.testing.assert_allclose(found, [0, 2e4])


def test_first_gradient_is_that_of_a_plain_composition():
    """Loss and gradient against an unmasked mean over examples padded here, by hand."""
    weight = 0.3
    trainer = make_trainer(
        QUIET, method_=method(regularizer="frobenius"), hyper={"regularizer_weight": weight}
    )
    reference = jax.tree.map(lambda leaf: jnp.asarray(leaf) * 0.9, split(params())[0])
    trainer.reference = reference
    metrics = train(trainer, PARTIAL)

    encoded, chosen = rows(), PARTIAL[0, :3]
    lengths = jnp.asarray(encoded.lengths[chosen])
    ids = np.full((3, LENGTH), 1, np.int32)
    for row, index in zip(ids, chosen, strict=True):
        start, size = encoded.offsets[index], encoded.lengths[index]
        row[:size] = encoded.ids[start : start + size]

    def loss(tree):
        scores = jax.nn.log_softmax(xlmr.logits(model(QUIET), tree, jnp.asarray(ids), lengths))
        task = -jnp.mean(scores[jnp.arange(3), encoded.labels[chosen]])
        kernels, _ = split(tree)
        penalty = sum(jnp.sum((kernels[name] - reference[name]) ** 2) for name in KERNELS)
        return task + weight * penalty, (task, weight * penalty)

    (total, (task, penalty)), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params())
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-6)
    np.testing.assert_allclose(metrics["task_loss"], task, rtol=1e-6)
    np.testing.assert_allclose(metrics["penalty"], penalty, rtol=1e-6)
    assert task > 0.1
    assert penalty > 0.1
    assert metrics["examples"] == [3]
    flat = flatten(jax.device_get(gradients))
    assert worst_error(first_gradients(trainer), flat) < 1e-5
    norm = np.sqrt(sum(np.sum(leaf.astype(np.float64) ** 2) for leaf in flat.values()))
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)


# ---- Padding and accumulation -------------------------------------------------------------------


@pytest.fixture(scope="module")
def accumulated():
    """A full and a partial batch, in 1, 2 and 4 microbatches."""
    found = {}
    for parts in (1, 2, 4):
        trainer = make_trainer(QUIET, method_=method(regularizer="frobenius"), accumulation=parts)
        first = train(trainer, batches(0, 1))
        gradients = first_gradients(trainer)
        found[parts] = (first, gradients, train(trainer, PARTIAL), state_of(trainer))
    return found


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_changes_nothing(accumulated, parts):
    first, gradients, partial, (_, first_moments, _) = accumulated[parts]
    expected = accumulated[1]
    for name in first:
        np.testing.assert_allclose(first[name], expected[0][name], rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(partial[name], expected[2][name], rtol=1e-5, err_msg=name)
    assert worst_error(gradients, expected[1]) < 1e-5
    assert worst_error(first_moments, expected[3][1]) < 1e-4
    assert partial["examples"] == [3]


def test_place_of_padding_rows_does_not_matter(accumulated):
    """The same three rows among padding rows, elsewhere in the batch and in the microbatches."""
    trainer = make_trainer(QUIET, method_=method(regularizer="frobenius"), accumulation=2)
    train(trainer, batches(0, 1))
    metrics = train(trainer, np.array([[-1, 42, -1, -1, 40, -1, 41, -1]], np.int32))
    np.testing.assert_allclose(metrics["loss"], accumulated[1][2]["loss"], rtol=1e-6)
    assert worst_error(state_of(trainer)[1], accumulated[1][3][1]) < 1e-4


def test_microbatches_drop_different_elements():
    """Eight times the same row in two microbatches: as two equal ones the sum would be even."""
    same = np.zeros((1, BATCH), np.int32)
    whole, parts = (train(make_trainer(accumulation=n, clip=True), same) for n in (1, 2))
    half = np.array([[0, -1] * (BATCH // 2)], np.int32)  # the first microbatch alone
    alone = train(make_trainer(accumulation=2, clip=True), half)
    losses = {metrics["task_loss"].item() for metrics in (whole, parts, alone)}
    assert len(losses) == 3


# ---- Pruning ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pruned():
    """Trained, cut to a third, trained again; host copies at every stage."""
    trainer = make_trainer(method_=method(regularizer="frobenius"), clip=True)
    train(trainer, batches(0, 3))
    before = state_of(trainer)
    masks = prune(trainer, 1 / 3)
    after = state_of(trainer)
    metrics = train(trainer, batches(0, 5))
    return {
        "masks": masks,
        "before": before,
        "after": after,
        "trained": state_of(trainer),
        "served": flatten(jax.device_get(trainer.serve(trainer.state))),
        "metrics": metrics,
    }


def test_pruned_weights_and_moments_are_zero_after_five_steps(pruned):
    for stage in ("after", "trained"):
        for tree in pruned[stage]:
            assert not pruned_entries(tree, pruned["masks"]).any()
    for tree in pruned["before"]:  # there was something to forget
        assert np.mean(pruned_entries(tree, pruned["masks"]) != 0) > 0.9
    assert not pruned_entries(pruned["served"], pruned["masks"]).any()


def test_masks_hold_whatever_the_moments_say():
    """Momentum left over would move a pruned weight on a gradient of zero."""
    trainer = make_trainer(method_=method(regularizer="frobenius"), clip=True)
    masks = prune(trainer, 1 / 3)
    weights = trainer.state.optimizer["weights"]
    weights = weights._replace(mu=jax.tree.map(lambda leaf: leaf + 1, weights.mu))
    trainer.state = trainer.state.replace(optimizer={"weights": weights})
    train(trainer, batches(0, 1))
    assert not pruned_entries(state_of(trainer)[0], masks).any()


def test_pruning_touches_nothing_that_survives(pruned):
    for before, after in zip(pruned["before"], pruned["after"], strict=True):
        for path, leaf in before.items():
            name = path.removeprefix("encoder/").removesuffix("/kernel")
            kept = pruned["masks"].get(name, np.True_)
            np.testing.assert_array_equal(after[path], np.where(kept, leaf, 0), err_msg=path)


def test_survivors_go_on_learning(pruned):
    for name in KERNELS:
        path, mask = kernel_path(name), pruned["masks"][name]
        moved = pruned["trained"][0][path] != pruned["after"][0][path]
        assert moved[mask].mean() > 0.99


def test_norm_and_clipping_leave_pruned_weights_out():
    """One step from a pruned state: the norm is over survivors, and clips them to one."""
    found = {}
    for largest in (1e9, 0.05):
        trainer = make_trainer(QUIET, clip=True, hyper={"max_grad_norm": largest})
        masks = prune(trainer, 0.1)
        found[largest] = train(trainer, batches(0, 1)), first_gradients(trainer)
    metrics, raw = found[1e9]
    assert not pruned_entries(raw, masks).any()
    norm = np.sqrt(sum(np.sum(leaf.astype(np.float64) ** 2) for leaf in raw.values()))
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)
    assert norm > 0.1
    metrics, clipped = found[0.05]
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)  # as it was before clipping
    for path, leaf in raw.items():
        scale = 0.05 / (norm + 1e-6)  # torch.nn.utils.clip_grad_norm_
        np.testing.assert_allclose(clipped[path], leaf * scale, rtol=1e-5, atol=1e-8)


# ---- Dispatches ---------------------------------------------------------------------------------


def test_one_dispatch_equals_many():
    together, apart = make_trainer(clip=True), make_trainer(clip=True)
    metrics = train(together, batches(0, 4))
    alone = [train(apart, batches(index, 1)) for index in range(4)]
    for name, values in metrics.items():
        np.testing.assert_array_equal(values, np.concatenate([one[name] for one in alone]), name)
    for found, expected in zip(state_of(together), state_of(apart), strict=True):
        jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert int(together.state.step) == int(apart.state.step) == 4
    assert len(set(metrics["loss"])) == 4


def test_a_loop_of_known_length_takes_the_same_steps():
    """Of a whole dispatch, by a program of its own; a short one has the other."""
    programs.forget()
    known, plain = make_trainer(clip=True, static_loop=True), make_trainer(clip=True)
    for first, steps in ((0, 5), (5, 2)):
        dispatched = [train(trainer, batches(first, steps)) for trainer in (known, plain)]
        for name, found in dispatched[0].items():
            np.testing.assert_allclose(found, dispatched[1][name], rtol=1e-6, err_msg=name)
    assert known._train._cache_size() == 2
    # XLA says of a loop how often it turns, if it is known
    assert [counted(trainer) for trainer in (known, plain)] == [True, False]
    for found, expected in zip(state_of(known), state_of(plain), strict=True):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-8), found, expected)


def counted(trainer):
    """Whether the loop of a whole dispatch is one whose length is known: a scan."""
    whole = partial(trainer._train, length=LENGTH, whole=trainer._static_loop)
    program = jax.make_jaxpr(whole)(
        trainer.state,
        Weights(trainer.reference, {}),
        trainer.data,
        None,
        *trainer._batches([Dispatch(LENGTH, batches(0, 5))]),
        trainer._traced_hyper,
        replace(trainer._clock, marks=trainer._unmarked),
    )
    (call,) = program.eqns
    return "while" not in {each.primitive.name for each in call.params["jaxpr"].eqns}


def test_numbers_of_a_sweep_compile_once():
    """Three weights, two rates, other counts of steps: one program for each length."""
    programs.forget()
    trainer = make_trainer(method_=method(regularizer="frobenius"), clip=True)
    losses = []
    for phase, weight in enumerate((0.0, 1e-3, 1.0)):
        trainer.set_clock(0.5, regularizer_weight=weight, learning_rate=1e-3 * weight)
        losses += train(trainer, batches(0, phase + 1))["loss"].tolist()
    assert trainer._train._cache_size() == 1
    prune(trainer, 0.5)
    train(trainer, batches(0, 5))
    assert trainer._train._cache_size() == 1
    prune(trainer, 0.2)
    assert trainer._prune._cache_size() == 1
    trainer.state = trainer.state.replace(key=trainer.place(jax.random.key(1)))
    train(trainer, batches(0, 1))
    assert trainer._train._cache_size() == 1
    train(trainer, batches(0, 1), length=24)
    assert trainer._train._cache_size() == 2
    assert len(set(losses)) == len(losses)


def test_old_state_is_given_up():
    """Donated; that the buffers could be used is tested by warnings being errors."""
    trainer = make_trainer(clip=True)
    old = trainer.state
    train(trainer, batches(0, 1))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((old.params, old.optimizer)))
    old = trainer.state
    prune(trainer, 0.5)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((old.params, old.optimizer)))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(trainer.reference))
