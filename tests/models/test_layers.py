"""Encoder layers of explicit sizes: uneven against masked ones, the loop against the scan."""

import functools
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alignreg_jax.models import xlmr
from alignreg_jax.models.slicing import check_sizes, evened, padded, sliced
from alignreg_jax.training.state import flatten

LAYERS, HEADS, HEAD_SIZE, FFN, LABELS = 2, 4, 4, 12, 3
CONFIG = xlmr.XlmrConfig(
    vocab_size=30,
    hidden_size=HEADS * HEAD_SIZE,
    num_layers=LAYERS,
    num_heads=HEADS,
    intermediate_size=FFN,
    max_positions=16,
)
LOOP = replace(CONFIG, heads=(HEADS,) * LAYERS, ffn=(FFN,) * LAYERS)
LENGTHS = np.array([9, 4, 6, 1], np.int32)
KEY = jax.random.key(5)


def batch():
    ids = np.random.default_rng(0).integers(3, CONFIG.vocab_size, (4, 9)).astype(np.int32)
    ids = np.where(np.arange(9) < LENGTHS[:, None], ids, CONFIG.pad_token_id)
    return jnp.asarray(ids), jnp.asarray(LENGTHS)


@functools.cache
def parameters(head="token"):
    """Of the even model, biases included at random."""
    shapes = jax.eval_shape(lambda key: xlmr.init_params(model(CONFIG, head), key), KEY)
    draw = np.random.default_rng(1).normal
    leaves = {
        path: draw(path.endswith("scale"), 0.3, leaf.shape).astype(np.float32)
        for path, leaf in flatten(shapes).items()
    }
    return traverse_util.unflatten_dict(leaves, sep="/")


def model(config, head="token", **options):
    return xlmr.XlmrModel(config, head, LABELS, **options)


def one_by_one(params):
    """Stacked parameters in the form of the loop."""
    layers = {
        str(index): jax.tree.map(lambda leaf, index=index: leaf[index], params["encoder"])
        for index in range(LAYERS)
    }
    return {**params, "encoder": layers}


def masked(params, units):
    """The stacked model with the output rows of all other units at zero."""
    encoder = params["encoder"]
    heads = np.repeat(units["heads"], HEAD_SIZE, axis=1)[..., None]
    attention, output = encoder["attention"], encoder["output"]
    projection = {**attention["output"], "kernel": attention["output"]["kernel"] * heads}
    output = {**output, "kernel": output["kernel"] * units["ffn"][..., None]}
    encoder = {**encoder, "attention": {**attention, "output": projection}, "output": output}
    return {**params, "encoder": encoder}


compiled = jax.jit(xlmr.logits, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradients(network, params, key=None):
    """Padding counts, too, but for attention; it computes the same in both models."""

    def loss(params):
        return jnp.mean(xlmr.logits(network, params, *batch(), key) ** 2)

    return jax.value_and_grad(loss)(params)


def assert_close(found, expected, tolerance):
    found, expected = (flatten(jax.device_get(tree)) for tree in (found, expected))
    assert found.keys() == expected.keys()
    for path, leaf in expected.items():
        assert found[path].shape == leaf.shape, path
        if leaf.size:
            error = np.abs(found[path] - leaf).max()
            assert error <= tolerance * max(1, np.abs(leaf).max()), path


def pattern(heads, ffn):
    """The first units of every layer, so many of each kind."""
    return {
        "heads": np.arange(HEADS) < np.array(heads)[:, None],
        "ffn": np.arange(FFN) < np.array(ffn)[:, None],
    }


UNEVEN = pattern((2, 0), (0, 5))
patterns = st.fixed_dictionaries(
    {"heads": arrays(bool, (LAYERS, HEADS)), "ffn": arrays(bool, (LAYERS, FFN))}
)


@settings(deadline=None, max_examples=5)
@example(units=UNEVEN, head="token")
@example(units=pattern((0, 0), (0, 0)), head="dense-tanh-out")
@given(units=patterns, head=st.sampled_from(["token", "dense-tanh-out"]))
def test_without_units_it_computes_what_it_does_with_their_output_rows_at_zero(units, head):
    params = parameters(head)
    smaller, config = sliced(params, CONFIG, units)
    assert [(each.heads, each.head_size, each.ffn) for each in config.layers] == [
        (heads.sum(), HEAD_SIZE, ffn.sum())
        for heads, ffn in zip(units["heads"], units["ffn"], strict=True)
    ]
    expected = compiled(model(CONFIG, head), masked(params, units), *batch())
    found = compiled(model(config, head), smaller, *batch())
    if head == "token":
        valid = np.arange(9) < LENGTHS[:, None]
        expected, found = expected[valid], found[valid]
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=5)
@example(units=UNEVEN, head="token")
@given(units=patterns, head=st.sampled_from(["token", "dense-tanh-out"]))
def test_layers_that_are_filled_up_with_zeros_compute_what_they_did(units, head):
    smaller, config = sliced(parameters(head), CONFIG, units)
    even = evened(config)
    assert even.stacked
    filled = smaller if config.stacked else padded(smaller, config)
    expected = compiled(model(config, head), smaller, *batch())
    found = compiled(model(even, head), filled, *batch())
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    most = {kind: units[kind].sum(axis=1).max() for kind in ("heads", "ffn")}
    assert (even.layers[0].heads, even.layers[0].ffn) == (most["heads"], most["ffn"])


def test_gradients_of_uneven_layers_are_those_of_the_masked_model():
    smaller, config = sliced(parameters(), CONFIG, UNEVEN)
    expected, gradients = loss_and_gradients(model(CONFIG), masked(parameters(), UNEVEN))
    found, others = loss_and_gradients(model(config), smaller)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert_close(others, sliced(gradients, CONFIG, UNEVEN)[0], 1e-5)


def test_the_loop_computes_what_the_scan_does():
    expected, gradients = loss_and_gradients(model(CONFIG), parameters())
    found, others = loss_and_gradients(model(LOOP), one_by_one(parameters()))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert_close(others, one_by_one(gradients), 1e-6)
    states = (
        jax.jit(xlmr.hidden_states, static_argnums=0)(model(config), params, *batch())
        for config, params in ((CONFIG, parameters()), (LOOP, one_by_one(parameters())))
    )
    np.testing.assert_allclose(*states, atol=1e-6, rtol=0)


def test_uneven_layers_train_with_dropout_and_rematerialisation():
    smaller, config = sliced(parameters(), CONFIG, UNEVEN)
    dropping = replace(config, hidden_dropout=0.0)  # attention weights only: less to compile
    plain = loss_and_gradients(model(dropping), smaller, KEY)
    again = loss_and_gradients(model(dropping, remat=True), smaller, KEY)
    assert_close({"loss": again[0], **again[1]}, {"loss": plain[0], **plain[1]}, 1e-6)
    assert abs(plain[0] - loss_and_gradients(model(config), smaller)[0]) > 1e-3
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(plain))


def test_fused_attention_serves_uneven_layers():
    """A layer without heads has nothing to fuse."""
    smaller, config = sliced(parameters(), CONFIG, UNEVEN)
    plain, fused = (
        compiled(model(config, attention=name), smaller, *batch()) for name in ("einsum", "xla")
    )
    np.testing.assert_allclose(plain, fused, atol=1e-5, rtol=0)


def test_every_layer_of_a_loop_drops_other_elements():
    """Equal layers that forget their input: each gives the normalised, dropped bias of `output`."""
    config = replace(LOOP, hidden_dropout=0.5, attention_dropout=0.0)
    params = jax.tree.map(np.zeros_like, one_by_one(parameters()))
    for layer in params["encoder"].values():
        layer["output"]["bias"] += 1
        layer["layer_norm"]["scale"] += 1
        layer["layer_norm"]["bias"] += 1
    apply = jax.jit(functools.partial(model(config).apply, method="encode"))
    _, outputs, _ = apply({"params": params}, *batch(), rngs={"dropout": KEY})
    dropped = np.asarray(outputs) < 1  # after LayerNorm: below the mean, which is its bias
    assert all(0.4 < layer.mean() < 0.6 for layer in dropped)
    correlations = np.corrcoef(dropped.reshape(LAYERS, -1))
    assert np.abs(correlations - np.eye(LAYERS)).max() < 5 / np.sqrt(dropped[0].size)


def test_parameters_are_stacked_where_layers_are_even_and_otherwise_by_layer():
    whole, config = sliced(parameters(), CONFIG, pattern((4, 4), (12, 12)))
    assert config == CONFIG
    assert_close(whole, parameters(), 0)
    halves, config = sliced(parameters(), CONFIG, pattern((2, 2), (6, 6)))
    assert config == replace(CONFIG, num_heads=2, intermediate_size=6, head_size=HEAD_SIZE)
    assert halves["encoder"]["attention"]["output"]["kernel"].shape == (2, 8, 16)
    assert halves["encoder"]["intermediate"]["kernel"].shape == (2, 16, 6)

    smaller, config = sliced(parameters(), CONFIG, UNEVEN)
    assert (config.heads, config.ffn) == ((2, 0), (0, 5))
    drawn = jax.eval_shape(lambda key: xlmr.init_params(model(config), key), KEY)
    shapes = {path: leaf.shape for path, leaf in flatten(drawn).items()}
    assert shapes == {path: leaf.shape for path, leaf in flatten(smaller).items()}
    assert shapes["encoder/1/attention/query/kernel"] == (16, 0)
    assert shapes["encoder/1/attention/output/kernel"] == (0, 16)
    assert shapes["encoder/0/output/kernel"] == (0, 16)
    assert shapes["encoder/0/output/bias"] == (16,)
    assert all(leaf.dtype == np.float32 for leaf in flatten(drawn).values())


def test_which_parameters_a_unit_has():
    """One layer, two heads of 1, three units: the second head and the second unit go."""
    config = xlmr.XlmrConfig(5, 2, 1, 2, 3, 4)
    shapes = jax.eval_shape(lambda key: xlmr.init_params(model(config), key), KEY)
    params = jax.tree.map(
        lambda leaf: np.arange(np.prod(leaf.shape), dtype=np.float32).reshape(leaf.shape), shapes
    )
    units = {"heads": np.array([[True, False]]), "ffn": np.array([[True, False, True]])}
    leaves = flatten(sliced(params, config, units)[0]["encoder"])
    for name in ("query", "key", "value"):
        assert leaves[f"attention/{name}/kernel"].tolist() == [[[0], [2]]]
        assert leaves[f"attention/{name}/bias"].tolist() == [[0]]
    assert leaves["attention/output/kernel"].tolist() == [[[0, 1]]]
    assert leaves["attention/output/bias"].tolist() == [[0, 1]]
    assert leaves["intermediate/kernel"].tolist() == [[[0, 2], [3, 5]]]
    assert leaves["intermediate/bias"].tolist() == [[0, 2]]
    assert leaves["output/kernel"].tolist() == [[[0, 1], [4, 5]]]
    assert leaves["output/bias"].tolist() == [[0, 1]]


@pytest.mark.parametrize("options", [{}, {"remat": True}, {"unroll": LAYERS}])
def test_a_head_size_that_is_stated_changes_no_operation(options):
    """Even layers are one scan, whichever way their sizes are said."""
    stated = replace(CONFIG, head_size=HEAD_SIZE)
    said, derived = (
        re.sub(
            "0x[0-9a-f]+",
            "",
            str(
                jax.make_jaxpr(loss_and_gradients, static_argnums=0)(
                    model(config, **options), parameters(), KEY
                )
            ),
        )
        for config in (stated, CONFIG)
    )
    assert said == derived
    assert said.count("scan[") == 2  # forward and backward


def test_sizes_that_disagree_are_an_error_that_names_the_layer():
    smaller, config = sliced(parameters(), CONFIG, UNEVEN)
    more = replace(config, heads=(2, 1))
    said = r"encoder layer 1: attention/query/kernel is \[16, 0\], .* 1 heads of 4 and 5 feed-"
    for function in (xlmr.logits, xlmr.hidden_states):
        with pytest.raises(ValueError, match=said):
            jax.eval_shape(lambda f=function: f(model(more), smaller, *batch()))
    with pytest.raises(ValueError, match=r"layer 0: intermediate/kernel is \[16, 0\]"):
        check_sizes(smaller["encoder"], replace(config, ffn=(1, 5)))
    with pytest.raises(ValueError, match=r"layer 0: attention/query/kernel is \[16, 16\], .*of 8"):
        check_sizes(parameters()["encoder"], replace(CONFIG, head_size=8))
    fewer = replace(config, num_layers=1, heads=(2,), ffn=(0,))
    with pytest.raises(ValueError, match=r"of layers 0, 1; the architecture has 0$"):
        check_sizes(smaller["encoder"], fewer)
    with pytest.raises(ValueError, match=r"are stacked layers, .* a subtree for each layer"):
        check_sizes(parameters()["encoder"], config)
    with pytest.raises(ValueError, match=r"are a subtree for each layer, .* stacked layers"):
        check_sizes(smaller["encoder"], CONFIG)


def test_other_errors():
    smaller, config = sliced(parameters(), CONFIG, UNEVEN)
    with pytest.raises(ValueError, match="heads lists 3 layers of 2"):
        replace(CONFIG, heads=(2, 2, 2))
    with pytest.raises(ValueError, match="only stacked layers"):
        sliced(smaller, config, UNEVEN)
    with pytest.raises(ValueError, match=r"mask of ffn is \[1, 12\], the encoder has \[2, 12\]"):
        sliced(parameters(), CONFIG, {**UNEVEN, "ffn": UNEVEN["ffn"][:1]})
