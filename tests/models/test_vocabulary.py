"""Rows of the word embedding that the data use: cut, numbered, put back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.data.encoding import Encoded
from alignreg_jax.models.vocabulary import ActiveVocabulary
from alignreg_jax.models.xlmr import XlmrConfig
from alignreg_jax.training import optimizers

SIZE, HIDDEN, PAD = 50, 4, 1
MANY = settings(deadline=None, max_examples=100)
pieces = st.lists(st.integers(0, SIZE - 1), max_size=30)


def encoded(ids):
    zeros = np.zeros(len(ids), np.int32)
    return Encoded(np.array(ids, np.int32), zeros, zeros, zeros)


def params(seed=0):
    table = np.random.default_rng(seed).normal(size=(SIZE, HIDDEN)).astype(np.float32)
    return {"embeddings": {"word": {"embedding": table}, "other": 1}, "head": {}}


def table(tree):
    return tree["embeddings"]["word"]["embedding"]


@MANY
@given(st.lists(pieces, min_size=1, max_size=3))
def test_a_piece_keeps_its_row_and_padding_its_number(data):
    vocabulary = ActiveVocabulary.of([encoded(ids) for ids in data], PAD)
    whole = params()
    cut = table(vocabulary.cut(whole))
    used = {PAD, *range(PAD), *(piece for ids in data for piece in ids)}
    assert list(vocabulary.rows) == sorted(used)
    assert vocabulary.rows[PAD] == PAD
    for ids in data:
        numbered = vocabulary.encode(encoded(ids)).ids
        assert numbered.dtype == np.int32
        np.testing.assert_array_equal(cut[numbered], table(whole)[np.array(ids, np.int32)])


@MANY
@given(pieces, st.floats(0, 1, width=32))
def test_restored_rows_are_the_trained_ones_and_the_shrunk_others(ids, shrinkage):
    vocabulary = ActiveVocabulary.of([encoded(ids)], PAD)
    whole, trained = params(), vocabulary.cut(params(seed=1))
    kept = table(whole).copy()
    restored = vocabulary.restore(trained, whole, shrinkage)
    unused = np.setdiff1d(np.arange(SIZE), vocabulary.rows)
    np.testing.assert_array_equal(table(restored)[vocabulary.rows], table(trained))
    np.testing.assert_array_equal(table(restored)[unused], kept[unused] * np.float32(shrinkage))
    np.testing.assert_array_equal(table(whole), kept)
    assert restored["embeddings"]["other"] == 1
    assert restored["head"] == {}


def test_the_architecture_has_fewer_rows_and_nothing_else_changes():
    whole = XlmrConfig(SIZE, HIDDEN, 2, 2, 8, 20)
    cut = ActiveVocabulary.of([encoded([7, 9])], PAD).config(whole)
    assert cut == XlmrConfig(4, HIDDEN, 2, 2, 8, 20)


@pytest.mark.parametrize("schedule", ["constant", "linear"])
@pytest.mark.parametrize("warmup", [0, 3])
def test_shrinkage_is_what_the_optimizer_does_to_a_weight_without_gradient(schedule, warmup):
    rate, weight_decay, total = 0.1, 0.3, 9
    path = "embeddings/word/embedding"
    leaves = {path: jnp.ones((2, 2))}
    states = optimizers.init(leaves, {})
    for step in range(7):
        factor = optimizers.rate_factor(
            jnp.int32(step),
            warmup=jnp.float32(warmup),
            total=jnp.float32(total),
            schedule=schedule,
        )
        leaves, states = optimizers.update(
            leaves,
            {path: jnp.zeros((2, 2))},
            states,
            rates={"weights": rate * factor},
            weight_decay=jnp.float32(weight_decay),
        )
    expected = optimizers.shrinkage(
        7, rate=rate, weight_decay=weight_decay, warmup=warmup, total=total, schedule=schedule
    )
    assert expected < 0.95
    np.testing.assert_allclose(leaves[path], expected, rtol=1e-6)
    without = {"rate": rate, "weight_decay": 0.0, "warmup": 0, "total": 9, "schedule": schedule}
    assert optimizers.shrinkage(7, **without) == 1.0


def test_at_the_papers_rate_float32_training_rounds_decay_away_or_doubles_it():
    """The export has the exact factor: of what training would leave, rounding is half."""
    steps, rate, decay = 5_000, jnp.float32(5e-6), jnp.float32(0.01)
    path = "embeddings/word/embedding"
    start = np.random.default_rng(0).normal(0, 0.1, 1000).astype(np.float32)

    @jax.jit
    def train(leaves):
        def step(index, carry):
            leaves, states = carry
            zeros = jax.tree.map(jnp.zeros_like, leaves)
            rates = {"weights": rate}
            return optimizers.update(leaves, zeros, states, rates=rates, weight_decay=decay)

        return jax.lax.fori_loop(0, steps, step, (leaves, optimizers.init(leaves, {})))[0]

    factors = np.asarray(train({path: jnp.asarray(start)})[path]) / start
    exact = optimizers.shrinkage(
        steps, rate=5e-6, weight_decay=0.01, warmup=0, total=steps, schedule="constant"
    )
    assert exact == pytest.approx(np.exp(-5e-8 * steps), rel=1e-7)
    assert np.abs(factors - exact).max() < steps * 2**-24
    assert 1 - factors.min() > 1.9 * (1 - exact)
    assert np.mean(factors == 1) > 0.2
