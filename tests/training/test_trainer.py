import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_cases import BATCH, LENGTH, batches, make_trainer, params, prune, train

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.errors import NonFiniteLoss
from alignreg_jax.pruning.kernels import KERNELS, split
from alignreg_jax.training.in_flight import InFlight, fetch


def in_flight(loss, first_step=10, **metrics):
    columns = {"loss": loss, "grad_norm": [1.0] * len(loss), "examples": [8.0] * len(loss)}
    columns |= metrics
    return {name: np.asarray(column, np.float32) for name, column in columns.items()}, first_step


def look(metrics, first_step, count):
    (values,) = fetch(InFlight(metrics, first_step, count))
    return values


def test_fetch_takes_means_of_the_steps_that_ran():
    metrics, first = in_flight([1.0, 2.0, 6.0, 99.0], penalty=[0.5, 1.0, 1.5, np.nan])
    found = look(metrics, first, 3)
    assert found["loss"] == 3.0
    assert found["penalty"] == 1.0
    assert found["examples"] == 24.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_fetch_names_the_first_step_that_is_not_finite(bad):
    metrics, first = in_flight([1.0, bad, bad, 1.0])
    with pytest.raises(NonFiniteLoss, match=r"at step 12$"):
        look(metrics, first, 4)
    assert look(metrics, first, 1)["loss"] == 1.0  # beyond the count nothing means anything


def test_gradient_that_is_not_finite_counts_too():
    metrics, first = in_flight([1.0, 1.0], grad_norm=[1.0, np.inf])
    with pytest.raises(NonFiniteLoss, match=r"at step 12$"):
        look(metrics, first, 2)


def test_divergence_is_noticed_at_its_step():
    trainer = make_trainer(clip=True, hyper={"learning_rate": np.inf})
    trainer.dispatch(Dispatch(LENGTH, batches(0, 3)))
    with pytest.raises(NonFiniteLoss, match=r"at step 2$"):  # the first update ruins the second
        fetch(trainer.drain())


def test_metrics_come_one_dispatch_late():
    trainer = make_trainer(clip=True)
    assert trainer.drain() is None
    assert trainer.dispatch(Dispatch(LENGTH, batches(0, 3))) is None
    assert trainer.step == 3
    first = trainer.dispatch(Dispatch(LENGTH, batches(3, 1)))
    assert (first.first_step, first.count) == (0, 3)
    assert trainer.step == 4
    second = trainer.drain()
    assert (second.first_step, second.count) == (3, 1)
    assert fetch(second)[0]["examples"] == BATCH
    assert trainer.drain() is None
    assert int(trainer.state.step) == 4


def test_callers_parameters_and_the_reference_stay():
    """Donation takes neither the host arrays nor the reference; a second trainer starts alike."""
    before = jax.tree.map(np.copy, params())
    first = make_trainer(clip=True)
    losses = train(first, batches(0, 3))["loss"]
    prune(first, 0.5)
    jax.tree.map(np.testing.assert_array_equal, params(), before)
    kernels, _ = split(before)
    for name in KERNELS:
        np.testing.assert_array_equal(first.reference[name], kernels[name])
    np.testing.assert_array_equal(train(make_trainer(clip=True), batches(0, 3))["loss"], losses)


def test_kernels_copied_as_the_reference_outlive_the_state():
    trainer = make_trainer(clip=True)
    train(trainer, batches(0, 1))
    trainer.reference = trainer.copy_kernels(trainer.state.params)
    before = jax.device_get(jax.tree.map(jnp.copy, trainer.reference))  # a view would pin them
    train(trainer, batches(1, 2))
    for name in KERNELS:
        np.testing.assert_array_equal(trainer.reference[name], before[name])


def test_hyper_parameters_of_a_phase_hold_for_that_phase():
    trainer = make_trainer(clip=True)
    trainer.set_clock(0.9, learning_rate=0.5)
    assert train(trainer, batches(0, 1))["learning_rate"] == [0.5]
    trainer.set_clock(0.8)
    assert train(trainer, batches(0, 1))["learning_rate"] == [np.float32(1e-3)]


def test_restored_state_continues_where_it_was():
    trainer = make_trainer(clip=True)
    train(trainer, batches(0, 2))
    kept = jax.tree.map(lambda leaf: leaf.copy(), trainer.state)
    expected = train(trainer, batches(2, 2))
    other = make_trainer(clip=True, seed=1)
    other.restore([kept], 2)
    found = train(other, batches(2, 2))
    np.testing.assert_array_equal(found["loss"], expected["loss"])
    assert other.step == trainer.step == 4
