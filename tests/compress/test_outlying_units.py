"""Units of activations that go far beyond the others, in eight bits."""

from dataclasses import replace

import empties
import numpy as np
import onnx
import onnx_cases
import pytest
import tiny
from onnx_cases import ROWS, encoded, expected, run, written

from alignreg_jax.compress.onnx import activations, candidates, outlying
from alignreg_jax.compress.onnx.products import Form, Outlying

network = onnx_cases.network


def planted(of, unit=5, factor=50, share=1 / 50):
    """A feed-forward unit that is far beyond all others, and what its weights are multiplied by."""
    leaves = {path: np.array(leaf) for path, leaf in empties.flat(of.params).items()}
    leaves["encoder/intermediate/bias"][:, unit] = factor
    leaves["encoder/output/kernel"][:, unit] *= share
    return of._replace(params=empties.nested(leaves))


@pytest.mark.parametrize(
    ("factor", "share", "apart", "gain"),
    [(50, 1 / 50, True, 3), (40, 1 / 40, False, 3), (40, 0.5, False, 2), (99, 0.5, False, 3)],
)
def test_units_beyond_all_others_leave_the_others_their_steps(
    network, tmp_path, factor, share, apart, gain
):
    """Far ones are computed apart whatever the form says: nothing is gained by large weights."""
    of = planted(network["token"], factor=factor, share=share)
    found = outlying.beyond(activations.largest(of, encoded()), *outlying.FEW)
    names = [name for name in found if name.endswith("gelu")]
    assert names == ["layer0.ffn.gelu", "layer1.ffn.gelu"]
    for name in names:
        place = found[name].units.tolist().index(5)
        assert found[name].largest[place] == pytest.approx(factor, rel=0.2)
        assert 3 * found[name].limit < factor
    want = expected(of)
    plain, mended = (
        np.abs(run(written(tmp_path, of, Form("int8", outlying=each, apart=apart))) - want).max()
        for each in ({}, found)
    )
    assert mended < plain / gain
    clipped = {
        node.input[0]
        for node in onnx.load(tmp_path / "model.onnx").graph.node
        if node.op_type == "Clip"
    }
    assert ({*names} <= clipped) == (apart or factor == 99)


@pytest.mark.parametrize("form", [Form("int8"), Form("int8", steps=63), Form("int8", fused=True)])
def test_outlying_units_of_a_head_over_texts(network, tmp_path, form):
    """Its last layer reads the first token alone, and the others' products once more."""
    of = planted(network["dense-tanh-out"], factor=40, share=0.5)
    found = outlying.beyond(activations.largest(of, encoded()), *outlying.FEW)
    want = expected(of)
    plain, mended = (
        np.abs(run(written(tmp_path, of, replace(form, outlying=each))) - want).max()
        for each in ({}, found)
    )
    assert mended < plain / 2


def test_the_largest_values_are_those_of_pieces_and_not_of_padding(network):
    """Rows alone, without padding, give the same."""
    of = network["token"]
    together = activations.largest(of, encoded())
    alone = [activations.largest(of, encoded([row])) for row in ROWS]
    assert len(together) == 4 * tiny.LAYERS
    for name, values in together.items():
        most = np.max([each[name] for each in alone], axis=0)
        np.testing.assert_allclose(values, most, rtol=1e-4)


def test_no_unit_is_outlying_where_all_are_alike():
    alike = {"a": np.linspace(1, 2, 20, dtype=np.float32)}
    few = {"a": np.ones(8, np.float32)}
    nothing = {"a": np.zeros(20, np.float32)}
    for found in (alike, few, nothing):
        assert outlying.beyond(found, *outlying.FEW) == {}
    alike["a"][3] = 9
    (found,) = outlying.beyond(alike, 2, 3.0).values()
    assert (found.units.tolist(), round(found.limit, 3)) == ([3, 19], round(1 + 18 / 19, 3))


def test_an_outlying_unit_of_many_steps_is_not_clipped_away(network, tmp_path):
    """Clip and the part beyond it are the whole: with any units and any limit nothing is lost."""
    of = network["token"]
    apart = {
        f"layer{layer}.{name}": Outlying(np.arange(30), np.ones(30), 1e-3)
        for layer in range(tiny.LAYERS)
        for name in ("ffn.gelu", "attention.norm")
    }
    found = run(written(tmp_path, of, Form("int8", outlying=apart, apart=True)))
    want = expected(of)
    assert np.corrcoef(found.ravel(), want.ravel())[0, 1] > 0.7


def test_four_bits_treat_them_as_eight_do(network):
    of = planted(network["dense-tanh-out"], factor=40, share=0.5)
    eight, four = (each.form for each in candidates.forms(("int8", "int4"), of, encoded(), True))
    assert eight.outlying.keys() == four.outlying.keys() >= {"layer0.ffn.gelu"}
    assert eight.steps == four.steps == candidates.PORTABLE
    assert four.grams.keys() == {*activations.largest(of, encoded()), "layer1.first"}
    assert not eight.grams
    far = planted(network["dense-tanh-out"], factor=99, share=0.5)
    (four,) = (each.form for each in candidates.forms(("int4",), far, encoded()))
    limit = four.outlying["layer0.ffn.gelu"].limit
    assert four.outlying["layer0.ffn.gelu"].far
    assert np.diagonal(four.grams["layer0.ffn.gelu"])[5] <= 1.001 * limit**2 * sum(map(len, ROWS))
