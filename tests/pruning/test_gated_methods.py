"""Methods whose weights have gates: their penalty, samples, cuts and exports."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_cases import CLOCK, HYPER, KEY, TOP_K, of_preset, penalty_of

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import (
    gates,
    kernels,
    masks,
    methods,
)
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.method import Weights

STILL = dataclasses.replace(CLOCK, learn=False)
OPEN = 1 / (1 + np.exp(-2.4 - 2 / 3 * np.log(11)))  # that a gate is open at its start


def test_l0_counts_open_gates_per_training_example(make_kernels):
    weights = make_kernels(0)
    method = methods.build(criterion="magnitude", scope="layer", regularizer="l0")
    state = method.init(weights, KEY)
    assert state.keys() == {"gates"}
    penalty, logs = penalty_of(method, weights, weights, state=state)
    number = sum(leaf.size for leaf in weights.values())
    assert penalty == pytest.approx(OPEN * number / 10, rel=1e-5)
    assert logs["open_gates"] == pytest.approx(OPEN, rel=1e-5)
    half = {
        name: jnp.arange(leaf.size).reshape(leaf.shape) % 2 == 0 for name, leaf in weights.items()
    }
    fewer, _ = method.penalty(Weights(weights, {}), half, Weights(weights, {}), state, HYPER, CLOCK)
    assert float(fewer) == pytest.approx(float(penalty) / 2, rel=1e-6)


@pytest.mark.parametrize("name", ["l0", "l0-mbp"])
def test_lagrangians_of_l0(make_kernels, name):
    """Towards what the cut will leave: with open gates the pull is to shut them."""
    weights, target = make_kernels(0), 0.4
    method = of_preset(name)
    state = method.init(weights, KEY)
    assert state["multipliers"] == {"linear": 0, "quadratic": 5}
    assert dict(method.labels) == {"gates": "scores", "multipliers": "ascent"}

    def penalty(state):
        kernels = Weights(weights, {})
        return method.penalty(kernels, masks.ones(weights), kernels, state, HYPER, CLOCK)

    (value, logs), pull = jax.value_and_grad(penalty, has_aux=True)(state)
    scale = sum(leaf.size for leaf in weights.values()) / 10
    excess = (1 - OPEN) - (1 - target)
    assert value == pytest.approx(5 * excess**2 * scale, rel=1e-3, abs=1e-4)
    assert logs["open_gates_target"] == pytest.approx(target, rel=1e-6)
    assert pull["multipliers"]["linear"] == pytest.approx(excess * scale, rel=1e-3)
    assert pull["multipliers"]["quadratic"] == pytest.approx(excess**2 * scale, rel=1e-3, abs=1e-5)
    assert all((leaf > 0).all() for leaf in pull["gates"].values())


def test_gates_are_folded_into_the_export(make_kernels):
    weights, state = make_kernels(0), {"gates": make_kernels(2)}
    kept = {name: jnp.abs(weights[name]) > 1 for name in KERNELS}
    found = of_preset("l0-mbp").finalize(weights, kept, state)
    for name in KERNELS:
        gate = np.clip(
            1.2 / (1 + np.exp(-np.asarray(state["gates"][name], np.float64))) - 0.1, 0, 1
        )
        expected = np.where(kept[name], weights[name] * gate, 0)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-7)


def test_shut_gates_are_cut_in_their_order_and_not_by_position(make_kernels):
    """All test gates shut: the weights behind those that come nearest to opening stay."""
    weights = jax.tree.map(jnp.ones_like, make_kernels(0))
    state = {"gates": jax.tree.map(lambda leaf: -4 + 0.1 * leaf, make_kernels(2))}
    assert not any(jnp.any(leaf) for leaf in gates.fold(weights, state["gates"]).values())
    keep = masks.keep_counts(kernels.sizes(weights), 0.25, "layer")
    cut = of_preset("l0-mbp").cut
    found, _ = cut(weights, masks.ones(weights), state, {}, keep, KEY)
    expected = TOP_K(state["gates"], masks.ones(weights), keep, scope="layer")
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_sample_of_the_gates_is_the_steps(make_kernels):
    weights, method = make_kernels(0), of_preset("l0-mbp")
    state = method.init(weights, KEY)
    args = (weights, masks.ones(weights), state, HYPER, CLOCK)
    first, again, other = (
        method.effective(*args, key, True) for key in (KEY, KEY, jax.random.key(1))
    )
    tested = method.effective(*args, None, False)
    for name in KERNELS:
        np.testing.assert_array_equal(first[name], again[name])
        assert np.any(first[name] != other[name])
        np.testing.assert_array_equal(tested[name], weights[name])


def test_gates_that_stand_still_are_not_sampled(make_kernels):
    """So weights are trained as they are evaluated."""
    weights, method = make_kernels(0), of_preset("l0")
    state = {**method.init(weights, KEY), "gates": make_kernels(2)}
    args = (weights, masks.ones(weights), state, HYPER)
    trained = jax.jit(method.effective, static_argnums=6)(*args, STILL, KEY, True)
    sampled = jax.jit(method.effective, static_argnums=6)(*args, CLOCK, KEY, True)
    tested = method.effective(*args, STILL, None, False)
    for name in KERNELS:
        np.testing.assert_allclose(trained[name], tested[name], rtol=1e-5, atol=1e-7)
        assert np.mean(np.abs(sampled[name] - tested[name]) > 1e-3) > 0.5


def test_a_criterion_of_gates_needs_gates():
    with pytest.raises(UserError, match=r"^pruning\.criterion=gate needs gates: set regularizer"):
        methods.build(criterion="gate", scope="layer", regularizer="frobenius")
