"""Graphs against the JAX model, their form, and eight bits against numpy."""

from collections import Counter

import empties
import numpy as np
import onnx
import onnx_cases
import onnxruntime
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import HEADS, PLAIN, ROWS, encoded, expected, run, written

from alignreg_jax.compress.onnx import candidates, graph, quantize, sessions
from alignreg_jax.compress.onnx.products import Form
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.models.slicing import sliced

network = onnx_cases.network


def kernels(path):
    return {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("head", HEADS)
def test_a_graph_computes_what_jax_does(network, tmp_path, head):
    """On rows of several lengths in one batch, padding among them."""
    of = network[head]
    want = expected(of)
    forms = {"plain": PLAIN, "whole": Form(whole=True), "fused": Form(fused=True)}
    for form in forms.values():
        np.testing.assert_allclose(run(written(tmp_path, of, form)), want, atol=1e-5, rtol=0)


def test_a_padding_piece_in_a_text_is_attended_to_and_has_no_position(network, tmp_path):
    rows = [np.array([0, 5, 1, 7, 2], np.int32), np.array([0, 9, 2], np.int32)]
    of = network["token"]
    np.testing.assert_allclose(
        run(written(tmp_path, of), rows), expected(of, rows), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("head", ["token", "dense-tanh-out"])
def test_padding_has_no_say_in_the_scales_of_eight_bits(network, tmp_path, head):
    """The same rows in a wider batch get the same bits."""
    path = written(tmp_path, network[head], Form("int8", "int8"))
    session = sessions.session(path, 1)
    inputs = sessions.feed(ROWS, pad=1)
    wider = {name: np.pad(each, ((0, 0), (0, 6))) for name, each in inputs.items()}
    wider["input_ids"][:, -6:] = 1
    found, padded = (session.run(None, each)[0] for each in (inputs, wider))
    if head == "token":
        there = inputs["attention_mask"] == 1
        found, padded = found[there], padded[:, : there.shape[1]][there]
    np.testing.assert_array_equal(found, padded)


counts = st.fixed_dictionaries(
    {
        "heads": st.lists(st.integers(0, tiny.HEADS), min_size=2, max_size=2),
        "ffn": st.lists(st.sampled_from([0, 1, 7, 64]), min_size=2, max_size=2),
    }
)


@settings(max_examples=8, deadline=None)
@given(counts=counts, head=st.sampled_from(["token", "linear"]))
def test_layers_of_any_sizes(network, tmp_path_factory, counts, head):
    """Also none of a kind. A layer of a stack that is even again is a stack."""
    of = network[head]
    widths = {"heads": tiny.HEADS, "ffn": tiny.INNER}
    units = {
        kind: np.arange(widths[kind])[::-1] < np.array(counts[kind])[:, None] for kind in widths
    }
    params, config = sliced(of.params, of.config, units)
    small = of._replace(params=params, config=config)
    path = written(tmp_path_factory.mktemp("uneven"), small)
    np.testing.assert_allclose(run(path), expected(small), atol=1e-5, rtol=0)


@pytest.mark.parametrize("weights", ["fp32", "int8", "int4"])
def test_what_reads_opset_20_reads_it_and_nothing_slow_is_made_of_it(network, tmp_path, weights):
    """ONNX Runtime's own SkipLayerNormalization costs a quarter of an int8 model's time."""
    path = written(tmp_path, network["dense-tanh-out"], Form(weights, weights))
    model = onnx.load(path)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 20)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    options.add_session_config_entry(*sessions.EXACT)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node)
    assert not kinds["SkipLayerNormalization"]
    assert kinds["LayerNormalization"] == 1 + 2 * tiny.LAYERS
    assert not kinds["BitShift"] + kinds["Round"]  # four bits become eight when a session loads
    if weights != "fp32":  # the products and what is around them are one operator
        fused = kinds["DynamicQuantizeMatMul"] + kinds["MatMulIntegerToFloat"]
        assert fused == 4 * (tiny.LAYERS - 1) + 6  # the last asks of the first token alone
        assert not kinds["MatMulInteger"]


def test_a_large_model_lies_beside_its_graph(network, tmp_path, monkeypatch):
    of = network["linear"]
    monkeypatch.setattr(graph, "_LARGEST", 1000)
    path = written(tmp_path, of)
    assert path.stat().st_size < (tmp_path / "model.onnx_data").stat().st_size
    np.testing.assert_allclose(run(path), expected(of), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("form", "most"),
    [
        (Form("fp16", "fp16"), 0.01),
        (Form("int8", "int8"), 0.1),
        (Form("int8", "int8", candidates.PORTABLE), 0.15),
        (Form("q8", "int8"), 0.1),
        (Form("int4", "int4"), 0.35),
    ],
)
def test_a_smaller_form_is_smaller_and_near(network, tmp_path, form, most):
    of = network["token"]
    want, plain = expected(of), written(tmp_path, of).stat().st_size
    path = written(tmp_path, of, form)
    apart = run(path) - want
    assert 1e-6 < np.sqrt((apart**2).mean()) / want.std() < most
    if form.weights != "q8":  # widths of 32 are filled up to blocks of 128
        assert path.stat().st_size < plain * (0.65 if form.weights == "fp16" else 0.6)


def test_what_stays_wide_is_in_float32_under_any_name(network, tmp_path):
    """Query, key and value are one product, but for the first token's in the last layer."""
    form = Form("int8", wide=("layer0.attention.", "layer1.attention."))
    graph = onnx.load(written(tmp_path, network["dense-tanh-out"], form)).graph
    kinds = {each.name: each.data_type for each in graph.initializer}
    wide = {name: kind for name, kind in kinds.items() if name.endswith(".weight")}
    attention = {name: kind for name, kind in wide.items() if ".attention." in name}
    assert {"layer0.attention.projected.weight", "layer1.attention.query.weight"} <= {*attention}
    assert {*attention.values()} == {TensorProto.FLOAT}
    assert wide["layer0.ffn.inner.weight"] == TensorProto.INT8


shapes = st.tuples(st.integers(1, 300), st.integers(1, 5))


@settings(max_examples=30, deadline=None)
@given(shape=shapes, seed=st.integers(0, 2**20), steps=st.sampled_from([127, 63]))
def test_rounding_keeps_zeros_and_is_within_half_a_step(shape, seed, steps):
    draw = np.random.default_rng(seed)
    kernel = (draw.normal(size=shape) * (draw.random(shape) < 0.5)).astype(np.float32)
    columns = quantize.columns(kernel, steps)
    assert np.abs(columns.steps.astype(int)).max() <= steps
    back = columns.steps * columns.scale
    assert (np.abs(back - kernel) <= columns.scale * 0.5001).all()
    assert not columns.steps[kernel == 0].any()
    blocks = quantize.blocks(kernel)
    wide = (blocks.steps.astype(np.float32) - 128) * blocks.scale[..., None]
    back = wide.reshape(shape[1], -1).T[: shape[0]]
    size = np.repeat(np.abs(blocks.scale), quantize.BLOCK, axis=1).T[: shape[0]]
    assert (np.abs(back - kernel) <= size * 1.0001).all()  # the end with fewer steps may cut one
    assert (np.abs(back - kernel) <= size * 0.5001).mean() > 0.95
    assert (blocks.steps.reshape(shape[1], -1).T[: shape[0]][kernel == 0] == 128).all()


def test_portable_steps_cannot_overflow_sixteen_bits():
    assert 2 * 255 * candidates.PORTABLE < 2**15
    assert 2 * 255 * quantize.STEPS > 2**15


def test_sums_that_overflow_sixteen_bits_come_out_right(tmp_path):
    """The largest steps of inputs and weights; without the setting AVX2 gives half of the sum."""
    info, steps = helper.make_tensor_value_info, np.full((64, 8), quantize.STEPS, np.int8)
    made = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "one",
        [info("x", TensorProto.UINT8, [3, 64])], [info("y", TensorProto.INT32, [3, 8])],
        [numpy_helper.from_array(steps, "w")],
    )  # fmt: skip
    opset = [helper.make_opsetid("", graph.OPSET)]
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=9), tmp_path / "one.onnx")
    model = sessions.session(tmp_path / "one.onnx")
    assert model.get_session_options().get_session_config_entry(sessions.EXACT[0]) == "1"
    (found,) = model.run(None, {"x": np.full((3, 64), 255, np.uint8)})
    np.testing.assert_array_equal(found, np.full((3, 8), 64 * 255 * quantize.STEPS))


def test_blocks_are_what_onnx_runtime_multiplies_with(tmp_path):
    draw = np.random.default_rng(1)
    kernel = draw.normal(size=(256, 6)).astype(np.float32)
    inputs = draw.normal(size=(9, 256)).astype(np.float32)
    steps, scale = quantize.blocks(kernel)
    info = helper.make_tensor_value_info
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft",
        K=256, N=6, bits=8, block_size=128, accuracy_level=4,
    )  # fmt: skip
    constants = [numpy_helper.from_array(steps, "w"), numpy_helper.from_array(scale, "s")]
    made = helper.make_graph(
        [node], "one", [info("x", TensorProto.FLOAT, [9, 256])],
        [info("y", TensorProto.FLOAT, [9, 6])], constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=9), tmp_path / "one.onnx")
    (found,) = sessions.session(tmp_path / "one.onnx").run(None, {"x": inputs})
    apart = found - inputs @ kernel
    assert np.sqrt((apart**2).mean()) / found.std() < 0.01


def test_parts_stay_wide_in_the_order_of_their_harm(network, tmp_path):
    """The second layer's feed-forward part has the unit that ruins eight bits."""
    leaves = {path: np.array(leaf) for path, leaf in empties.flat(network["token"].params).items()}
    leaves["encoder/intermediate/bias"][1, 5] = 500
    leaves["encoder/output/kernel"][1, 5] /= 500
    of = network["token"]._replace(params=empties.nested(leaves))
    whole = candidates.Candidate("int8", Form("int8", "int8"))
    known = encoded()
    words = np.arange(len(known.ids), dtype=np.int32)
    known = Encoded(
        known.ids, known.offsets, known.lengths, np.zeros_like(words), words, len(words)
    )
    tried = list(candidates.widened(whole, of, known, tmp_path))
    assert [each.name for each in tried] == ["int8, 1 wide", "int8, 2 wide"]
    assert tried[0].form.wide == ("layer1.ffn.",)
    stored = kernels(written(tmp_path, of, tried[0].form))
    assert stored["layer1.ffn.output.weight"].dtype == np.float32
    assert stored["layer0.ffn.output.weight"].dtype == np.int8
    want = expected(of)
    narrow, wide = (
        np.abs(run(written(tmp_path, of, each.form)) - want).max() for each in (whole, tried[0])
    )
    assert wide < narrow / 3


def test_answers_are_in_the_order_of_the_rows_and_of_their_words(network, tmp_path):
    texts, tagged = network["linear"], network["token"]
    path = written(tmp_path, texts)
    want = expected(texts)
    for batch in (1, 2, 32):
        found = sessions.answers(sessions.session(path), encoded(), 1, batch)
        np.testing.assert_allclose(found, want, atol=1e-5, rtol=0)
    rows = encoded()
    words = np.full(len(rows.ids), -1, np.int32)
    # The rows' second pieces begin words 4, 3, 2, 1, 0; word 5 was cut off
    words[rows.offsets + 1] = np.arange(5)[::-1]
    of_words = Encoded(rows.ids, rows.offsets, rows.lengths, np.zeros_like(words), words, 6)
    found = sessions.answers(sessions.session(written(tmp_path, tagged)), of_words, 1, 2)
    every = expected(tagged)
    np.testing.assert_allclose(found[:5], every[rows.offsets + 1][::-1], atol=1e-5, rtol=0)
    assert np.isnan(found[5]).all()


@pytest.mark.torch
def test_a_graph_computes_what_pytorch_does(world, tmp_path):
    import torch
    from transformers import XLMRobertaForSequenceClassification

    folder = empties.write(world, tmp_path / "export", heads=False)
    stock = XLMRobertaForSequenceClassification.from_pretrained(folder).eval()
    from alignreg_jax.compress import folders

    inputs = sessions.feed(ROWS, pad=1)
    with torch.no_grad():
        want = stock(**{name: torch.tensor(each) for name, each in inputs.items()}).logits.numpy()
    found = run(written(tmp_path, folders.read(folder).network))
    np.testing.assert_allclose(found, want, atol=1e-5, rtol=0)
