"""Heads and feed-forward units: masks, exact gates, and what the loss says of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.pruning import masks, units
from alignreg_jax.pruning.kernels import KERNELS


def filled(layers, hidden, size, heads, seed=0):
    """Kernels of a model with `heads` heads of `size`, and 3 feed-forward units."""
    generator = np.random.default_rng(seed)
    wide, ffn = heads * size, 3
    shapes = {
        "attention/query": (layers, hidden, wide),
        "attention/key": (layers, hidden, wide),
        "attention/value": (layers, hidden, wide),
        "attention/output": (layers, wide, hidden),
        "intermediate": (layers, hidden, ffn),
        "output": (layers, ffn, hidden),
    }
    return {name: jnp.asarray(generator.normal(size=shapes[name]), jnp.float32) for name in KERNELS}


def test_expand_by_hand():
    """specs: one layer, two heads of one column, hidden 2, three units: 16 of 28 weights stay."""
    kernels = filled(1, 2, 1, 2)
    kept = {"heads": jnp.array([[True, False]]), "ffn": jnp.array([[True, False, True]])}
    found = units.expand(kept, kernels)
    for name in ("attention/query", "attention/key", "attention/value"):
        np.testing.assert_array_equal(found[name][0], [[1, 0], [1, 0]])
    np.testing.assert_array_equal(found["attention/output"][0], [[1, 1], [0, 0]])
    np.testing.assert_array_equal(found["intermediate"][0], [[1, 0, 1], [1, 0, 1]])
    np.testing.assert_array_equal(found["output"][0], [[1, 1], [0, 0], [1, 1]])
    assert masks.statistics(kernels, found)["kept"] == 16
    assert list(found) == list(KERNELS)


def test_costs_are_those_of_the_weights_that_go(xlmr_base):
    base = {name: jax.ShapeDtypeStruct((12, 768, 768), jnp.float32) for name in KERNELS}
    base["intermediate"] = jax.ShapeDtypeStruct((12, 768, 3072), jnp.float32)
    base["output"] = jax.ShapeDtypeStruct((12, 3072, 768), jnp.float32)
    cost, shape = units.costs(base, 12), units.shapes(base, 12)
    assert cost == {"heads": 196_608, "ffn": 1_536}
    assert shape == {"heads": (12, 12), "ffn": (12, 3072)}
    total = sum(cost[kind] * np.prod(shape[kind]) for kind in units.UNITS)
    assert total == sum(count * size for count, size in xlmr_base.values())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(1, 1), (2, 3), (3, 2)]))
def test_kept_weights_cost_what_their_units_do(seed, shape):
    heads, size = shape
    kernels = filled(2, 4, size, heads, seed)
    generator = np.random.default_rng(seed)
    kept = {
        kind: jnp.asarray(generator.random(own) < 0.5)
        for kind, own in units.shapes(kernels, heads).items()
    }
    cost = units.costs(kernels, heads)
    expected = sum(cost[kind] * int(kept[kind].sum()) for kind in units.UNITS)
    assert masks.statistics(kernels, units.expand(kept, kernels))["kept"] == expected
    # What a gate of 0 takes from the rows is among what the mask takes
    gated = units.gate(kernels, {kind: leaf.astype(jnp.float32) for kind, leaf in kept.items()})
    expanded = masks.apply(kernels, units.expand(kept, kernels))
    for name in ("attention/output", "output"):
        np.testing.assert_array_equal(gated[name], expanded[name])


def test_open_gates_change_no_bit():
    kernels = filled(2, 4, 2, 3)
    gates = {kind: jnp.ones(shape) for kind, shape in units.shapes(kernels, 3).items()}
    for name, leaf in units.gate(kernels, gates).items():
        np.testing.assert_array_equal(leaf, kernels[name])


def test_importance_is_the_derivative_in_a_gate():
    kernels, target = filled(2, 4, 2, 3), filled(2, 4, 2, 3, seed=1)

    def loss(kernels):
        return sum(jnp.sum(jnp.sin(kernels[name] * target[name])) for name in KERNELS)

    gates = {kind: jnp.ones(shape) for kind, shape in units.shapes(kernels, 3).items()}
    expected = jax.grad(lambda gates: loss(units.gate(kernels, gates)))(gates)
    found = units.importance(kernels, jax.grad(loss)(kernels), 3)
    assert found.keys() == expected.keys()
    for kind, leaf in expected.items():
        np.testing.assert_allclose(found[kind], leaf, rtol=1e-5, atol=1e-6)


def test_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="4 heads do not divide 6 columns"):
        units.shapes(filled(2, 4, 2, 3), 4)
