from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.data.encoding import Encoded
from alignreg_jax.errors import NonFiniteLoss
from alignreg_jax.evaluation import evaluator as evaluators
from alignreg_jax.evaluation.evaluator import Evaluator
from alignreg_jax.models import xlmr
from alignreg_jax.training import forward, sharding

CONFIG = xlmr.XlmrConfig(
    vocab_size=40, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=32, max_positions=30
)
LABELS, LONGEST = 7, 24
MODEL = xlmr.XlmrModel(CONFIG, "dense-tanh-out", LABELS)
ROWS = {("test", "en"): 21, ("dev", "en"): 3, ("test", "sw"): 1, ("test", "de"): 34}


@pytest.fixture(scope="module")
def params():
    """Large enough that classes differ between rows."""
    tree = jax.jit(partial(xlmr.init_params, MODEL))(jax.random.key(0))
    return jax.tree.map(lambda leaf: leaf * 8 if leaf.ndim > 1 else leaf, tree)


@pytest.fixture(scope="module")
def splits():
    generator = np.random.default_rng(0)

    def encoded(rows):
        lengths = generator.integers(3, LONGEST + 1, rows).astype(np.int32)
        return Encoded(
            ids=generator.integers(3, CONFIG.vocab_size, lengths.sum()).astype(np.int32),
            offsets=(np.cumsum(lengths) - lengths).astype(np.int32),
            lengths=lengths,
            labels=generator.integers(0, LABELS, rows).astype(np.int32),
        )

    return {key: encoded(rows) for key, rows in ROWS.items()}


def make_evaluator(network, splits):
    mesh = sharding.make_mesh(-1, 1, 1)
    replicated = jax.sharding.NamedSharding(mesh, sharding.REPLICATED)
    return Evaluator(
        splits,
        predict=forward.make_predict(network, mesh),
        place=lambda tree: jax.device_put(tree, replicated),
        batch_size=8,
        steps_per_dispatch=2,
        max_length=LONGEST,
    )


@pytest.fixture(scope="module")
def evaluator(splits):
    return make_evaluator(MODEL, splits)


@pytest.fixture(scope="module")
def one_by_one(params, splits):
    """Every row on its own, without padding or batches, in file order."""
    logits = jax.jit(lambda ids: xlmr.logits(MODEL, params, ids, jnp.array([ids.shape[1]])))
    found = {}
    for key, split in splits.items():
        rows = [
            split.ids[offset : offset + length]
            for offset, length in zip(split.offsets, split.lengths, strict=True)
        ]
        found[key] = [int(np.argmax(logits(jnp.asarray(row)[None])[0])) for row in rows]
    return found


def test_predictions_are_those_of_one_row_at_a_time(evaluator, params, splits, one_by_one):
    predictions = evaluator.predictions(params, list(splits), "")
    assert list(predictions) == list(splits)
    for key, classes in predictions.items():
        assert classes.tolist() == one_by_one[key], key
    assert len(set(np.concatenate(list(predictions.values())).tolist())) > 2


@settings(deadline=None, max_examples=10)
@given(keys=st.lists(st.sampled_from(list(ROWS)), unique=True, min_size=1))
def test_any_subset_in_any_order(evaluator, params, one_by_one, keys):
    predictions = evaluator.predictions(params, keys, "")
    assert list(predictions) == keys
    for key in keys:
        assert predictions[key].tolist() == one_by_one[key]


def test_all_languages_come_in_one_fetch(evaluator, params, splits, monkeypatch):
    fetched = []

    def device_get(tree):
        fetched.append(tree)
        return jax_device_get(tree)

    jax_device_get = jax.device_get
    monkeypatch.setattr(evaluators.jax, "device_get", device_get)
    evaluator.predictions(params, list(splits), "")
    assert len(fetched) == 1
    assert fetched[0].shape == (sum(ROWS.values()) + 1,)


def test_languages_share_batches(evaluator, params, splits):
    """Fewer dispatches than each language would need for itself."""
    predict, lengths = evaluator._predict, []

    def counted(*arguments, length):
        lengths.append(length)
        return predict(*arguments, length=length)

    evaluator._predict = counted
    try:
        evaluator.predictions(params, list(splits), "")
    finally:
        evaluator._predict = predict
    assert lengths == sorted(lengths)
    assert len(lengths) <= -(-sum(ROWS.values()) // 16) + len(set(lengths))
    compiled = predict._cache_size()  # other tests share the programs, and have other lengths
    assert compiled >= len(set(lengths))
    evaluator.predictions(params, list(splits), "")
    assert predict._cache_size() == compiled


def test_progress_tells_every_row_once(evaluator, params, splits, monkeypatch):
    told = []

    class Bar:
        def __init__(self, total, description, unit):
            assert (total, description, unit) == (sum(ROWS.values()), "all", "examples")

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def update(self, count):
            told.append(count)

    monkeypatch.setattr(evaluators, "progress", Bar)
    evaluator.predictions(params, list(splits), "all")
    assert sum(told) == sum(ROWS.values())
    assert len(told) > 3


TOKENS = xlmr.XlmrModel(CONFIG, "token", LABELS)


@pytest.fixture(scope="module")
def sentences():
    """Two splits whose words begin at about every second piece; some begin nowhere."""
    generator = np.random.default_rng(1)
    found = {}
    for key, rows in {("test", "en"): 9, ("test", "sw"): 12}.items():
        lengths = generator.integers(3, LONGEST + 1, rows).astype(np.int32)
        ids = generator.integers(3, CONFIG.vocab_size, lengths.sum()).astype(np.int32)
        begins = generator.random(len(ids)) < 0.5
        words = np.where(begins, np.cumsum(begins) * 2 - 1, -1).astype(np.int32)  # odd ones only
        found[key] = Encoded(
            ids=ids,
            offsets=(np.cumsum(lengths) - lengths).astype(np.int32),
            lengths=lengths,
            labels=np.where(begins, 0, -1).astype(np.int32),
            words=words,
            word_count=2 * int(begins.sum()) + 3,
        )
    return found


def test_words_get_the_class_of_the_piece_where_they_begin(sentences):
    params = jax.jit(partial(xlmr.init_params, TOKENS))(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf * 8 if leaf.ndim > 1 else leaf, params)
    evaluator = make_evaluator(TOKENS, sentences)
    keys = list(sentences)[::-1]
    predictions = evaluator.predictions(params, keys, "")
    assert list(predictions) == keys
    logits = jax.jit(lambda ids: xlmr.logits(TOKENS, params, ids, jnp.array([ids.shape[1]])))
    for key, split in sentences.items():
        expected = [-1] * split.word_count
        for offset, length in zip(split.offsets, split.lengths, strict=True):
            row = slice(offset, offset + length)
            classes = np.argmax(logits(jnp.asarray(split.ids[row])[None])[0], axis=-1)
            for word, label in zip(split.words[row], classes, strict=True):
                if word >= 0:
                    expected[word] = int(label)
        assert predictions[key].tolist() == expected, key
        assert len(set(expected)) > 3
        assert expected.count(-1) >= split.word_count // 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite(evaluator, params, splits, value):
    """One piece of the vocabulary is broken: the rows that have it cannot be scored."""
    embedding = params["embeddings"]["word"]["embedding"]
    table = {"embedding": embedding.at[5].set(value)}
    broken = {**params, "embeddings": {**params["embeddings"], "word": table}}
    sick = {}
    for key, split in splits.items():
        pieces = np.split(split.ids, split.offsets[1:])
        sick[key] = sum(5 in row for row in pieces)
    assert 0 < sick["test", "en"] < ROWS["test", "en"]
    says = rf"in {sick['test', 'en']} of the {ROWS['test', 'en']} rows of en test"
    with pytest.raises(NonFiniteLoss, match=says):
        evaluator.predictions(broken, [("test", "en")], "")
    sound = [key for key, count in sick.items() if not count]
    assert sound
    evaluator.predictions(broken, sound, "")


def test_rows_of_tokens_that_are_not_finite(sentences):
    params = jax.jit(partial(xlmr.init_params, TOKENS))(jax.random.key(0))
    embedding = params["embeddings"]["word"]["embedding"].at[5].set(np.nan)
    params = {**params, "embeddings": {**params["embeddings"], "word": {"embedding": embedding}}}
    split = sentences["test", "sw"]
    sick = sum(5 in row for row in np.split(split.ids, split.offsets[1:]))
    assert 0 < sick < split.rows
    with pytest.raises(NonFiniteLoss, match=rf"in {sick} of the {split.rows} rows of sw test"):
        make_evaluator(TOKENS, sentences).predictions(params, [("test", "sw")], "")


def test_predictions_at_a_size_are_those_without_the_other_units(evaluator, params, splits):
    """Units are removed by zeros in their output rows. All sizes are served by one program."""
    draw = np.random.default_rng(2).random
    layers, (heads, head_size, ffn) = CONFIG.num_layers, CONFIG.layers[0]
    tau = {"heads": draw((layers, heads)), "ffn": draw((layers, ffn))}
    tau = {kind: leaf.astype(np.float32) for kind, leaf in tau.items()}
    found, keys = {}, list(splits)
    for size in (1.0, 0.5, 0.2):
        before = evaluator._predict._cache_size()
        found[size] = evaluator.predictions(params, keys, "", at=(tau, size))
        assert size == 1 or evaluator._predict._cache_size() == before
        encoder = jax.tree.map(np.array, params["encoder"])
        kept = np.repeat(tau["heads"] <= np.float32(size), head_size, axis=1)
        encoder["attention"]["output"]["kernel"] *= kept[..., None]
        encoder["output"]["kernel"] *= (tau["ffn"] <= np.float32(size))[..., None]
        expected = evaluator.predictions({**params, "encoder": encoder}, keys, "")
        for key, classes in expected.items():
            assert found[size][key].tolist() == classes.tolist(), (size, key)
    joined = [np.concatenate(list(each.values())) for each in found.values()]
    assert all((joined[one] != joined[two]).any() for one, two in ((0, 1), (0, 2), (1, 2)))
