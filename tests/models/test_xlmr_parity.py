from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from parity_cases import (
    CASES,
    LABELS,
    NAMES,
    REFERENCE,
    batch,
    checkpoint,
    torch_outputs,
    write_folder,
)

from alignreg_jax.models import checkpoints, xlmr


def our_outputs(case, folder, **options):
    """What torch_outputs gives, by our encoder on the same checkpoint folder."""
    loaded = checkpoints.load(write_folder(case, folder), head=case.head, labels=NAMES, seed=0)
    model = xlmr.XlmrModel(loaded.config, case.head, LABELS, **options)
    ids, lengths, labels = (jnp.asarray(array) for array in batch(case))
    valid = jnp.arange(ids.shape[1])[None] < lengths[:, None]

    def loss(params):
        logits = xlmr.logits(model, params, ids, lengths)
        if case.head == "token":
            logits = logits * valid[..., None]
        chosen = jnp.maximum(labels, 0)[..., None]
        losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), chosen, axis=-1)[..., 0]
        return jnp.mean(losses, where=labels >= 0), logits

    @jax.jit
    def compute(params):
        (_, logits), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        return xlmr.hidden_states(model, params, ids, lengths), logits, gradients

    hidden, logits, gradients = compute(loaded.params)
    leaves = traverse_util.flatten_dict(gradients, sep="/")
    outputs = {"hidden": hidden, "logits": logits}
    for name, slot in checkpoints.name_table(loaded.config, case.head).items():
        name = name if name.startswith(("roberta.", "classifier.")) else f"roberta.{name}"
        gradient = leaves[slot.path] if slot.layer is None else leaves[slot.path][slot.layer]
        outputs[f"grad/{name}"] = gradient.T if slot.transpose else gradient
    return {name: np.asarray(value) for name, value in outputs.items()}


def assert_close(case, ours, theirs, tolerance=1e-5):
    """Every output within tolerance x max(1, largest value); hidden states on valid positions."""
    assert set(ours) == set(theirs)
    ids, lengths, _ = batch(case)
    valid = np.arange(ids.shape[1]) < lengths[:, None]
    for name, expected in theirs.items():
        value = ours[name]
        assert value.shape == expected.shape, name
        if name == "hidden":
            value, expected = value[:, valid], expected[:, valid]
        error = np.abs(value - expected).max()
        assert error <= tolerance * max(1, np.abs(expected).max()), f"{name}: {error}"


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_stored_torch_outputs(case, tmp_path):
    with np.load(REFERENCE / f"{case.name}.npz") as theirs:
        assert_close(case, our_outputs(case, tmp_path), dict(theirs))


def test_reference_covers_every_tensor(case):
    with np.load(REFERENCE / f"{case.name}.npz") as theirs:
        gradients = {name.removeprefix("grad/") for name in theirs if name.startswith("grad/")}
        assert gradients == set(checkpoint(case))
        # A reference of zeros would agree with anything
        assert all(np.abs(theirs[f"grad/{name}"]).max() > 1e-4 for name in gradients - keys(case))


def keys(case):
    """Key biases shift all of a query's logits alike: their true gradient is zero."""
    return {name for name in checkpoint(case) if name.endswith("self.key.bias")}


@pytest.mark.torch
@pytest.mark.parametrize("head", ["dense-tanh-out", "linear", "token"])
def test_live_torch_outputs(case, head, tmp_path):
    case = type(case)(**{**vars(case), "head": head})
    assert_close(case, our_outputs(case, tmp_path), torch_outputs(case))


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"remat": True}, {"unroll": 2}])
def test_products_of_inputs_are_those_that_pytorch_multiplies(tmp_path, options):
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    case = CASES["base"]
    loaded = checkpoints.load(write_folder(case, tmp_path), head=case.head, labels=NAMES, seed=0)
    model = xlmr.XlmrModel(loaded.config, case.head, LABELS, **options)
    ids, lengths, _ = batch(case)
    given = (loaded.params, ids, lengths)
    found, squares = (
        jax.jit(partial(xlmr.input_products, model, squares=squares))(*given)
        for squares in (False, True)
    )
    theirs = XLMRobertaModel(XLMRobertaConfig(**case.config), add_pooling_layer=False).eval()
    state = {n.removeprefix("roberta."): v for n, v in checkpoint(case).items()}
    state = {n: torch.from_numpy(v) for n, v in state.items() if not n.startswith("classifier")}
    theirs.load_state_dict(state, strict=True)
    valid = torch.arange(ids.shape[1]) < torch.from_numpy(lengths)[:, None]
    places = {
        **{f"attention/{name}": f"attention.self.{name}" for name in ("query", "key", "value")},
        **{"attention/output": "attention.output.dense", "intermediate": "intermediate.dense"},
        "output": "output.dense",
    }
    assert found.keys() == places.keys()
    seen = {}
    for index, layer in enumerate(theirs.encoder.layer):
        for name, place in places.items():
            layer.get_submodule(place).register_forward_pre_hook(
                lambda _, given, at=(name, index): seen.update({at: given[0][valid]})
            )
    theirs(torch.from_numpy(ids).long(), attention_mask=valid.long())
    for (name, index), inputs in seen.items():
        exact = inputs.detach().double().numpy()
        expected = exact.T @ exact
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found[name][index], expected, rtol=0, atol=1e-5 * scale)
        np.testing.assert_allclose(squares[name][index], np.diag(expected), rtol=1e-4)
    assert len(seen) == 6 * case.num_hidden_layers


def test_stored_torch_outputs_with_rematerialisation(tmp_path):
    case = CASES["base"]
    with np.load(REFERENCE / "base.npz") as theirs:
        assert_close(case, our_outputs(case, tmp_path, remat=True), dict(theirs))


def test_bfloat16_computes_near_float32_with_float32_gradients(tmp_path):
    case = CASES["base"]
    outputs = our_outputs(case, tmp_path, dtype=jnp.bfloat16)
    with np.load(REFERENCE / f"{case.name}.npz") as theirs:
        error = np.abs(outputs["logits"] - theirs["logits"]).max()
    assert 0 < error < 0.1
    assert outputs["logits"].dtype == np.float32
    assert all(value.dtype == np.float32 for name, value in outputs.items() if "grad" in name)


def test_padding_does_not_reach_valid_positions(tmp_path):
    case = CASES["base"]
    loaded = checkpoints.load(write_folder(case, tmp_path), head=case.head, labels=NAMES, seed=0)
    model = xlmr.XlmrModel(loaded.config, case.head, LABELS)
    ids, lengths, _ = batch(case)
    hidden = jax.jit(lambda *rows: xlmr.hidden_states(model, loaded.params, *rows))
    narrow = np.asarray(hidden(ids, lengths))
    wide = np.asarray(hidden(np.pad(ids, ((0, 0), (0, 6)), constant_values=1), lengths))
    valid = ids != 1
    np.testing.assert_allclose(
        wide[:, :, : ids.shape[1]][:, valid], narrow[:, valid], rtol=0, atol=1e-5
    )
