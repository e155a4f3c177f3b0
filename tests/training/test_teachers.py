"""Training with a teacher: the loss, rows without labels, hidden states, words, meshes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import on_eight
from scipy.special import log_softmax
from training_cases import (
    CONFIG,
    LABELS,
    LENGTH,
    QUIET,
    batches,
    make_trainer,
    method,
    model,
    params,
    rows,
    sentences,
    train,
)

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.models import xlmr
from alignreg_jax.training import losses, teaching
from alignreg_jax.training.losses import Teacher
from alignreg_jax.training.state import flatten

TAUGHT = {"distill_weight": 0.7, "distill_temperature": 2.0}


def unlabelled(encoded, every=2):
    """The same rows, every second one without a label."""
    labels = encoded.labels.copy()
    if encoded.words is None:
        labels[::every] = -2
    else:
        places = np.flatnonzero(labels >= 0)[::every]
        labels[places] = -2
    return replace(encoded, labels=labels)


def said(encoded, seed=0):
    logits = np.random.default_rng(seed).normal(size=(len(encoded.labels), LABELS))
    return logits.astype(np.float32)


def taught(encoded=None, teacher=None, config=QUIET, head="dense-tanh-out", hyper=(), **options):
    encoded = unlabelled(rows()) if encoded is None else encoded
    trainer = make_trainer(
        config, train_rows=encoded, head=head, hyper={**TAUGHT, **dict(hyper)}, **options
    )
    trainer.teach([Teacher(jnp.asarray(said(encoded)))] if teacher is None else [teacher])
    return trainer


def other_params():
    """Those of a network that is not the student."""
    random = np.random.default_rng(9)
    return jax.tree.map(
        lambda leaf: leaf + random.normal(0, 0.05, leaf.shape).astype(np.float32), params()
    )


def divergence(student, teacher, temperature):
    """KL in float64, written as the sum that it is."""
    student = log_softmax(np.float64(student) / temperature, axis=-1)
    teacher = log_softmax(np.float64(teacher) / temperature, axis=-1)
    return temperature**2 * np.sum(np.exp(teacher) * (teacher - student), axis=-1)


def logits_of(trainer, encoded, numbers):
    ids = np.full((len(numbers), LENGTH), CONFIG.pad_token_id, np.int32)
    for place, row in enumerate(numbers):
        start, size = encoded.offsets[row], encoded.lengths[row]
        ids[place, :size] = encoded.ids[start : start + size]
    lengths = jnp.asarray(encoded.lengths[numbers])
    return np.asarray(
        xlmr.logits(model(QUIET), trainer.serve(trainer.state), jnp.asarray(ids), lengths)
    )


def test_a_divergence_is_that_of_float64():
    random = np.random.default_rng(1)
    student, teacher = random.normal(0, 3, (2, 5, 4)).astype(np.float32)
    for temperature in (0.5, 1.0, 4.0):
        np.testing.assert_allclose(
            losses.divergence(jnp.asarray(student), jnp.asarray(teacher), temperature),
            divergence(student, teacher, temperature),
            rtol=2e-5, atol=1e-6,
        )  # fmt: skip
    same = losses.divergence(jnp.asarray(teacher), jnp.asarray(teacher), 2.0)
    assert np.abs(same).max() < 1e-6


def test_labels_are_a_mean_over_labels_and_the_teacher_over_all_rows():
    """Text beside the labels must not make them count less."""
    encoded, trainer = unlabelled(rows()), taught()
    numbers = batches(0, 1)[0]
    logits = logits_of(trainer, encoded, numbers)
    labels = encoded.labels[numbers]
    own = labels >= 0
    hard = -log_softmax(np.float64(logits), axis=-1)[own, labels[own]].mean()
    soft = divergence(logits, said(encoded)[numbers], 2.0).mean()
    metrics = train(trainer, batches(0, 1))
    np.testing.assert_allclose(metrics["task_loss"][0], hard, rtol=1e-5)
    np.testing.assert_allclose(metrics["teacher_loss"][0], soft, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"][0], 0.3 * hard + 0.7 * soft, rtol=1e-5)


@pytest.mark.parametrize("make", [rows, sentences])
def test_a_teacher_of_text_alone_leaves_what_has_a_label_to_the_label(make):
    encoded = unlabelled(make())
    head = "token" if encoded.per_token else "dense-tanh-out"
    metrics = train(taught(encoded, head=head, taught_labelled=False), batches(0, 1))
    told = said(encoded)
    told[encoded.labels >= 0] *= -3.0  # whatever it says there is not heard
    other = taught(encoded, Teacher(jnp.asarray(told)), head=head, taught_labelled=False)
    np.testing.assert_array_equal(train(other, batches(0, 1))["loss"], metrics["loss"])
    everything = taught(encoded, head=head)
    assert train(everything, batches(0, 1))["teacher_loss"][0] != metrics["teacher_loss"][0]
    if encoded.per_token:
        return
    numbers = batches(0, 1)[0]
    silent = encoded.labels[numbers] < 0
    logits = logits_of(taught(encoded), encoded, numbers)
    soft = divergence(logits, said(encoded)[numbers], 2.0)[silent].mean()
    np.testing.assert_allclose(metrics["teacher_loss"][0], soft, rtol=1e-5)


def test_words_without_labels_are_taught_and_pieces_within_words_are_not():
    encoded = unlabelled(sentences())
    metrics = train(taught(encoded, head="token"), batches(0, 1))
    other = said(encoded)
    other[encoded.labels == -1] += 100.0  # where no word begins, whatever is said there
    teacher = Teacher(jnp.asarray(other))
    again = train(taught(encoded, teacher, head="token"), batches(0, 1))
    np.testing.assert_array_equal(metrics["teacher_loss"], again["teacher_loss"])
    other[encoded.labels == -2] *= 2.0
    teacher = Teacher(jnp.asarray(other))
    changed = train(taught(encoded, teacher, head="token"), batches(0, 1))
    assert changed["teacher_loss"][0] != metrics["teacher_loss"][0]


def test_a_teacher_without_weight_changes_nothing_but_rounding():
    encoded = rows()
    alone = make_trainer(QUIET, train_rows=encoded, hyper={"distill_weight": 0.0})
    beside = taught(encoded, hyper={"distill_weight": 0.0})
    for trainer in (alone, beside):
        train(trainer, batches(0, 3))
    one, other = (flatten(jax.device_get(each.state.params)) for each in (alone, beside))
    for path, leaf in one.items():
        np.testing.assert_allclose(other[path], leaf, rtol=1e-4, atol=2e-6, err_msg=path)


def test_text_alone_moves_weights_by_the_teacher_alone():
    encoded = unlabelled(rows(), every=1)
    trainer = taught(encoded)
    metrics = train(trainer, batches(0, 1))
    assert metrics["task_loss"][0] == 0
    assert metrics["grad_norm"][0] > 0


@pytest.mark.parametrize("hidden", [0.0, 0.1])
def test_microbatches_add_up_to_the_batch(hidden):
    teacher = Teacher(jnp.asarray(said(rows())), jax.tree.map(jnp.asarray, other_params()))
    options = {"hidden_layers": (1, 2), "hyper": {"distill_hidden": hidden}}
    if not hidden:
        teacher, options = Teacher(teacher.logits), {}
    whole, parts = (
        train(taught(teacher=teacher, accumulation=count, **options), batches(0, 1))
        for count in (1, 4)
    )
    for name in ("loss", "task_loss", "teacher_loss", "hidden_loss", "grad_norm"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("labelled", [True, False])
def test_hidden_states_are_compared_on_real_pieces_of_the_chosen_layers(labelled):
    """And, where the teacher speaks about text alone, of rows without a label."""
    other = jax.tree.map(jnp.asarray, other_params())
    encoded = unlabelled(rows())
    teacher = Teacher(jnp.asarray(said(encoded)), other)
    hyper = {"distill_hidden": 0.5}
    trainer = taught(encoded, teacher, hidden_layers=(2,), hyper=hyper, taught_labelled=labelled)
    numbers = batches(0, 1)[0]
    states = []
    for tree in (trainer.serve(trainer.state), other):
        ids = np.full((len(numbers), LENGTH), CONFIG.pad_token_id, np.int32)
        for place, row in enumerate(numbers):
            start, size = encoded.offsets[row], encoded.lengths[row]
            ids[place, :size] = encoded.ids[start : start + size]
        lengths = encoded.lengths[numbers]
        found = xlmr.hidden_states(model(QUIET), tree, jnp.asarray(ids), jnp.asarray(lengths))
        states.append(np.float64(found[2]))
    real = np.arange(LENGTH)[None] < lengths[:, None]
    real &= labelled | (encoded.labels[numbers] < 0)[:, None]
    expected = np.square(states[0] - states[1]).mean(-1)[real].mean()
    metrics = train(trainer, batches(0, 1))
    np.testing.assert_allclose(metrics["hidden_loss"][0], expected, rtol=1e-5)
    alone = 0.3 * metrics["task_loss"][0] + 0.7 * metrics["teacher_loss"][0]
    np.testing.assert_allclose(metrics["loss"][0], alone + 0.5 * expected, rtol=1e-5)


@pytest.mark.sharded
def test_a_mesh_and_seeds_side_by_side_learn_the_same():
    one = train(taught(), batches(0, 2))
    on_mesh = taught(layout=(2, 2, 2))
    spread = train(on_mesh, batches(0, 2))
    for name in ("loss", "teacher_loss"):
        np.testing.assert_allclose(spread[name], one[name], rtol=1e-5)
    # Logits in parts on the devices are found as the same bits as whole ones
    again = taught(layout=(2, 2, 2))
    where = teaching.abstract(unlabelled(rows()), LABELS, again.mesh).sharding
    logits = np.zeros((teaching.PARTS, *said(rows()).shape[1:]), np.float32)
    logits[: len(said(rows()))] = said(rows())
    again.teach([Teacher(jax.device_put(logits, where))])
    np.testing.assert_array_equal(train(again, batches(0, 2))["loss"], spread["loss"])
    encoded = unlabelled(rows())
    pair = make_trainer(QUIET, train_rows=encoded, seeds=(0, 1), hyper=TAUGHT)
    pair.teach([Teacher(jnp.asarray(said(encoded, seed))) for seed in (0, 5)])
    pair.dispatch(*[Dispatch(LENGTH, batches(0, 2))] * 2)
    both = jax.device_get(dict(pair.drain().metrics))
    both = {name: values[:, :2] for name, values in both.items()}
    np.testing.assert_allclose(both["teacher_loss"][0], one["teacher_loss"], rtol=1e-5)
    assert both["teacher_loss"][1][0] != one["teacher_loss"][0]


@pytest.mark.parametrize("layout", [(1, 1, 1), on_eight((2, 2, 2))])
def test_a_teacher_is_asked_about_every_row_once(layout):
    trainer = make_trainer(QUIET, layout=layout)
    encoded = rows()
    logits = teaching.teach(
        model(QUIET), trainer.serve(trainer.state), encoded, trainer.data, mesh=trainer.mesh,
        batch_size=40, steps_per_dispatch=3, max_length=LENGTH,
    )  # fmt: skip
    assert encoded.rows % 40, "some of a batch is padding, which is answered, too"
    numbers = np.arange(encoded.rows)
    own, below = np.split(np.asarray(logits), [encoded.rows])
    np.testing.assert_allclose(own, logits_of(trainer, encoded, numbers), rtol=1e-4, atol=1e-5)
    assert not below.any()
    # Every device holds its part, and a run may resume on another mesh
    devices = trainer.mesh.size
    assert logits.addressable_shards[0].data.shape == (teaching.PARTS // devices, own.shape[1])
    assert logits.shape == teaching.abstract(encoded, own.shape[1], trainer.mesh).shape
    facts = teaching.facts(Teacher(logits), unlabelled(encoded))
    assert (facts["targets"], facts["labelled"]) == (encoded.rows, encoded.rows // 2)
    right = np.argmax(own, -1) == encoded.labels
    assert facts["agreement"] == pytest.approx(right[1::2].mean())


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_what_begins_from_dense_weights_keeps_their_moments(seeds):
    """Adam would otherwise take first steps of its full rate in weights that have settled."""
    dense = make_trainer(QUIET, seeds=seeds)
    dense.dispatch(*[Dispatch(LENGTH, batches(0, 2))] * len(seeds))
    dense.drain()
    learns = {"method_": method(criterion="movement"), "freeze": ("embeddings",)}
    later = make_trainer(QUIET, seeds=seeds, **learns)
    before = jax.device_get(dense.state)
    later.continue_with(dense.state)
    after = jax.device_get(later.state)
    for path, leaf in flatten(before.params).items():
        np.testing.assert_array_equal(flatten(after.params)[path], leaf, err_msg=path)
    old, new = before.optimizer["weights"], after.optimizer["weights"]
    np.testing.assert_array_equal(new.count, old.count)
    assert np.all(new.count == 2)
    assert set(new.mu) == {path for path in old.mu if not path.startswith("embeddings/")}
    for path in new.mu:
        np.testing.assert_array_equal(new.mu[path], old.mu[path])
        np.testing.assert_array_equal(new.nu[path], old.nu[path])
    assert all(not leaf.any() for leaf in after.method["scores"].values())
