"""Rows at sizes of their own: against sliced models, against each row alone, against the plain."""

import functools
import re
from dataclasses import replace

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alignreg_jax.models import xlmr
from alignreg_jax.models.slicing import sliced
from alignreg_jax.training.state import flatten

LAYERS, HEADS, HEAD_SIZE, FFN, LABELS = 3, 4, 4, 12, 3
CONFIG = xlmr.XlmrConfig(
    vocab_size=30,
    hidden_size=HEADS * HEAD_SIZE,
    num_layers=LAYERS,
    num_heads=HEADS,
    intermediate_size=FFN,
    max_positions=16,
)
LENGTHS = np.array([9, 4, 6, 1], np.int32)
KEY = jax.random.key(5)
MIXED = np.float32([1, 0.25, 0.6, 0])


def batch():
    ids = np.random.default_rng(0).integers(3, CONFIG.vocab_size, (4, 9)).astype(np.int32)
    ids = np.where(np.arange(9) < LENGTHS[:, None], ids, CONFIG.pad_token_id)
    return jnp.asarray(ids), jnp.asarray(LENGTHS)


@functools.cache
def parameters():
    """Biases included at random: a unit that is not there must not leave its own behind."""
    shapes = jax.eval_shape(lambda key: xlmr.init_params(model(), key), KEY)
    draw = np.random.default_rng(1).normal
    leaves = {
        path: draw(path.endswith("scale"), 0.3, leaf.shape).astype(np.float32)
        for path, leaf in flatten(shapes).items()
    }
    return traverse_util.unflatten_dict(leaves, sep="/")


def model(config=CONFIG, **options):
    return xlmr.XlmrModel(config, "dense-tanh-out", LABELS, **options)


@functools.cache
def thresholds(seed=2, layers=True):
    """Uneven between layers, some exactly a size; the second layer is there from size 1/2 on."""
    draw = np.random.default_rng(seed).random
    tau = {"heads": draw((LAYERS, HEADS)), "ffn": draw((LAYERS, FFN))}
    tau["heads"][:, 1], tau["ffn"][:, 5] = (1, 0.25, 0.6), 1
    tau |= {"layers": np.array([0.0, 0.5, 0.0])} if layers else {}
    return {kind: leaf.astype(np.float32) for kind, leaf in tau.items()}


def units_of(tau, size):
    return {kind: leaf <= np.float32(size) for kind, leaf in tau.items()}


compiled = jax.jit(xlmr.logits, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradients(network, params, elastic=None, key=None):
    def loss(params):
        return jnp.mean(xlmr.logits(network, params, *batch(), key, elastic) ** 2)

    return jax.value_and_grad(loss)(params)


def assert_close(found, expected, tolerance):
    found, expected = (flatten(jax.device_get(tree)) for tree in (found, expected))
    assert found.keys() == expected.keys()
    for path, leaf in expected.items():
        error = np.abs(found[path] - leaf).max(initial=0)
        assert error <= tolerance * max(1, np.abs(leaf).max(initial=0)), path


@settings(deadline=None, max_examples=4)
@example(seed=2, layers=True, size=0.25)
@example(seed=2, layers=True, size=0.0)
@given(seed=st.integers(0, 99), layers=st.booleans(), size=st.floats(0, 1))
def test_at_a_size_it_computes_what_the_sliced_model_does(seed, layers, size):
    tau = thresholds(seed, layers)
    smaller, config = sliced(parameters(), CONFIG, units_of(tau, size))
    found = compiled(model(), parameters(), *batch(), elastic=(tau, np.full(4, size)))
    expected = compiled(model(config), smaller, *batch())
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "options", [{}, {"remat": True}, {"unroll": LAYERS}, {"attention": "xla"}], ids=str
)
def test_rows_of_mixed_sizes_are_those_of_each_size_alone(options):
    found = compiled(model(**options), parameters(), *batch(), elastic=(thresholds(), MIXED))
    for row, size in enumerate(MIXED):
        smaller, config = sliced(parameters(), CONFIG, units_of(thresholds(), size))
        ids, lengths = (part[row : row + 1] for part in batch())
        expected = compiled(model(config), smaller, ids, lengths)
        np.testing.assert_allclose(found[row], expected[0], atol=1e-5, rtol=0)
    assert np.abs(found - compiled(model(), parameters(), *batch()))[1:].min() > 1e-3


def test_in_bfloat16_rows_are_those_of_the_sliced_model():
    coarse = functools.partial(model, dtype=jnp.bfloat16)
    found = compiled(coarse(), parameters(), *batch(), elastic=(thresholds(), MIXED))
    assert found.dtype == jnp.float32
    for row, size in enumerate(MIXED):
        smaller, config = sliced(parameters(), CONFIG, units_of(thresholds(), size))
        expected, fine = (
            compiled(network, smaller, *batch())[row]
            for network in (coarse(config=config), model(config))
        )
        # As far as bfloat16 itself is from float32
        assert np.abs(found[row] - expected).max() <= max(np.abs(fine - expected).max(), 1e-3)


@pytest.mark.exact
@pytest.mark.parametrize(
    "options",
    [{}, {"remat": True}, {"unroll": LAYERS}, {"attention": "xla"}, {"dtype": jnp.bfloat16}],
    ids=str,
)
def test_at_size_1_not_a_bit_is_another(options):
    network = model(**options)
    whole = (thresholds(), np.ones(4, np.float32))
    np.testing.assert_array_equal(
        compiled(network, parameters(), *batch(), elastic=whole),
        compiled(network, parameters(), *batch()),
    )
    at_full_size = compiled(network, parameters(), *batch(), elastic=(thresholds(), MIXED))[0]
    np.testing.assert_array_equal(at_full_size, compiled(network, parameters(), *batch())[0])


@pytest.mark.parametrize("options", [{}, {"remat": True}, {"unroll": LAYERS}], ids=str)
def test_gradients_are_those_of_the_sliced_model(options):
    tau = thresholds()
    units = units_of(tau, 0.4)
    smaller, config = sliced(parameters(), CONFIG, units)
    expected, gradients = loss_and_gradients(model(config), smaller)
    elastic = (tau, np.full(4, 0.4, np.float32))
    found, others = loss_and_gradients(model(**options), parameters(), elastic)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert_close(sliced(others, CONFIG, units)[0], gradients, 1e-5)
    # Nothing reaches what is not there
    gone = ~np.repeat(units["heads"], HEAD_SIZE, axis=1) | ~units["layers"][:, None]
    assert not np.any(others["encoder"]["attention"]["output"]["kernel"][gone])
    assert not np.any(others["encoder"]["intermediate"]["bias"][~units["ffn"]])


def test_gradients_of_mixed_sizes_are_the_mean_over_rows():
    _, together = loss_and_gradients(model(), parameters(), (thresholds(), MIXED))

    @jax.jit
    def alone(ids, lengths, size):
        def loss(params):
            given = ids[None], lengths[None], None, (thresholds(), size[None])
            return jnp.mean(xlmr.logits(model(), params, *given) ** 2)

        return jax.grad(loss)(parameters())

    parts = [alone(*row, size) for *row, size in zip(*batch(), MIXED, strict=True)]
    assert_close(together, jax.tree.map(lambda *leaves: sum(leaves) / 4, *parts), 1e-5)


def test_dropout_is_drawn_as_without_sizes():
    whole = (thresholds(), np.ones(4, np.float32))
    plain, elastic = (
        loss_and_gradients(model(), parameters(), given, KEY) for given in (None, whole)
    )
    assert_close(dict(zip("lg", elastic, strict=True)), dict(zip("lg", plain, strict=True)), 1e-6)


def test_hidden_states_come_along():
    given = model(), parameters(), *batch()
    logits, states = jax.jit(xlmr.logits_and_states, static_argnums=0)(
        *given, elastic=(thresholds(), MIXED)
    )
    expected = compiled(*given, elastic=(thresholds(), MIXED))
    np.testing.assert_allclose(logits, expected, atol=1e-6, rtol=0)
    states = np.asarray(states)
    np.testing.assert_array_equal(states[2][[1, 3]], states[1][[1, 3]])  # rows below 1/2 skip it
    assert np.abs(states[2] - states[1])[[0, 2]].max() > 0.1


def test_a_layer_without_units_is_not_a_layer_that_is_left_out():
    """Without units it still normalises and adds biases; both sliced forms are exact."""
    always = {kind: np.zeros_like(leaf) for kind, leaf in thresholds().items()}
    empty = {kind: np.copy(leaf) for kind, leaf in always.items() if kind != "layers"}
    for leaf in empty.values():
        leaf[1] = 1
    skipped = {**always, "layers": np.float32([0, 1, 0])}
    found = []
    for tau in (empty, skipped):
        smaller, config = sliced(parameters(), CONFIG, units_of(tau, 0.5))
        elastic = (tau, np.full(4, 0.5))
        found.append(compiled(model(), parameters(), *batch(), elastic=elastic))
        expected = compiled(model(config), smaller, *batch())
        np.testing.assert_allclose(found[-1], expected, atol=1e-5, rtol=0)
    assert np.abs(found[0] - found[1]).max() > 1e-2


def test_output_rows_at_zero_are_the_unit_removed():
    """In float64: removed, at zero, and below its threshold are the same; columns at zero are not.

    Without its columns a unit still gives what its biases make of nothing.
    """
    config = replace(CONFIG, num_layers=1)
    params = {
        **parameters(),
        "encoder": jax.tree.map(lambda leaf: leaf[:1], parameters()["encoder"]),
    }
    units = {"heads": np.arange(HEADS)[None] != 1, "ffn": np.arange(FFN)[None] != 5}
    rows, columns = (without(params, units, axis) for axis in ("rows", "columns"))
    plain, at_zero, leaking = (
        exact.logits(config, "dense-tanh-out", each, *batch()) for each in (params, rows, columns)
    )
    tau = {kind: (~leaf).astype(np.float32) for kind, leaf in units.items()}
    found = compiled(model(config), params, *batch(), elastic=(tau, np.full(4, 0.5)))
    np.testing.assert_allclose(found, at_zero, atol=1e-5, rtol=0)
    assert np.abs(leaking - at_zero).max() > 1e-3
    assert np.abs(plain - at_zero).max() > 1e-3
    # What leaks is a constant, which the output's bias can hold
    np.testing.assert_allclose(
        exact.logits(config, "dense-tanh-out", folded(rows), *batch()), leaking, atol=1e-12
    )


def without(params, units, axis):
    """Kernels of all other units at zero: their output rows, or the columns that they read with."""
    encoder = jax.tree.map(np.copy, params["encoder"])
    heads = np.repeat(units["heads"], HEAD_SIZE, axis=1)
    if axis == "rows":
        encoder["attention"]["output"]["kernel"] *= heads[..., None]
        encoder["output"]["kernel"] *= units["ffn"][..., None]
    else:
        for name in ("query", "key", "value"):
            encoder["attention"][name]["kernel"] *= heads[:, None]
        encoder["intermediate"]["kernel"] *= units["ffn"][:, None]
    return {**params, "encoder": encoder}


def folded(params):
    """Head 1 and unit 5 as constants: b_V O and gelu(b_in) W_out, into the output biases."""
    whole = jax.tree.map(lambda leaf: np.float64(leaf), parameters()["encoder"])
    encoder = jax.tree.map(lambda leaf: np.float64(leaf), params["encoder"])
    own = slice(HEAD_SIZE, 2 * HEAD_SIZE)
    value = whole["attention"]["value"]["bias"][0, own]
    encoder["attention"]["output"]["bias"] += value @ whole["attention"]["output"]["kernel"][0, own]
    with jax.enable_x64(True):
        inner = np.asarray(jax.nn.gelu(whole["intermediate"]["bias"][0, 5], approximate=False))
    encoder["output"]["bias"] += inner * whole["output"]["kernel"][0, 5]
    return {**params, "encoder": encoder}


def test_the_order_of_units_means_nothing():
    draw = np.random.default_rng(3)
    order = {"heads": draw.permutation(HEADS), "ffn": draw.permutation(FFN)}
    entries = (order["heads"][:, None] * HEAD_SIZE + np.arange(HEAD_SIZE)).ravel()
    encoder = jax.tree.map(np.copy, parameters()["encoder"])
    attention = encoder["attention"]
    for name in ("query", "key", "value"):
        attention[name] = {key: leaf[..., entries] for key, leaf in attention[name].items()}
    attention["output"]["kernel"] = attention["output"]["kernel"][:, entries]
    encoder["intermediate"] = {
        key: leaf[..., order["ffn"]] for key, leaf in encoder["intermediate"].items()
    }
    encoder["output"]["kernel"] = encoder["output"]["kernel"][:, order["ffn"]]
    tau = thresholds()
    moved = {**tau, **{kind: tau[kind][:, order[kind]] for kind in order}}
    expected = compiled(model(), parameters(), *batch(), elastic=(tau, MIXED))
    other = {**parameters(), "encoder": encoder}
    found = compiled(model(), other, *batch(), elastic=(moved, MIXED))
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    unmoved = compiled(model(), other, *batch(), elastic=(tau, MIXED))
    assert np.abs(unmoved - expected).max() > 1e-2


def test_one_program_serves_all_sizes():
    forward = jax.jit(lambda *given: xlmr.logits(model(), *given[:3], None, given[3:]))
    for seed in (0, 1):
        for sizes in (MIXED, np.ones(4, np.float32), MIXED[::-1]):
            forward(parameters(), *batch(), thresholds(seed), sizes)
    assert forward._cache_size() == 1


def test_without_sizes_there_is_nothing_of_them_in_the_program():
    """Neither a comparison with sizes nor a choice between layers."""

    def operations(elastic):
        text = str(jax.make_jaxpr(lambda p: compiled(model(), p, *batch(), elastic=elastic))(
            parameters()
        ))  # fmt: skip
        return {name: len(re.findall(rf"= {name}\b", text)) for name in ("le", "select_n", "mul")}

    plain, elastic = operations(None), operations((thresholds(), MIXED))
    assert elastic["le"] == plain["le"] + 3
    assert elastic["mul"] == plain["mul"] + 2


def test_what_does_not_fit():
    tau = thresholds()

    def wrong(match, tau=tau, sizes=MIXED, config=CONFIG, params=None):
        params = params or parameters()
        for function in (xlmr.logits, xlmr.logits_and_states):
            with pytest.raises(ValueError, match=match):
                function(model(config), params, *batch(), elastic=(tau, sizes))

    wrong(r"of ffn are \[2, 12\], the encoder has \[3, 12\]", {**tau, "ffn": tau["ffn"][1:]})
    wrong(r"of layers are \[2\], the encoder has \[3\]", {**tau, "layers": tau["layers"][1:]})
    wrong(r"thresholds are of heads; there are", {"heads": tau["heads"]})
    wrong(r"thresholds are of ffn, heads, hidden;", {**thresholds(layers=False), "hidden": MIXED})
    wrong(r"sizes are \[3\], the batch has 4 rows", sizes=MIXED[1:])
    units = {"heads": tau["heads"] < 0.5, "ffn": tau["ffn"] < 0.5}
    smaller, uneven = sliced(parameters(), CONFIG, units)
    wrong("need layers of equal sizes", config=uneven, params=smaller)


def test_layers_that_are_left_out_are_not_stored():
    units = {"heads": np.ones((LAYERS, HEADS), bool), "ffn": np.ones((LAYERS, FFN), bool)}
    smaller, config = sliced(
        parameters(), CONFIG, {**units, "layers": np.array([True, False, True])}
    )
    assert config == replace(CONFIG, num_layers=2)
    kept = jax.tree.map(lambda leaf: leaf[[0, 2]], parameters()["encoder"])
    assert_close(smaller, {**parameters(), "encoder": kept}, 0)
    with pytest.raises(ValueError, match="no layer is kept"):
        sliced(parameters(), CONFIG, {**units, "layers": np.zeros(LAYERS, bool)})
    with pytest.raises(ValueError, match=r"mask of layers is \[2\], the encoder has \[3\]"):
        sliced(parameters(), CONFIG, {**units, "layers": np.ones(2, bool)})
