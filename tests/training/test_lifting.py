"""Seeds side by side: each is what it would be alone, but for the order of float sums."""

import jax
import numpy as np
import pytest
from devices import on_eight
from training_cases import LENGTH, batches, make_trainer, method, moments

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks
from alignreg_jax.training.in_flight import InFlight, fetch
from alignreg_jax.training.state import flatten

SEEDS = (4, 9)
RATES = {"score_learning_rate": 0.1, "multiplier_learning_rate": 0.02, "regularizer_weight": 0.3}
STILL = {**RATES, "score_learning_rate": 0.0, "multiplier_learning_rate": 0.0}


def dispatches(first):
    """Other rows for every seed, in one shape."""
    return [Dispatch(LENGTH, batches(first + index, 2)) for index in range(len(SEEDS))]


def head(seed):
    generator = np.random.default_rng(seed)
    tree = make_trainer().state.params["head"]
    return jax.tree.map(lambda leaf: generator.normal(0, 0.1, leaf.shape).astype("float32"), tree)


def story(trainer, own, tuned=False):
    """Train, cut, train; returns the metrics of each dispatch, one row a seed."""
    found = []

    def train(first):
        trainer.dispatch(*(dispatches(first)[index] for index in own))
        found.append(fetch(trainer.drain()))

    learn = trainer._hyper.score_learning_rate > 0
    trainer.set_clock(0.6, learn=learn)
    train(0)
    if tuned:
        trainer.reference = trainer.copy_kernels(trainer.state.params)
    signals = trainer.gradients(*([dispatches(2)[index]] for index in own))
    sizes = prunable.sizes(trainer.member(0)[1])
    trainer.prune(masks.keep_counts(sizes, 0.6, "layer"), 1, signals)
    train(1)
    return found


@pytest.mark.parametrize(
    ("criterion", "regularizer", "tuned", "layout"),
    [
        ("gradient", "cosine", True, (1, 1, 1)),
        pytest.param("random", "l2sp", False, (1, 1, 1), marks=pytest.mark.exact),
        on_eight("magnitude", "l0-target", False, (2, 2, 2)),
    ],
)
def test_each_seed_is_what_it_is_alone(criterion, regularizer, tuned, layout):
    options = {
        "method_": method(criterion=criterion, regularizer=regularizer),
        "layout": layout,
        # Gates that learn would go either way by rounding (below)
        "hyper": STILL if regularizer == "l0-target" else RATES,
        "clip": True,
    }
    heads = [head(seed) for seed in SEEDS]
    together = make_trainer(seeds=SEEDS, heads=heads, own_reference=tuned, **options)
    told = story(together, range(len(SEEDS)), tuned)
    for index, seed in enumerate(SEEDS):
        alone = make_trainer(seeds=(seed,), heads=[heads[index]], own_reference=tuned, **options)
        expected = story(alone, [index], tuned)
        for all_, (own,) in zip(told, expected, strict=True):
            for name, value in own.items():
                assert all_[index][name] == pytest.approx(value, rel=2e-5, abs=1e-6), name
        state, reference = together.member(index)
        assert_close(reference, alone.reference)
        for name, kept in alone.state.masks.items():
            np.testing.assert_array_equal(state.masks[name], kept)
        assert_close(state.params, alone.state.params)
        assert_close(together.serve(state), alone.serve(alone.state))
        assert int(state.step) == 4
        placed = [leaf.sharding for leaf in jax.tree.leaves(state.params)]
        assert placed == [leaf.sharding for leaf in jax.tree.leaves(alone.state.params)]


def assert_close(found, expected):
    """But for the bias of the keys: its true gradient is 0, and Adam steps by the rounding."""
    found, expected = flatten(jax.device_get(found)), flatten(jax.device_get(expected))
    assert found.keys() == expected.keys()
    for path, leaf in expected.items():
        if not path.endswith("attention/key/bias"):
            np.testing.assert_allclose(found[path], leaf, rtol=1e-4, atol=2e-5, err_msg=path)


def test_what_is_learned_of_each_seed():
    """Gradients only: Adam moves a gate without one by its whole rate, whichever way it rounds."""
    options = {"method_": method(regularizer="l0-target"), "hyper": RATES}
    together = make_trainer(seeds=SEEDS, **options)
    together.set_clock(0.4)
    one_step = [Dispatch(LENGTH, batches(index, 1)) for index in range(len(SEEDS))]
    together.dispatch(*one_step)
    for index, seed in enumerate(SEEDS):
        alone = make_trainer(seeds=(seed,), **options)
        alone.set_clock(0.4)
        alone.dispatch(one_step[index])
        found, expected = (
            moments(jax.device_get(state))[0] for state in (together.member(index)[0], alone.state)
        )
        assert any(path.startswith("method/gates") for path in expected)
        assert any(path.startswith("method/multiplier") for path in expected)
        for path, leaf in expected.items():
            error = np.abs(found[path] - leaf).max()
            assert error <= 1e-5 * max(np.abs(leaf).max(), 1e-3), f"{path}: {error}"


def test_seeds_differ():
    together = make_trainer(seeds=SEEDS, heads=[head(seed) for seed in SEEDS])
    (first, second), _ = story(together, range(2))
    assert abs(first["loss"] - second["loss"]) > 1e-3


def test_restored_to_the_bit():
    """From the states of single runs, which is what their checkpoints hold."""
    one, other = (make_trainer(seeds=SEEDS, method_=method()) for _ in range(2))
    one.dispatch(*dispatches(0))
    kept = [jax.tree.map(lambda leaf: leaf.copy(), one.member(index)[0]) for index in range(2)]
    other.restore(kept, 2)
    for trainer in (one, other):
        trainer.dispatch(*dispatches(1))
    for index in range(2):
        pairs = (jax.device_get(trainer.member(index)[0].params) for trainer in (one, other))
        jax.tree.map(np.testing.assert_array_equal, *pairs)


def test_a_loss_that_is_not_finite_names_its_seed():
    losses = np.array([[1.0, 2.0, 3.0], [1.0, np.nan, 3.0]])
    metrics = {"loss": losses, "grad_norm": np.ones((2, 3)), "examples": np.ones((2, 3))}
    with pytest.raises(Exception, match="the loss of seed 9 is not finite at step 12"):
        fetch(InFlight(metrics, 10, 3, SEEDS))
    first, second = fetch(InFlight(metrics, 10, 1, SEEDS))
    assert first == second == {"loss": 1.0, "grad_norm": 1.0, "examples": 1.0}


def test_one_seed_has_no_axis_and_one_copy():
    trainer = make_trainer(seeds=(3,))
    state, reference = trainer.member(0)
    assert state is trainer.state
    assert reference is trainer.reference
    assert trainer.state.step.shape == ()


def test_one_program_for_each_length_and_none_for_a_seed():
    trainer = make_trainer(seeds=SEEDS)
    before = trainer._train._cache_size()
    for first in range(2):
        trainer.dispatch(*dispatches(first))
    assert trainer._train._cache_size() - before <= 1


def test_trainers_that_freeze_other_parameters_share_programs():
    """As the rows `l2-mbp` and `l2-mbp@train.freeze=embeddings` of a sweep do."""
    for freeze in ((), ("embeddings",)):
        trainer = make_trainer(seeds=SEEDS, freeze=freeze)
        states = [trainer.member(index)[0] for index in range(len(SEEDS))]
        trainer.restore(states, 0)
        trained = {path.split("/")[0] for path in moments(states[0])[0]}
        assert trained == {"embeddings", "encoder", "head"} - set(freeze)
