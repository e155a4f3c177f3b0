"""Gradients for criteria: of the task loss alone, with respect to the effective kernels."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_cases import LENGTH, batches, make_trainer, method, model, prune, rows, train

from alignreg_jax.data.batching import Dispatch, sample
from alignreg_jax.data.unlabelled import UNLABELLED
from alignreg_jax.errors import NonFiniteLoss
from alignreg_jax.models import xlmr
from alignreg_jax.pruning import kernels, masks, methods, units
from alignreg_jax.pruning.kernels import KERNELS, merge, split
from alignreg_jax.pruning.methods import Criterion, build
from alignreg_jax.training import programs
from alignreg_jax.training.losses import Teacher

ALL = frozenset({"grad", "grad_abs", "grad_squared"})
PLAN = [Dispatch(LENGTH, batches(0, 2)), Dispatch(24, batches(2, 1))]


@functools.cache
def greedy():
    """A method that asks for everything; it scores by the first."""
    return replace(build(criterion="gradient", scope="layer", regularizer="frobenius"), needs=ALL)


def padded(numbers, length):
    """Ids of some rows."""
    encoded, ids = rows(), np.full((len(numbers), length), 1, np.int32)
    for row, index in zip(ids, numbers, strict=True):
        first, size = encoded.offsets[index], encoded.lengths[index]
        row[:size] = encoded.ids[first : first + size]
    return ids


def by_hand(params, plan):
    """Each batch's gradient, by a plain composition without the trainer."""
    encoded = rows()
    start, rest = split(jax.tree.map(jnp.asarray, params))

    @jax.jit
    def gradient(ids, lengths, labels):
        def loss(used):
            scores = jax.nn.log_softmax(xlmr.logits(model(), merge(used, rest), ids, lengths))
            return -jnp.mean(scores[jnp.arange(len(labels)), labels])

        return jax.grad(loss)(start)

    found = []
    for dispatch in plan:
        for batch in dispatch.rows:
            ids = padded(batch, dispatch.length)
            lengths, labels = encoded.lengths[batch], encoded.labels[batch]
            found.append(jax.device_get(gradient(ids, lengths, labels)))
    return found


def assert_close(found, expected, relative=1e-5):
    for name in KERNELS:
        scale = np.abs(expected[name]).max()
        assert scale > 0
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=relative * scale)


def test_signals_are_sums_over_batches():
    """Dropout is on in the network's configuration, and a penalty of weight 1e3 on top."""
    trainer = make_trainer(method_=greedy(), hyper={"regularizer_weight": 1e3})
    trainer.reference = jax.tree.map(lambda leaf: leaf * 0.5, trainer.reference)
    found = trainer.gradients(PLAN)
    each = by_hand(trainer.state.params, PLAN)
    assert len(each) == 3
    assert found.keys() == ALL
    assert_close(found["grad"], {n: sum(one[n] for one in each) for n in KERNELS})
    assert_close(found["grad_abs"], {n: sum(abs(one[n]) for one in each) for n in KERNELS})
    assert_close(found["grad_squared"], {n: sum(one[n] ** 2 for one in each) for n in KERNELS})


def test_signals_of_units_are_the_gradients_of_their_gates():
    """Absolute values and squares per batch of the derivative in a gate at 1."""
    needs = frozenset({"units_abs", "units_squared"})
    trainer = make_trainer(method_=replace(greedy(), needs=needs))
    found = trainer.gradients(PLAN)
    heads = model().config.layers[0].heads
    start, rest = split(jax.tree.map(jnp.asarray, trainer.state.params))
    encoded, each = rows(), []
    shapes = units.shapes(start, heads)
    gates = {kind: jnp.ones(shapes[kind]) for kind in units.UNITS}

    @jax.jit
    @jax.grad
    def gradient(gates, ids, lengths, labels):
        used = merge(units.gate(start, gates), rest)
        scores = jax.nn.log_softmax(xlmr.logits(model(), used, ids, lengths))
        return -jnp.mean(scores[jnp.arange(len(labels)), labels])

    for dispatch in PLAN:
        for numbers in dispatch.rows:
            ids = padded(numbers, dispatch.length)
            lengths, labels = encoded.lengths[numbers], encoded.labels[numbers]
            each.append(jax.device_get(gradient(gates, ids, lengths, labels)))
    assert found.keys() == needs
    for kind in units.UNITS:
        for signal, term in (("units_abs", np.abs), ("units_squared", np.square)):
            expected = sum(term(one[kind]) for one in each)
            scale = np.abs(expected).max()
            assert scale > 0
            np.testing.assert_allclose(found[signal][kind], expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("parts", [1, 2])
def test_signals_of_inputs_are_squares_over_real_pieces(parts):
    """Of what a layer takes in, by its hidden states; test_xlmr_parity.py has the other kernels."""
    wanda = build(criterion="wanda", scope="output")
    plan = [*PLAN, Dispatch(LENGTH, np.array([[40, 41, 42, -1, -1, -1, -1, -1]], np.int32))]
    trainer = make_trainer(method_=wanda, accumulation=parts)
    found = trainer.gradients(plan)
    assert found.keys() == {"inputs"}
    encoded = rows()
    numbers = np.concatenate([batch for part in plan for batch in part.rows])
    numbers = numbers[numbers >= 0]
    ids, lengths = jnp.asarray(padded(numbers, 24)), jnp.asarray(encoded.lengths[numbers])
    states = jax.jit(functools.partial(xlmr.hidden_states, model()))
    real = np.arange(24) < encoded.lengths[numbers][:, None]
    taken = np.asarray(states(trainer.state.params, ids, lengths))[:-1, real]
    expected = np.sum(np.square(taken), axis=1)
    for name in ("query", "key", "value"):
        value = found["inputs"][f"attention/{name}"]
        np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_a_cut_may_give_weights_new_values():
    trainer = make_trainer(method_=build(criterion="sparsegpt", scope="layer"))
    before = jax.device_get(split(trainer.state.params)[0])
    sums = trainer.gradients(PLAN)
    assert sums.keys() == {"grams"}
    trainer.prune(keep(trainer, 0.5), 1, sums)
    after, new = jax.device_get((split(trainer.state.params)[0], trainer.state.masks))
    for name in KERNELS:
        inputs, outputs = before[name].shape[1:]
        assert new[name].sum(axis=(1, 2)).tolist() == [inputs * outputs // 2] * 2
        assert np.all(after[name][~new[name]] == 0)
        assert np.mean(after[name][new[name]] != before[name][new[name]]) > 0.9
        gram = np.asarray(sums["grams"][name], np.float64)
        change, plain = before[name] - after[name], np.where(new[name], 0, before[name])
        ours, masked = (np.einsum("luo,luv,lvo->", d, gram, d) for d in (change, plain))
        assert ours < masked


def test_a_teacher_says_the_labels():
    """What it says of rows stands for labels, of which they need none; its probabilities do not."""
    plain, taught = make_trainer(method_=greedy()), make_trainer(method_=greedy())
    taught.data = replace(taught.data, labels=jnp.full_like(taught.data.labels, UNLABELLED))
    labels = rows().labels
    said = np.full((len(labels), 5), -1.0, np.float32)
    said[np.arange(len(labels)), labels] = 0.5
    taught.teach([Teacher(taught.place(said))])
    expected = plain.gradients(PLAN)
    for signal, found in taught.gradients(PLAN, by_teacher=True).items():
        assert_close(found, expected[signal], 1e-6)
    said[np.arange(len(labels)), labels] = -2.0  # another label each
    taught.teach([Teacher(taught.place(said))])
    other = taught.gradients(PLAN, by_teacher=True)["grad"]
    assert any(np.abs(other[n] - expected["grad"][n]).max() > 1e-3 for n in KERNELS)


def test_labels_of_a_teacher_need_one():
    with pytest.raises(ValueError, match="nobody teaches"):
        make_trainer(method_=greedy()).gradients(PLAN, by_teacher=True)


@pytest.mark.parametrize("parts", [2, 4])
def test_microbatches_change_nothing(parts):
    """Absolute values and squares are of whole batches; some parts have padding rows only."""
    plan = [*PLAN, Dispatch(LENGTH, np.array([[40, 41, 42, -1, -1, -1, -1, -1]], np.int32))]
    whole, split_up = (
        make_trainer(method_=greedy(), accumulation=parts).gradients(plan) for parts in (1, parts)
    )
    for signal in ALL:
        assert_close(split_up[signal], jax.device_get(whole[signal]))


def test_pruned_weights_have_gradients_and_stay_pruned():
    trainer = make_trainer(method_=method(criterion="gradient"), clip=True)
    trainer.prune(keep(trainer, 0.5), 0, trainer.gradients(PLAN))
    first = jax.device_get(trainer.state.masks)
    train(trainer, batches(0, 2))
    sums = trainer.gradients(PLAN)
    for name in KERNELS:
        assert np.mean(np.asarray(sums["grad"][name])[~first[name]] != 0) > 0.9
    trainer.prune(keep(trainer, 0.2), 0, sums)
    second = jax.device_get(trainer.state.masks)
    for name in KERNELS:
        assert not np.any(second[name] & ~first[name])
        for layer, mask in enumerate(second[name]):
            assert mask.sum() == round(0.2 * mask.size)
            scores = np.abs(np.asarray(sums["grad"][name])[layer])
            assert scores[mask].min() >= scores[first[name][layer] & ~mask].max()


def keep(trainer, remaining):
    return masks.keep_counts(kernels.sizes(trainer.reference), remaining, "layer")


def test_a_method_that_needs_nothing_costs_nothing():
    programs.forget()
    trainer = make_trainer()
    assert trainer.gradients(PLAN) == {}
    assert trainer._add_gradients._cache_size() == 0


@pytest.mark.sharded
def test_signals_are_sharded_and_equal_one_device():
    found = {}
    for layout in ((2, 2, 2), (1, 1, 1)):
        trainer = make_trainer(method_=greedy(), layout=layout)
        sums = trainer.gradients(PLAN)
        for name in KERNELS:
            assert sums["grad"][name].sharding == trainer.reference[name].sharding
        found[layout] = jax.device_get(sums)
    for signal in ALL:
        assert_close(found[2, 2, 2][signal], found[1, 1, 1][signal])


def test_layer_norm_scales_reach_the_criterion(monkeypatch):
    """Read off the trained parameters, not the pretrained ones."""
    seen = {}

    def score(weights, signals, key):
        jax.debug.callback(lambda scales: seen.update(scales), signals["layernorm"])
        return weights

    monkeypatch.setitem(methods.CRITERIA, "spy", Criterion(score, frozenset({"layernorm"})))
    trainer = make_trainer(method_=build(criterion="spy", scope="layer"), clip=True)
    train(trainer, batches(0, 2))
    params = jax.device_get(trainer.state.params)
    prune(trainer, 0.5)
    jax.effects_barrier()
    encoder = params["encoder"]
    expected = {
        "embeddings": params["embeddings"]["layer_norm"]["scale"],
        "attention": encoder["attention"]["layer_norm"]["scale"],
        "output": encoder["layer_norm"]["scale"],
    }
    assert seen.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_array_equal(seen[name], leaf)
        assert np.any(leaf != 1)


def test_programs_are_shared_by_what_they_depend_on():
    """Two criteria and two seeds train with one program; another penalty needs its own."""
    programs.forget()
    kinds = ("magnitude", "random", "magnitude", "lamp")
    trainers = [
        make_trainer(method_=method(criterion=kind), seed=seed, clip=True)
        for seed, kind in enumerate(kinds)
    ]
    assert len({trainer._train for trainer in trainers}) == 1
    assert trainers[0]._prune is trainers[2]._prune is not trainers[1]._prune
    losses = [train(trainer, batches(0, 2))["loss"].tolist() for trainer in trainers]
    assert trainers[0]._train._cache_size() == 1
    alone = make_trainer(method_=method(criterion="lamp"), seed=3, clip=True)
    assert train(alone, batches(0, 2))["loss"].tolist() == losses[3] != losses[0]
    other = make_trainer(method_=method(regularizer="cosine"), clip=True)
    assert other._train is not trainers[0]._train
    assert other._prune is trainers[0]._prune


@pytest.mark.parametrize("batches_", [1, 5, 100])
def test_sample_draws_whole_batches_once(batches_):
    plan = [
        Dispatch(8, np.arange(12, dtype=np.int32).reshape(3, 4)),
        Dispatch(16, np.arange(12, 32, dtype=np.int32).reshape(5, 4)),
        Dispatch(16, np.array([[32, 33, -1, -1]], np.int32)),
    ]
    found = sample(plan, batches_, data_seed=0, epoch=3)
    taken = [(dispatch.length, tuple(row)) for dispatch in found for row in dispatch.rows]
    assert len(taken) == len(set(taken)) == min(batches_, 8)
    everything = {(part.length, tuple(row)) for part in plan[:2] for row in part.rows}
    assert set(taken) <= everything
    again = sample(plan, batches_, data_seed=0, epoch=3)
    assert taken == [(dispatch.length, tuple(row)) for dispatch in again for row in dispatch.rows]
    if batches_ == 5:
        others = [sample(plan, 5, data_seed=0, epoch=epoch) for epoch in range(4, 12)]
        assert any(
            taken != [(part.length, tuple(row)) for part in other for row in part.rows]
            for other in others
        )


def test_sample_of_one_partial_batch_is_that_batch():
    plan = [Dispatch(8, np.array([[0, 1, -1, -1]], np.int32))]
    found = sample(plan, 32, data_seed=0, epoch=0)
    np.testing.assert_array_equal(found[0].rows, plan[0].rows)


def test_sums_that_are_not_finite_rank_nothing():
    """Squares overflow long before the loss does."""
    trainer = make_trainer(method_=greedy())
    params = trainer.state.params
    kernel = params["head"]["out"]["kernel"] * 1e24
    head = {**params["head"], "out": {**params["head"]["out"], "kernel": kernel}}
    trainer.state = trainer.state.replace(params={**params, "head": head})
    with pytest.raises(
        NonFiniteLoss, match=r"\(grad_squared\) are not finite in .*attention/query"
    ):
        trainer.gradients(PLAN)
