"""What an empty unit adds, and that nothing else changes: in float64, unit after unit."""

import empties
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from alignreg_jax.compress.empty_units import fold, gelu
from alignreg_jax.models.architecture import XlmrConfig
from alignreg_jax.models.slicing import sliced

LAYERS, HEADS, SIZE, FFN = 2, 3, 2, 5
CONFIG = XlmrConfig(9, HEADS * SIZE, LAYERS, HEADS, FFN, 8)
HIDDEN = np.random.default_rng(1).normal(size=(4, HEADS * SIZE))
KINDS = {"heads": HEADS, "ffn": FFN}


def parameters(dtype=np.float64):
    random, hidden = np.random.default_rng(0), HEADS * SIZE
    shapes = {f"attention/{name}": (hidden, hidden) for name in ("query", "key", "value", "output")}
    shapes |= {"intermediate": (hidden, FFN), "output": (FFN, hidden)}
    leaves = {}
    for name, (rows, columns) in shapes.items():
        leaves[f"encoder/{name}/kernel"] = random.normal(size=(LAYERS, rows, columns))
        leaves[f"encoder/{name}/bias"] = random.normal(size=(LAYERS, columns))
    for name in ("attention/layer_norm", "layer_norm"):
        for part in ("scale", "bias"):
            leaves[f"encoder/{name}/{part}"] = random.normal(1, 0.2, (LAYERS, hidden))
    return empties.nested({path: leaf.astype(dtype) for path, leaf in leaves.items()})


def changed(path, place, value=0.0, params=None):
    """Parameters with a part of a leaf set to a value."""
    leaves = {name: np.array(leaf) for name, leaf in empties.flat(params or parameters()).items()}
    leaves[f"encoder/{path}"][place] = value
    return empties.nested(leaves)


def head(number):
    return slice(number * SIZE, (number + 1) * SIZE)


def difference(params, found):
    """Between a model and that without its empty units, over all layers."""
    smaller, _ = sliced(found.params, CONFIG, found.kept)
    return np.abs(empties.run(params, HIDDEN, SIZE) - empties.run(smaller, HIDDEN, SIZE)).max()


def removed(found):
    return {kind: np.argwhere(~found.kept[kind]).tolist() for kind in KINDS}


@pytest.mark.parametrize(
    ("path", "place", "units"),
    [
        ("attention/output/kernel", (1, head(2)), {"heads": [[1, 2]], "ffn": []}),
        ("output/kernel", (0, 3), {"heads": [], "ffn": [[0, 3]]}),
    ],
)
def test_without_output_rows_it_is_the_same_to_the_bit(path, place, units):
    params = changed(path, place)
    found = fold(params, CONFIG)
    assert removed(found) == units
    assert found.needed == {"heads": 0, "ffn": 0}
    assert difference(params, found) == 0


def test_a_head_without_values_adds_its_value_bias_through_the_output():
    params = parameters()
    for name in ("query", "key", "value"):
        params = changed(f"attention/{name}/kernel", (0, slice(None), head(1)), params=params)
    found, attention = fold(params, CONFIG), params["encoder"]["attention"]
    assert removed(found) == {"heads": [[0, 1]], "ffn": []}
    assert found.needed == {"heads": 1, "ffn": 0}
    constant = attention["value"]["bias"][0, head(1)] @ attention["output"]["kernel"][0, head(1)]
    new = found.params["encoder"]["attention"]["output"]["bias"]
    np.testing.assert_allclose(new[0] - attention["output"]["bias"][0], constant, atol=1e-15)
    np.testing.assert_array_equal(new[1], attention["output"]["bias"][1])
    assert difference(params, found) < 1e-14


def test_a_unit_without_inputs_adds_gelu_of_its_bias():
    params = changed("intermediate/kernel", (1, slice(None), 4))
    found, encoder = fold(params, CONFIG), params["encoder"]
    assert removed(found) == {"heads": [], "ffn": [[1, 4]]}
    bias = encoder["intermediate"]["bias"][1, 4]
    constant = bias * norm.cdf(bias) * encoder["output"]["kernel"][1, 4]
    new = found.params["encoder"]["output"]["bias"]
    np.testing.assert_allclose(new[1] - encoder["output"]["bias"][1], constant, atol=1e-15)
    assert difference(params, found) < 1e-14


def test_a_head_without_query_or_key_is_in_use():
    """It averages values: without it the output would be another."""
    for name in ("query", "key"):
        params = changed(f"attention/{name}/kernel", (0, slice(None), head(0)))
        assert removed(fold(params, CONFIG)) == {"heads": [], "ffn": []}
        kept = {"heads": np.ones((LAYERS, HEADS), bool), "ffn": np.ones((LAYERS, FFN), bool)}
        kept["heads"][0, 0] = False
        assert difference(params, fold(params, CONFIG)._replace(kept=kept)) > 1e-2


def test_single_zeros_empty_nothing():
    params = changed("attention/output/kernel", (0, slice(0, SIZE - 1)))
    params = changed("intermediate/kernel", (0, slice(1, None), 0), params=params)
    assert removed(fold(params, CONFIG)) == {"heads": [], "ffn": []}


def test_a_constant_of_zero_needs_no_folding():
    params = changed("attention/value/kernel", (0, slice(None), head(0)))
    params = changed("attention/value/bias", (0, head(0)), params=params)
    params = changed("intermediate/kernel", (0, slice(None), 1), params=params)
    params = changed("intermediate/bias", (0, 1), params=params)
    found = fold(params, CONFIG)
    assert removed(found) == {"heads": [[0, 0]], "ffn": [[0, 1]]}
    assert found.needed == {"heads": 0, "ffn": 0}


def test_constants_are_summed_in_float64():
    """In float32 10^8 + 1 - 10^8 would be 0."""
    params = parameters(np.float32)
    params = changed("intermediate/kernel", (0, slice(None), slice(0, 3)), params=params)
    params = changed("intermediate/bias", (0, slice(0, 3)), 40.0, params=params)  # where gelu is x
    for unit, value in enumerate((1e8 / 40, 1 / 40, -1e8 / 40)):
        params = changed("output/kernel", (0, unit), np.float32(value), params=params)
    params = changed("output/bias", 0, params=params)
    new = fold(params, CONFIG).params["encoder"]["output"]["bias"]
    assert new.dtype == np.float32
    np.testing.assert_allclose(new[0], 1, rtol=1e-6)


def test_the_original_is_left_alone():
    params = changed("intermediate/kernel", (1, slice(None), 4))
    before = {path: np.array(leaf) for path, leaf in empties.flat(params).items()}
    fold(params, CONFIG)
    for path, leaf in empties.flat(params).items():
        np.testing.assert_array_equal(leaf, before[path])


patterns = st.fixed_dictionaries(
    {
        kind: arrays(np.int8, (LAYERS, units), elements=st.integers(0, 2))
        for kind, units in KINDS.items()
    }
)


@settings(deadline=None, max_examples=40)
@example(states={kind: np.ones((LAYERS, units), np.int8) for kind, units in KINDS.items()})
@example(states={kind: np.full((LAYERS, units), 2, np.int8) for kind, units in KINDS.items()})
@given(states=patterns)
def test_any_pattern_of_empty_units_computes_the_same(states):
    """0 in use, 1 silent, 2 a constant; a layer may lose everything."""
    params = parameters()
    for (layer, unit), state in np.ndenumerate(states["heads"]):
        if state:
            place = (layer, head(unit)) if state == 1 else (layer, slice(None), head(unit))
            name = "attention/output/kernel" if state == 1 else "attention/value/kernel"
            params = changed(name, place, params=params)
    for (layer, unit), state in np.ndenumerate(states["ffn"]):
        if state:
            place = (layer, unit) if state == 1 else (layer, slice(None), unit)
            name = "output/kernel" if state == 1 else "intermediate/kernel"
            params = changed(name, place, params=params)
    found = fold(params, CONFIG)
    for kind in KINDS:
        np.testing.assert_array_equal(found.kept[kind], states[kind] == 0)
        assert found.needed[kind] == np.count_nonzero(states[kind] == 2)
    assert difference(params, found) < 1e-12


def test_uneven_layers_are_refused():
    with pytest.raises(ValueError, match="only stacked"):
        fold(parameters(), CONFIG.with_sizes([1, 2], [3, 3]))


def test_gelu_is_exact():
    inputs = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(gelu(inputs), inputs * norm.cdf(inputs), atol=1e-15)
