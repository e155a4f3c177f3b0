"""benchmarks/cudnn_dropout.py reads off what attention dropped; here attention of known faults."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import cudnn_dropout

    return cudnn_dropout


def attention(script, *, anew=False, forgets=False):
    """Drops by a seed: in every call the same or, if `anew`, another; the backward pass likewise.

    `forgets`: the backward pass draws by a seed of its own.
    """
    calls = itertools.count()
    shape = (script.ROWS, script.HEADS, script.LENGTH, script.LENGTH)

    def kept(shift, value):
        number = np.zeros((), np.int32)
        if anew:
            kind = jax.ShapeDtypeStruct((), np.int32)
            number = jax.pure_callback(lambda _: np.int32(next(calls)), kind, value)
        key = jax.random.fold_in(jax.random.key(shift), number)
        return jax.random.bernoulli(key, 1 - script.RATE, shape) / script.LENGTH

    def times(weights, value):
        return jnp.einsum("ahqk,akhd->aqhd", weights, value.astype(jnp.float32)).astype(value.dtype)

    @jax.custom_vjp
    def attend(query, key, value):
        return times(kept(0, value), value)

    def forward(query, key, value):
        weights = kept(0, value)
        return times(weights, value), weights

    def backward(weights, pull):
        weights = kept(1, pull) if forgets else weights
        moved = times(jnp.swapaxes(weights, 2, 3), pull)
        return jnp.zeros_like(moved), jnp.zeros_like(moved), moved

    attend.defvjp(forward, backward)
    return attend


@pytest.mark.parametrize("loop", [False, True])
def test_a_fixed_seed_is_found_out(script, loop):
    run = script.program(attention(script), loop)
    first, second = script.execute(run), script.execute(run)
    rate, backward, again, layers, rows, heads = script.answers(first, second)
    assert rate == f"dropped: {1 - first.forward.mean():.4f} of the weights (asked: 0.1)"
    assert abs(first.forward.mean() - 0.9) < 0.01
    assert backward.endswith(": yes")
    assert again.endswith(": yes")
    assert layers == "layers: 11 of 11 are those of the first"
    assert rows == "rows of a batch: 0 of 1 are those of the first"
    assert heads == "heads: 0 of 1 are those of the first"


def test_what_moves_on_is_found_out(script):
    run = script.program(attention(script, anew=True), loop=True)
    first = script.execute(run)
    said = script.answers(first, script.execute(run))
    assert said[1].endswith(": yes")
    assert "no, 8" in said[2]  # two independent draws agree on .9² + .1² of the weights
    assert said[3] == "layers: 0 of 11 are those of the first"


def test_a_backward_pass_that_draws_for_itself_is_found_out(script):
    run = script.program(attention(script, forgets=True), loop=False)
    first = script.execute(run)
    assert "no, 8" in script.answers(first, first)[1]


def test_it_says_what_it_needs(script, monkeypatch):
    monkeypatch.setattr("sys.argv", ["cudnn_dropout.py"])
    with pytest.raises(SystemExit, match="needs an NVIDIA GPU, and this is cpu"):
        script.main()
