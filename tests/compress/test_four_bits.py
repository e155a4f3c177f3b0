"""Matrices and word tables in four bits: what they are rounded to, and what a graph makes of it."""

from dataclasses import replace

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
from onnx_cases import ROWS, encoded, expected, run, written

from alignreg_jax.compress.onnx import activations, candidates, gptq, graph, quantize, sessions
from alignreg_jax.compress.onnx.nodes import Nodes
from alignreg_jax.compress.onnx.products import Form, Outlying, Products
from alignreg_jax.models import quantized
from alignreg_jax.models.slicing import sliced

network = onnx_cases.network


def drawn(inputs, outputs, seed=0):
    """A matrix with zeros in it, and inputs that go together."""
    draw = np.random.default_rng(seed)
    kernel = draw.normal(size=(inputs, outputs)) * (draw.random((inputs, outputs)) < 0.7)
    mixed = draw.normal(size=(inputs // 2 + 1, inputs))
    read = draw.normal(size=(4 * inputs, inputs // 2 + 1)) @ mixed
    read += 0.3 * draw.normal(size=read.shape)
    return kernel.astype(np.float32), read.astype(np.float32)


def one_by_one(kernel, gram):
    """The surgeon's own steps: H⁻¹ without the input that was rounded, anew after each."""
    inverse = gram.astype(np.float64)
    inverse += gptq.DAMPING * np.diagonal(inverse).mean() * np.eye(len(gram))
    inverse = np.linalg.inv(inverse)
    kernel = kernel / np.abs(kernel).max(axis=0)
    weights, steps = kernel.astype(np.float64), np.zeros(kernel.shape, int)
    for at in range(len(weights)):
        if at % gptq.BLOCK == 0:
            block = weights[at : at + gptq.BLOCK]
            scale = (np.abs(block).max(axis=0) / 7).astype(np.float16).astype(float)
        steps[at] = np.clip(np.rint(weights[at] / scale), -7, 7) * (kernel[at] != 0)
        error = (weights[at] - steps[at] * scale) / inverse[at, at]
        weights[at:] -= np.outer(inverse[at:, at], error)
        inverse -= np.outer(inverse[:, at], inverse[at]) / inverse[at, at]
    return steps


@pytest.mark.parametrize("inputs", [7, 32, 75])
def test_rounding_is_the_surgeons(inputs):
    kernel, read = drawn(inputs, 5)
    gram = read.T @ read
    found = gptq.rounded(kernel, gram)
    np.testing.assert_array_equal(found.steps, one_by_one(kernel, gram))
    assert not found.steps[kernel == 0].any()
    alone = gptq.rounded(kernel)
    lost, plain = (np.square(read @ (each.kernel() - kernel)).sum() for each in (found, alone))
    assert lost < plain * (0.7 if inputs >= gptq.BLOCK else 1)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 4)),
    seed=st.integers(0, 2**20),
    size=st.sampled_from([1e-6, 1.0, 1e3]),
)
def test_without_inputs_every_weight_goes_to_the_nearest_step(shape, seed, size):
    kernel = size * drawn(*shape, seed)[0]
    for gram in (None, np.full((shape[0],) * 2, np.nan)):
        found = gptq.rounded(kernel, gram)
        assert np.abs(found.steps).max(initial=0) <= 7
        scale = found.scale.astype(float)[np.arange(shape[0]) // gptq.BLOCK] * found.unit
        assert (np.abs(found.kernel() - kernel) <= 0.51 * scale + 1e-6 * size).all()
        assert not found.steps[kernel == 0].any()


def test_inputs_that_are_never_there_are_rounded_too():
    kernel, read = drawn(40, 3)
    read[:, ::2] = 0
    assert np.isfinite(gptq.rounded(kernel, read.T @ read).kernel()).all()
    nothing = gptq.rounded(kernel, np.zeros((40, 40), np.float32))
    np.testing.assert_array_equal(nothing.steps, gptq.rounded(kernel).steps)


def table_of(found, width):
    wide = found.steps * found.scale.astype(np.float32)[..., None]
    return wide.reshape(len(wide), -1)[:, :width]


def test_a_table_that_came_in_blocks_stays_what_it_is():
    draw = np.random.default_rng(2)
    table = quantized.dequantize(quantized.quantize(draw.normal(size=(9, 96))))
    np.testing.assert_array_equal(table_of(quantize.rows(table), 96), table)
    other = draw.normal(size=(4, 45)).astype(np.float32)
    found = quantize.rows(other)
    assert (found.steps.shape, found.scale.shape) == ((4, 2, 32), (4, 2))
    assert np.abs(table_of(found, 45) - other).max() < 1.01 * np.abs(found.scale).max()


def test_two_steps_a_byte():
    low, high = np.meshgrid(np.arange(-8, 8, dtype=np.int8), np.arange(-8, 8, dtype=np.int8))
    both = quantize.packed(low, high)
    assert len({*both.ravel().tolist()}) == 256
    np.testing.assert_array_equal((both << 4).astype(np.int8) // 16, low)
    np.testing.assert_array_equal((both & 240).astype(np.int8) // 16, high)


def rounded(of, grams):
    """The same model with the matrices of its encoder as they are in four bits."""
    leaves = {path: np.array(leaf) for path, leaf in empties.flat(of.params).items()}
    read = {
        "attention/query": ("embedding_norm", "layer0.ffn.norm"),
        "attention/key": ("embedding_norm", "layer0.ffn.norm"),
        "attention/value": ("embedding_norm", "layer0.ffn.norm"),
        "attention/output": ("layer0.attention.context", "layer1.attention.context"),
        "intermediate": ("layer0.attention.norm", "layer1.attention.norm"),
        "output": ("layer0.ffn.gelu", "layer1.ffn.gelu"),
    }
    for part, names in read.items():
        kernels = leaves[f"encoder/{part}/kernel"]
        for layer, name in enumerate(names):
            kernels[layer] = gptq.rounded(kernels[layer], grams.get(name)).kernel()
    return of._replace(params=empties.nested(leaves))


def loaded(path):
    """The constants that a session has when what does not depend on its inputs is computed."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = f"{path}.loaded"
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    constants = onnx.load(f"{path}.loaded").graph.initializer
    return {each.name: numpy_helper.to_array(each) for each in constants}


@pytest.mark.parametrize(("head", "steps"), [("token", 127), ("dense-tanh-out", 63)])
def test_four_bits_become_the_eight_of_what_they_stand_for(network, tmp_path, head, steps):
    """Where units are divided down, too. Of 127 half is 63.5, which goes to either side."""
    of = network[head]
    grams = activations.grams(of, encoded(), {})
    few = {
        "layer0.ffn.gelu": Outlying(np.array([3, 5]), np.array([9.0, 4.0]), 2.0),
        "layer1.attention.norm": Outlying(np.array([1]), np.array([9.0]), 1.0),
    }
    form = Form("int4", steps=steps, grams=grams, outlying=few)
    path = written(tmp_path, of, form)
    found, answers = loaded(path), run(path)
    path = written(tmp_path, rounded(of, grams), Form("int8", steps=steps, outlying=few))
    want, rest = loaded(path), run(path)
    assert found.keys() == want.keys()
    for name, values in want.items():
        if values.dtype == np.int8:
            apart = np.abs(found[name].astype(int) - values)
            assert apart.max() <= 1
            assert apart.mean() < 0.02
            assert np.abs(found[name]).max() == steps
        else:
            np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)
    assert sum(values.dtype == np.int8 for values in want.values()) >= 4 * tiny.LAYERS
    alone = run(written(tmp_path, of, replace(form, grams={})))
    near, far = (np.sqrt(np.square(each - rest).mean()) / rest.std() for each in (answers, alone))
    assert near < 0.03
    assert far > 0.06


def test_what_goes_too_far_is_computed_apart_with_the_weights_themselves(network, tmp_path):
    far = {"layer1.attention.norm": Outlying(np.array([1]), np.array([90.0]), 1.0)}
    found = loaded(written(tmp_path, network["token"], Form("int4", outlying=far)))
    kernel = empties.flat(network["token"].params)["encoder/intermediate/kernel"][1]
    np.testing.assert_array_equal(found["layer1.ffn.inner.outlying"], kernel[[1]])


@pytest.mark.parametrize("width", [32, 30])
def test_words_in_four_bits_are_their_rows(tmp_path, width):
    draw = np.random.default_rng(0)
    table = draw.normal(size=(50, width)).astype(np.float32)
    nodes, info = Nodes(), helper.make_tensor_value_info
    name = Products(nodes, Form(words="int4")).words(table, "ids")
    made = helper.make_graph(
        nodes.nodes, "words", [info("ids", TensorProto.INT64, ["batch", "length"])],
        [info(name, TensorProto.FLOAT, ["batch", "length", width])], nodes.constants,
    )  # fmt: skip
    path = tmp_path / "words.onnx"
    opset = [helper.make_opsetid("", graph.OPSET)]
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=9), path)
    ids = draw.integers(0, 50, (3, 7))
    (rows,) = sessions.session(path).run(None, {"ids": ids})
    np.testing.assert_array_equal(rows, table_of(quantize.rows(table), width)[ids])


def test_layers_of_odd_widths(network, tmp_path):
    """The last block of inputs is filled up."""
    of = network["linear"]
    keep = {"heads": np.ones((2, 4), bool), "ffn": np.arange(64) < np.array([[33], [1]])}
    params, config = sliced(of.params, of.config, keep)
    small = of._replace(params=params, config=config)
    apart = run(written(tmp_path, small, Form("int4", "int4"))) - expected(small)
    assert np.sqrt((apart**2).mean()) / expected(small).std() < 0.4


def test_what_goes_together_is_measured_without_padding(network):
    of = network["dense-tanh-out"]
    together = activations.grams(of, encoded(), {})
    alone = [activations.grams(of, encoded([row]), {}) for row in ROWS]
    assert together["layer1.first"] is together["layer0.ffn.norm"]
    assert len(together) == 4 * tiny.LAYERS + 1
    for name, values in together.items():
        summed = np.sum([each[name] for each in alone], axis=0)
        np.testing.assert_allclose(values, summed, rtol=1e-3, atol=1e-3)
    clipped = activations.grams(of, encoded(), {"layer1.ffn.gelu": 0.1})
    assert np.diagonal(clipped["layer1.ffn.gelu"]).max() <= 0.01 * sum(map(len, ROWS)) * 1.001
    np.testing.assert_array_equal(clipped["layer0.ffn.gelu"], together["layer0.ffn.gelu"])
    largest = activations.largest(of, encoded())
    pieces = sum(map(len, ROWS))
    for name, values in largest.items():
        mean = np.diagonal(together[name]) / pieces
        assert (mean <= values**2 * 1.001).all()
        assert (mean >= values**2 / pieces * 0.999).all()


def test_parts_of_four_bits_stay_in_eight(network, tmp_path, monkeypatch):
    of, asked, write = network["token"], [], candidates.graph.write
    (whole,) = candidates.forms(("int4",), of, encoded())
    known = encoded()
    words = np.arange(len(known.ids), dtype=np.int32)
    known = replace(known, labels=np.zeros_like(words), words=words, word_count=len(words))
    monkeypatch.setattr(
        candidates.graph, "write", lambda *given: asked.append(given[2]) or write(*given)
    )
    first = next(iter(candidates.widened(whole, of, known, tmp_path)))
    assert {(form.words, form.wide_as) for form in asked} == {("fp32", "fp32")}  # one part alone
    assert first.name == "int4, 1 wide"
    stored = onnx.load(written(tmp_path, of, first.form)).graph.initializer
    kinds = {each.name: each.data_type for each in stored}
    (part,) = first.form.wide
    narrow = {name for name in kinds if name.startswith("layer") and name.endswith(".nibbles")}
    wide = {name for name in kinds if name.startswith(part) and name.endswith(".weight")}
    assert not any(name.startswith(part) for name in narrow)
    assert (len(narrow), len(wide)) == (4 * tiny.LAYERS - 2, 2)
    assert {kinds[name] for name in wide} == {TensorProto.INT8}
