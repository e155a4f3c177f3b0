"""What a method learns beside the weights: gates at their own rate, climbing multipliers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr
from training_cases import HYPER, batches, make_trainer, method, moments, prune, train

from alignreg_jax.pruning import gates
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning.kernels import KERNELS, kernel_path
from alignreg_jax.training import programs
from alignreg_jax.training.checkpointing import Checkpoints
from alignreg_jax.training.manifests import Position
from alignreg_jax.training.state import flatten

RATES = {"score_learning_rate": 0.1, "multiplier_learning_rate": 0.02, "regularizer_weight": 1.0}


def make(regularizer="l0-target", criterion="magnitude", hyper=(), **settings):
    return make_trainer(
        method_=method(regularizer=regularizer, criterion=criterion),
        hyper={**HYPER, **RATES, **dict(hyper)},
        **settings,
    )


def learned(trainer):
    return flatten(jax.device_get(trainer.state.method))


def test_every_leaf_moves_at_its_own_rate():
    """Adam's first step is the rate times the sign of the gradient, but for epsilon."""
    trainer = make(hyper={"weight_decay": 0.0})
    trainer.set_clock(0.4)
    before = flatten(jax.device_get(trainer.state.params)), learned(trainer)
    train(trainer, batches(0, 1))
    after = flatten(jax.device_get(trainer.state.params)), learned(trainer)
    path = kernel_path("output")
    assert np.median(np.abs(after[0][path] - before[0][path])) == pytest.approx(1e-3, rel=1e-3)
    moved = np.abs(after[1]["gates/output"] - before[1]["gates/output"])
    assert np.median(moved) == pytest.approx(0.1, rel=1e-3)
    # Too few gates are shut, so the multiplier falls below zero, which makes shutting them pay
    assert after[1]["multipliers/linear"] == pytest.approx(-0.02, rel=1e-3)
    assert after[1]["multipliers/quadratic"] == pytest.approx(5.02, rel=1e-3)


def test_multipliers_follow_no_schedule_and_gates_do():
    trainer = make(hyper={"warmup_steps": 10.0})
    trainer.set_clock(0.4)
    before = learned(trainer)
    train(trainer, batches(0, 1))
    after = learned(trainer)
    moved = np.abs(after["gates/output"] - before["gates/output"])
    assert np.median(moved) == pytest.approx(0.01, rel=1e-3)
    assert after["multipliers/linear"] == pytest.approx(-0.02, rel=1e-3)


def test_gates_reach_their_target_in_every_phase_and_large_weights_stay():
    """Halves of phases of 90 steps, the demo's cuts: train towards the cut, then cut."""
    trainer = make("l0-target", "gate", hyper={"multiplier_learning_rate": 0.01})
    weights = prunable.split(jax.device_get(trainer.state.params))[0]
    total = sum(kernel.size for kernel in weights.values())
    for phase, target in enumerate((0.56, 0.3138, 0.1772), start=1):
        trainer.set_clock(target)
        history = [train(trainer, batches(5 * part % 45, 5))["open_gates"] for part in range(18)]
        assert history[-1][-1] == pytest.approx(target, abs=0.05)
        assert np.min(history) > target - 0.15  # undamped it swings further
        if phase == 1:
            log_alpha = trainer.state.method["gates"]
            order = [(np.abs(weights[name]), np.asarray(log_alpha[name])) for name in KERNELS]
            sizes, opened = (
                np.concatenate([leaf.ravel() for leaf in part]) for part in zip(*order, strict=True)
            )
            assert (
                spearmanr(sizes, opened).statistic > 0.4
            )  # below 0 where gates were pushed open first
        kept = prune(trainer, target)
        served = prunable.split(trainer.serve(trainer.state))[0]
        nonzero = sum(int(np.sum(np.asarray(served[name]) != 0)) for name in KERNELS)
        allowed = sum(int(kept[name].sum()) for name in KERNELS)
        assert nonzero == allowed == pytest.approx(target * total, rel=1e-2)


def test_gates_of_pruned_weights_neither_count_nor_learn():
    trainer = make("l0-target", "gate")
    trainer.set_clock(0.5)
    train(trainer, batches(0, 3))
    ranked = learned(trainer)
    kept = prune(trainer, 0.5)
    before = learned(trainer)
    assert all(
        np.all(np.sum(kept[name], axis=(1, 2)) == kept[name][0].size / 2) for name in KERNELS
    )
    for name in KERNELS:  # the lowest gates went
        pruned = ranked[f"gates/{name}"][0][~kept[name][0]]
        assert pruned.max() <= ranked[f"gates/{name}"][0][kept[name][0]].min()
    metrics = train(trainer, batches(0, 3))
    assert (metrics["open_gates"] < 0.5).all()
    after = learned(trainer)
    for name in KERNELS:
        same = after[f"gates/{name}"] == before[f"gates/{name}"]
        assert same[~kept[name]].all()
        assert same[kept[name]].mean() < 0.5
    served = flatten(jax.device_get(trainer.serve(trainer.state)))
    for name in KERNELS:
        np.testing.assert_array_equal(served[kernel_path(name)][~kept[name]], 0)


def test_a_cut_renews_what_was_learned():
    """Later phases learn as the first one does, and what a cut has left is not scaled."""
    trainer = make("l0-target", "gate")
    start = learned(trainer)
    trainer.set_clock(0.5)
    train(trainer, batches(0, 5))
    moved = learned(trainer)
    prune(trainer, 0.5)
    after = learned(trainer)
    for path in start:
        assert np.any(moved[path] != start[path])
        np.testing.assert_array_equal(after[path], start[path])
    for part in moments(jax.device_get(trainer.state)):
        assert not any(np.any(leaf) for path, leaf in part.items() if path.startswith("method/"))
        assert np.any(part[kernel_path("output")])
    trainer.set_clock(0.25)
    train(trainer, batches(0, 1))
    kept = jax.device_get(trainer.state.masks["output"])
    steps = np.abs(learned(trainer)["gates/output"] - after["gates/output"])[kept]
    assert np.median(steps) == pytest.approx(
        0.1, rel=1e-3
    )  # Adam's first; half of it were its age not 0


def test_learning_is_as_new_after_millions_of_steps():
    """Its optimizer counts for itself, from where the method began to learn."""
    trainer = make("l0-target", "gate")
    step = 2**24 + 1
    trainer.state = trainer.state.replace(
        step=trainer.place(np.int32(step)),
        optimizer={
            **trainer.state.optimizer,
            "weights": trainer.state.optimizer["weights"]._replace(
                count=trainer.place(np.int32(step))
            ),
        },
    )
    trainer.set_clock(0.5)
    before = learned(trainer)
    train(trainer, batches(0, 1))
    steps = np.abs(learned(trainer)["gates/output"] - before["gates/output"])
    assert np.median(steps) == pytest.approx(0.1, rel=1e-3)


def test_exact_counts_by_gated_magnitude():
    trainer = make("l0")
    train(trainer, batches(0, 4))
    state = jax.device_get(trainer.state)
    weights = flatten(state.params)
    kept = prune(trainer, 0.3)
    for name in KERNELS:
        folded = weights[kernel_path(name)] * np.asarray(
            gates.deterministic(jnp.asarray(state.method["gates"][name]))
        )
        for layer, mask in enumerate(kept[name]):
            assert mask.sum() == round(0.3 * mask.size)
            scores = np.abs(folded[layer])
            assert scores[mask].min() >= scores[~mask].max()


def test_gates_take_no_part_in_the_norm_that_clips_weights():
    """The same weights behind gates that are all open have the same norm, however many gates."""
    trainer = make("l0", hyper={"max_grad_norm": 1e-3, "regularizer_weight": 1e6}, clip=True)
    metrics = train(trainer, batches(0, 1))
    norm = np.sqrt(
        sum(
            np.sum((leaf / 0.1).astype(np.float64) ** 2)
            for path, leaf in moments(jax.device_get(trainer.state))[0].items()
            if not path.startswith("method/")
        )
    )
    assert norm == pytest.approx(1e-3, rel=1e-3)
    assert metrics["grad_norm"] < 100  # the penalty's own gradient is of the order of 1e6


def test_the_network_sees_gated_weights_in_training_and_test_gates_when_served():
    trainer = make("l0")
    state = trainer.state.replace(
        method={"gates": {name: jnp.full_like(leaf, -9.0)
                          for name, leaf in trainer.state.method["gates"].items()}}
    )  # fmt: skip
    served = flatten(jax.device_get(trainer.serve(state)))
    assert all(not served[kernel_path(name)].any() for name in KERNELS)
    open_ = flatten(jax.device_get(trainer.serve(trainer.state)))
    stored = flatten(jax.device_get(trainer.state.params))
    for name in KERNELS:
        path = kernel_path(name)
        np.testing.assert_array_equal(open_[path], stored[path])


@pytest.mark.parametrize("layout", [(2, 2, 2), (1, 8, 1)])
@pytest.mark.sharded
def test_learned_state_is_sharded_like_its_kernels_and_trains_alike(layout):
    found = {}
    for where in (layout, (1, 1, 1)):
        trainer = make(layout=where)
        trainer.set_clock(0.4)
        metrics = train(trainer, batches(0, 1))
        # What Adam saw, not what it did: the sign of a gradient that is noise would decide that
        seen = moments(jax.device_get(trainer.state))[0]
        found[where] = metrics, {p: leaf for p, leaf in seen.items() if p.startswith("method/")}
        for name in KERNELS:
            kernel = flatten(trainer.state.params)[kernel_path(name)]
            for leaf in (
                trainer.state.method["gates"][name],
                moments(trainer.state)[0][f"method/gates/{name}"],
            ):
                assert leaf.sharding == kernel.sharding
    ours, one = found[layout], found[1, 1, 1]
    np.testing.assert_allclose(ours[0]["task_loss"], one[0]["task_loss"], rtol=1e-6)
    # A mean over all gates, summed in another order, and squared
    np.testing.assert_allclose(ours[0]["penalty"], one[0]["penalty"], rtol=1e-5)
    assert len(one[1]) == len(KERNELS) + 2
    for path, leaf in one[1].items():
        error = np.abs(ours[1][path] - leaf).max()
        assert error <= 1e-5 * np.abs(leaf).max(), f"{path}: {error}"


def test_learned_state_resumes_to_the_bit(tmp_path):
    whole = make("l0-target", "gate")
    whole.set_clock(0.4)
    train(whole, batches(0, 2))
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save({"state": whole.state}, Position(2, 0, 0, 1, 0, 0.0))
    other = make("l0-target", "gate", seed=1)
    other.set_clock(0.4)
    restored, position = checkpoints.restore(lambda position: {"state": other.abstract})
    other.restore([restored["state"]], position.step)
    for trainer in (whole, other):
        train(trainer, batches(2, 3))
        prune(trainer, 0.4)
        train(trainer, batches(0, 2))
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.device_get((whole.state.params, whole.state.method, whole.state.optimizer)),
        jax.device_get((other.state.params, other.state.method, other.state.optimizer)),
    )


def test_targets_compile_once():
    programs.forget()
    trainer = make()
    for steps in (3, 1):
        trainer.set_clock(1.0 / steps)
        train(trainer, batches(0, steps))
    assert trainer._train._cache_size() == 1
