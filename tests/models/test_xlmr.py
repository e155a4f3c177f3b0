import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignreg_jax.models import xlmr
from alignreg_jax.training.state import flatten

PAD, LABELS = 1, 3
CONFIG = xlmr.XlmrConfig(
    vocab_size=40,
    hidden_size=16,
    num_layers=2,
    num_heads=2,
    intermediate_size=32,
    max_positions=24,
)
LENGTHS = (9, 4, 7, 1)


def model(head="dense-tanh-out", **options):
    changes = {name: options.pop(name) for name in list(options) if name in vars(CONFIG)}
    config = xlmr.XlmrConfig(**{**vars(CONFIG), **changes})
    return xlmr.XlmrModel(config, head, LABELS, **options)


KEY = jax.random.key(5)
initial = jax.jit(xlmr.init_params, static_argnums=0)


@pytest.fixture(scope="module")
def params():
    return initial(model(), jax.random.key(0))


@pytest.fixture(scope="module")
def ids():
    return padded(12)


def padded(length):
    generator = np.random.default_rng(0)
    ids = np.full((len(LENGTHS), length), PAD, np.int32)
    for row, size in zip(ids, LENGTHS, strict=True):
        row[:size] = generator.integers(2, 40, size)
    return jnp.asarray(ids)


compiled = jax.jit(xlmr.logits, static_argnums=0)
compiled_states = jax.jit(xlmr.hidden_states, static_argnums=0)


def lengths_of(ids):
    """Of rows whose text holds no padding."""
    return jnp.sum(ids != PAD, axis=1, dtype=jnp.int32)


def forward(model, params, ids, key=None):
    return np.asarray(compiled(model, params, ids, lengths_of(ids), key))


def hidden_states(model, params, ids):
    return compiled_states(model, params, ids, lengths_of(ids))


def test_padding_changes_no_valid_output(params):
    short, long = (hidden_states(model(), params, padded(length)) for length in (9, 20))
    for row, size in enumerate(LENGTHS):
        np.testing.assert_allclose(short[:, row, :size], long[:, row, :size], atol=1e-5, rtol=0)
    logits = forward(model(), params, padded(9)), forward(model(), params, padded(20))
    np.testing.assert_allclose(*logits, atol=1e-5, rtol=0)


def test_rows_do_not_see_each_other(params, ids):
    together = forward(model(), params, ids)
    alone = forward(model(), params, ids[::-1])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)


def test_positions_are_counted_from_padding(params):
    """Also with padding on the left and in the middle, as PyTorch counts."""
    ids = jnp.array([[5, 6, 7, PAD, PAD], [PAD, 5, PAD, 6, 7]])
    embedded = hidden_states(model(), params, ids)[0]
    np.testing.assert_array_equal(embedded[0, :3], embedded[1, jnp.array([1, 3, 4])])
    tables = params["embeddings"]
    word, position, kind = (
        np.asarray(tables[name]["embedding"], np.float64)
        for name in ("word", "position", "token_type")
    )
    # Tokens from row pad + 1 = 2 of the table on; padding itself has row pad = 1
    summed = word[[5, 6, 7, PAD]] + position[[2, 3, 4, 1]] + kind[0]
    centred = summed - summed.mean(1, keepdims=True)
    expected = centred / np.sqrt(centred.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(embedded[0, :4], expected, atol=1e-5)


def test_longest_input_uses_the_last_position(params):
    ids = jnp.full((1, CONFIG.max_length), 5)
    assert CONFIG.max_length == 22
    base = forward(model(), params, ids)
    assert np.isfinite(base).all()
    table = params["embeddings"]["position"]["embedding"].at[-1].multiply(-5.0)
    moved = {**params, "embeddings": {**params["embeddings"], "position": {"embedding": table}}}
    assert np.abs(forward(model(), moved, ids) - base).max() > 1e-4
    ids = ids.at[:, -1].set(PAD)
    np.testing.assert_array_equal(forward(model(), moved, ids), forward(model(), params, ids))


@pytest.mark.parametrize("head", ["dense-tanh-out", "linear", "token"])
def test_logits_are_the_head_on_the_first_token_or_on_all(head, ids):
    network = model(head)
    params = initial(network, jax.random.key(1))
    hidden = np.asarray(hidden_states(network, params, ids), np.float64)
    assert hidden.shape == (CONFIG.num_layers + 1, *ids.shape, CONFIG.hidden_size)
    first = hidden[-1] if head == "token" else hidden[-1, :, 0]
    layers = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["head"])
    if head == "dense-tanh-out":
        first = np.tanh(first @ layers["dense"]["kernel"] + layers["dense"]["bias"])
    expected = first @ layers["out"]["kernel"] + layers["out"]["bias"]
    np.testing.assert_allclose(forward(network, params, ids), expected, atol=1e-5)
    assert ("dense" in params["head"]) == (head == "dense-tanh-out")


def test_dropout_is_off_without_a_key_and_repeats_with_one(params, ids):
    plain = forward(model(), params, ids)
    quiet = model(hidden_dropout=0.0, attention_dropout=0.0)
    np.testing.assert_allclose(forward(quiet, params, ids, KEY), plain, atol=1e-6)
    first = forward(model(), params, ids, KEY)
    np.testing.assert_array_equal(first, forward(model(), params, ids, KEY))
    assert np.abs(first - plain).max() > 1e-3
    assert np.abs(first - forward(model(), params, ids, jax.random.key(6))).max() > 1e-3


@pytest.mark.parametrize(
    "rates",
    [
        {"hidden_dropout": 0.5, "attention_dropout": 0.0, "classifier_dropout": 0.0},
        {"hidden_dropout": 0.0, "attention_dropout": 0.5, "classifier_dropout": 0.0},
        {"hidden_dropout": 0.0, "attention_dropout": 0.0, "classifier_dropout": 0.5},
    ],
)
def test_each_rate_has_an_effect(params, ids, rates):
    found = forward(model(**rates), params, ids, KEY)
    assert np.abs(found - forward(model(), params, ids)).max() > 1e-3


def test_classifier_follows_hidden_dropout_unless_it_has_a_rate(params, ids):
    follows = forward(model(hidden_dropout=0.5), params, ids, KEY)
    same = forward(model(hidden_dropout=0.5, classifier_dropout=0.5), params, ids, KEY)
    other = forward(model(hidden_dropout=0.5, classifier_dropout=0.0), params, ids, KEY)
    np.testing.assert_array_equal(follows, same)
    assert np.abs(follows - other).max() > 1e-3


def test_every_layer_drops_other_elements(ids):
    """Equal layers that forget their input: each gives the normalised, dropped bias of `output`."""
    network = model(hidden_dropout=0.5, attention_dropout=0.0)
    params = jax.tree.map(jnp.zeros_like, initial(network, jax.random.key(0)))
    encoder = dict(params["encoder"])
    encoder["output"] = {**encoder["output"], "bias": jnp.ones_like(encoder["output"]["bias"])}
    encoder["layer_norm"] = jax.tree.map(jnp.ones_like, encoder["layer_norm"])
    params = {**params, "encoder": encoder}
    rngs = {"dropout": jax.random.key(0)}
    _, layers, _ = network.apply(
        {"params": params}, ids, lengths_of(ids), rngs=rngs, method="encode"
    )
    first, second = np.asarray(layers) < 1  # dropped: after LayerNorm, below the mean of 1
    assert 0.4 < first.mean() < 0.6
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(first.size)


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradients(network, params, ids, key):
    def loss(params):
        return jnp.sum(xlmr.logits(network, params, ids, lengths_of(ids), key) ** 2)

    return jax.value_and_grad(loss)(params)


def test_rematerialisation_changes_no_gradient(params, ids):
    plain, gradients = loss_and_gradients(model(), params, ids, KEY)
    remade_model = model(remat=True)
    other, remade = loss_and_gradients(remade_model, params, ids, KEY)
    np.testing.assert_allclose(other, plain, rtol=1e-6)
    remade_operations, operations = (
        str(jax.make_jaxpr(loss_and_gradients, static_argnums=0)(network, params, ids, KEY))
        for network in (remade_model, model())
    )
    assert remade_operations.count("dot_general") > operations.count(
        "dot_general"
    )  # products once more
    for path, leaf in flatten(gradients).items():
        error = np.abs(leaf - flatten(remade)[path]).max()
        assert error <= 1e-6 * max(1, np.abs(leaf).max()), path


def test_unrolling_changes_no_gradient(params, ids):
    plain, gradients = loss_and_gradients(model(), params, ids, KEY)
    other, unrolled = loss_and_gradients(model(unroll=2), params, ids, KEY)
    np.testing.assert_allclose(other, plain, rtol=1e-6)
    for path, leaf in flatten(gradients).items():
        error = np.abs(leaf - flatten(unrolled)[path]).max()
        assert error <= 1e-6 * max(1, np.abs(leaf).max()), path


def test_unrolled_it_still_rematerialises(params, ids):
    """XLA sees all layers at once then, and would find that it has every product already."""

    def products(**options):
        network = model(unroll=2, **options)
        compiled = loss_and_gradients.lower(network, params, ids, KEY).compile()
        return compiled.as_text().count(" dot(")

    assert products(remat=True) > products()


def test_all_layers_are_unrolled_on_a_gpu_only():
    assert xlmr.unrolled("gpu", 12) == 12
    assert xlmr.unrolled("tpu", 12) == xlmr.unrolled("cpu", 12) == 1


def test_in_bfloat16_the_gradient_of_a_frequent_piece_keeps_its_digits(params):
    """4096 times the same piece: a sum in bfloat16 stops growing at 256 times an addend."""
    ids = jnp.full((256, 16), 5)
    gradients = [
        loss_and_gradients(model(dtype=dtype), params, ids, None)[1]["embeddings"]
        for dtype in (jnp.float32, jnp.bfloat16)
    ]
    exact, found = (np.asarray(each["token_type"]["embedding"][0]) for each in gradients)
    exact_word, found_word = (np.asarray(each["word"]["embedding"][5]) for each in gradients)
    for one, other in ((exact, found), (exact_word, found_word)):
        assert np.linalg.norm(other - one) < 0.05 * np.linalg.norm(one)


@pytest.mark.parametrize("head", ["dense-tanh-out", "linear", "token", "label-words"])
def test_every_product_of_float32_says_so(head, ids):
    """By default a GPU would compute it in TensorFloat-32, and a TPU in bfloat16."""
    network = model(head=head)
    parameters = initial(network, jax.random.key(0))
    text = loss_and_gradients.lower(network, parameters, ids, KEY).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) > 20
    assert all("HIGHEST" in line for line in products)


@pytest.mark.parametrize(("rate", "fused"), [(0.0, True), (0.1, False)])
def test_fused_attention_gives_the_same_and_is_left_where_weights_are_dropped(
    params, ids, rate, fused
):
    """The path that cuDNN takes on a GPU, through XLA's implementation of the same call."""
    plain, other = (model(attention_dropout=rate, attention=name) for name in ("einsum", "xla"))
    ids = ids.at[-1].set(other.config.pad_token_id)  # a row that only fills up a batch
    assert np.isfinite(forward(other, params, ids)).all()
    for key in (None, KEY):
        expected, gradients = loss_and_gradients(plain, params, ids[:-1], key)
        found, others = loss_and_gradients(other, params, ids[:-1], key)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        for path, leaf in flatten(gradients).items():
            error = np.abs(leaf - flatten(others)[path]).max()
            assert error <= 1e-5 * max(1, np.abs(leaf).max()), path
    operations, others = (
        str(jax.make_jaxpr(loss_and_gradients, static_argnums=0)(network, params, ids, KEY))
        for network in (plain, other)
    )
    assert (operations != others) == fused


def test_bfloat16_computes_coarsely_and_keeps_float32_outside(params, ids):
    coarse = model(dtype=jnp.bfloat16)
    for leaf in jax.tree.leaves(jax.eval_shape(lambda key: xlmr.init_params(coarse, key), KEY)):
        assert leaf.dtype == jnp.float32
    found = forward(coarse, params, ids)
    assert found.dtype == np.float32
    assert hidden_states(coarse, params, ids).dtype == np.float32  # the residual stream
    difference = np.abs(found - forward(model(), params, ids)).max()
    assert 1e-5 < difference < 0.05
    _, gradients = loss_and_gradients(coarse, params, ids, None)
    for path, leaf in flatten(gradients).items():
        assert leaf.dtype == jnp.float32, path
        assert np.isfinite(leaf).all(), path


def test_row_of_padding_only_is_finite(params, ids):
    """A padding row of a batch: no token to attend to, and still no NaN in the gradients."""
    value, gradients = loss_and_gradients(model(), params, ids.at[1].set(PAD), KEY)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_parameter_tree(params):
    shapes = {path: leaf.shape for path, leaf in flatten(params).items()}
    assert shapes["embeddings/position/embedding"] == (24, 16)
    assert shapes["encoder/attention/query/kernel"] == (2, 16, 16)
    assert shapes["encoder/intermediate/kernel"] == (2, 16, 32)
    assert shapes["encoder/output/kernel"] == (2, 32, 16)
    assert shapes["encoder/layer_norm/scale"] == (2, 16)
    assert shapes["head/out/kernel"] == (16, 3)
    assert len(shapes) == 25
