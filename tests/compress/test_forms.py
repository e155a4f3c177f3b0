"""The two forms: which sizes they have, what padding costs, and what each refuses."""

import empties
import jax
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alignreg_jax.compress.forms import encoder_weights, fill, smaller
from alignreg_jax.errors import UserError
from alignreg_jax.models import xlmr
from alignreg_jax.models.architecture import XlmrConfig
from alignreg_jax.models.slicing import parameters

BASE = XlmrConfig(250002, 768, 12, 12, 3072, 514)
IDS = np.random.default_rng(0).integers(3, 60, (4, 9)).astype(np.int32)
LENGTHS = np.array([9, 4, 6, 1], np.int32)


@pytest.fixture
def model(world):
    return empties.load(world)


def logits(params, config, head="dense-tanh-out"):
    network = xlmr.XlmrModel(config, head, len(tiny.LABELS))
    return jax.jit(xlmr.logits, static_argnums=0)(network, params, IDS, LENGTHS)


def stock(model, align=8, silent=empties.SILENT, constant=empties.CONSTANT):
    params, config = model
    chosen = empties.no_heads(silent), empties.no_heads(constant)
    return smaller(empties.empty(params, *chosen), config, "stock", align)


def test_the_free_form_is_what_is_left(model):
    params, config = model
    whole = empties.empty(params)
    found = smaller(whole, config, "free")
    assert [layer.heads for layer in found.config.layers] == empties.LEFT["heads"]
    assert [layer.ffn for layer in found.config.layers] == empties.LEFT["ffn"]
    assert found.empty == {"heads": 2, "ffn": 32}
    assert found.folded == {"heads": 1, "ffn": 11}
    assert found.padding == 0
    apart = np.abs(logits(found.params, found.config) - logits(whole, config))
    assert apart.max() <= 1e-5
    assert np.abs(logits(whole, config)).max() > 0.5
    assert np.abs(logits(params, config) - logits(whole, config)).max() > 1e-2
    # Two heads of four matrices, units of two; their biases beside
    hidden, size = tiny.HIDDEN, empties.SIZE
    gone = 2 * (4 * hidden * size + 3 * size) + 32 * (2 * hidden + 1)
    assert parameters(whole) - parameters(found.params) == gone


def test_the_stock_form_has_one_width_and_units_of_zeros(model):
    found = stock(model)
    assert found.config == XlmrConfig(**{**vars(model[1]), "intermediate_size": 56})
    assert found.config.stock
    # 42 and 54 units are left: 14 and 2 are zeros, of two kernels and a bias
    assert found.padding == 16 * (2 * tiny.HIDDEN + 1)
    output = found.params["encoder"]["output"]["kernel"]
    inner = found.params["encoder"]["intermediate"]
    zeros = ~output.any(axis=2)
    assert zeros.sum(axis=1).tolist() == [14, 2]
    assert not inner["bias"][zeros].any()
    assert not np.moveaxis(inner["kernel"], 1, 2)[zeros].any()
    params, config = model
    chosen = empties.no_heads(empties.SILENT), empties.no_heads(empties.CONSTANT)
    whole = empties.empty(params, *chosen)
    assert np.abs(logits(found.params, found.config) - logits(whole, config)).max() <= 1e-5


@pytest.mark.parametrize(("align", "width"), [(1, 54), (5, 55), (20, 60)])
def test_the_width_is_the_next_multiple(model, align, width):
    assert stock(model, align).config.intermediate_size == width


def test_a_model_without_feed_forward_units_keeps_some_in_the_stock_form(model):
    everything = {"heads": {0: [], 1: []}, "ffn": dict.fromkeys((0, 1), range(tiny.INNER))}
    found = stock(model, silent=everything, constant=empties.no_heads({"ffn": {0: [], 1: []}}))
    assert found.config.intermediate_size == 8
    assert found.padding == 16 * (2 * tiny.HIDDEN + 1)


def test_what_the_stock_form_cannot_be(model):
    params, config = model
    with pytest.raises(UserError, match=r"--form stock: 2 attention heads are empty.*--form free"):
        smaller(empties.empty(params), config, "stock")
    with pytest.raises(UserError, match=r"54 .* in use, which is 64 in multiples of 64.*has 64: "):
        stock(model, 64)
    for form in ("stock", "free"):
        with pytest.raises(UserError, match=r"^nothing to remove: .* is in use"):
            smaller(params, config, form)


@given(arrays(bool, (3, 10)), st.integers(0, 3))
def test_filling_keeps_what_was_kept(kept, more):
    width = min(10, int(kept.sum(axis=1).max()) + more)
    found = fill(kept, width)
    assert (found.sum(axis=1) == width).all()
    assert (found | ~kept).all()


def test_weights_of_xlmr_base():
    """The table of the specification; one head is as large as 128 feed-forward units."""
    assert encoder_weights(BASE) == 84_934_656
    assert encoder_weights(BASE.with_sizes([8] * 12, [2048] * 12)) == 56_623_104
    assert encoder_weights(BASE.with_sizes([6] * 12, [1536] * 12)) == 42_467_328
    uneven = BASE.with_sizes([11, *[12] * 11], [3072] * 12)
    assert encoder_weights(BASE) - encoder_weights(uneven) == 196_608 == 128 * 1_536
