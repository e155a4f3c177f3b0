"""The method record holds what is to come: masks that are learned, and gates of units.

Each is built from public parts only and trained by the same step as every other method.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_cases import CONFIG, LENGTH, batches, make_trainer

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks, units
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.method import Marks, Method, no_penalty
from alignreg_jax.training.state import flatten

SEEDS, LAST = (4, 9), 0.3


# ---- Movement pruning (Sanh et al. 2020) and Static Model Pruning -------------------------------


@jax.custom_vjp
def straight_through(scores, mask):
    """The mask, whose derivative in the scores is taken to be 1."""
    return mask.astype(scores.dtype)


straight_through.defvjp(
    lambda scores, mask: (mask.astype(scores.dtype), None), lambda _, pull: (pull, None)
)


def top(kernels, state, keep):
    return masks.top_k(state["scores"], masks.ones(kernels), keep, "layer")  # weights may return


def effective(kernels, kept, state, hyper, clock, key, train):
    scores = state["scores"]
    return {name: kernels[name] * straight_through(scores[name], kept[name]) for name in KERNELS}


def few_scores(weights, kept, reference, state, hyper, clock):
    """SMP's: the mean probability that a weight stays."""
    value = jnp.mean(jnp.stack([jax.nn.sigmoid(s).mean() for s in state["scores"].values()]))
    return hyper.regularizer_weight * value, {"regularizer": value}


def learned_masks(penalty=no_penalty):
    return Method(
        init=lambda kernels, key: {"scores": jax.tree.map(jnp.zeros_like, kernels)},
        effective=effective,
        penalty=penalty,
        step_masks=lambda kernels, kept, state, hyper, clock: top(kernels, state, clock.marks.keep),
        labels=(("scores", "scores"),),
        zero_pruned=False,
        cut=lambda kernels, kept, state, signals, keep, key: (top(kernels, state, keep), state),
        cut_at=1.0,
    )


MOVEMENT, SMP = learned_masks(), learned_masks(few_scores)
# -------------------------------------------------------------------------------------------------


def left_after(step, steps):
    """The cubic schedule from all weights to `LAST`."""
    return LAST + (1 - LAST) * (1 - (step + 1) / steps) ** 3


def counts(kept):
    return {name: np.asarray(leaf).sum((1, 2)) for name, leaf in kept.items()}


@pytest.mark.parametrize(
    ("method", "freeze", "layout", "seeds"),
    [
        (MOVEMENT, (), (2, 2, 2), SEEDS),
        (SMP, ("embeddings", "encoder"), (2, 2, 2), SEEDS),
    ],
    ids=["movement", "smp"],
)
def test_masks_are_learned(method, freeze, layout, seeds):
    trainer = make_trainer(
        method_=method,
        layout=layout,
        seeds=seeds,
        freeze=freeze,
        hyper={"score_learning_rate": 0.02, "regularizer_weight": 10.0},
    )
    sizes, steps = prunable.sizes(trainer.member(0)[1]), 8
    start = jax.device_get(trainer.member(0)[0].params)
    keeps = [masks.keep_counts(sizes, left_after(step, steps), "layer") for step in range(steps)]
    history = []
    for step in range(0, steps, 2):
        own = [Dispatch(LENGTH, batches((step + index) % 4, 2)) for index in range(len(seeds))]
        trainer.dispatch(*own, marks=[Marks(keep=keep) for keep in keeps[step : step + 2]])
        assert np.isfinite(trainer.drain().metrics["loss"][:, :2]).all()
        seen = [jax.device_get(trainer.member(index)[0].masks) for index in range(len(seeds))]
        for kept in seen:  # those of the last step, to the weight
            jax.tree.map(np.testing.assert_array_equal, counts(kept), dict(keeps[step + 1]))
        history.append(seen)
    first, second = history[-1]
    assert any(np.any(first[name] != second[name]) for name in KERNELS)  # seeds learn their own
    returned = [
        np.any(~before[0][name] & after[0][name])
        for before, after in pairwise(history)
        for name in KERNELS
    ]
    assert any(returned)
    trainer.prune(masks.keep_counts(sizes, LAST, "layer"), 1)
    for index in range(len(seeds)):
        state = trainer.member(index)[0]
        jax.tree.map(
            np.testing.assert_array_equal,
            counts(state.masks),
            dict(masks.keep_counts(sizes, LAST, "layer")),
        )
        after, served = flatten(jax.device_get(state.params)), trainer.serve(state)
        for path, leaf in flatten(start).items():
            frozen = path.split("/")[0] in freeze
            assert np.array_equal(leaf, after[path]) == frozen, path
        kernels = prunable.split(served)[0]
        for name in KERNELS:
            np.testing.assert_array_equal(kernels[name] != 0, state.masks[name])


# ---- Gates of heads and feed-forward units ------------------------------------------------------

HEADS = CONFIG.num_heads


def unit_gates():
    """A gate for every unit that learns by gradient descent; the cut keeps the strongest."""

    def init(kernels, key):
        shapes = units.shapes(kernels, HEADS)
        return {"gates": {kind: jnp.ones(shape) for kind, shape in shapes.items()}}

    def cut(kernels, kept, state, signals, keep, key):
        share = keep / sum(kernels[name].size for name in KERNELS)
        chosen = {}
        for kind, gates in state["gates"].items():  # the same number in every layer
            ranks = jnp.argsort(jnp.argsort(-jnp.abs(gates), axis=1), axis=1)
            chosen[kind] = ranks < jnp.round(gates.shape[1] * share)
        return units.expand(chosen, kernels), init(kernels, key)

    return Method(
        init=init,
        effective=lambda kernels, kept, state, hyper, clock, key, train: units.gate(
            kernels, state["gates"]
        ),
        labels=(("gates", "scores"),),
        cut=cut,
        cut_at=0.5,
        finalize=lambda kernels, kept, state: masks.apply(
            units.gate(kernels, state["gates"]), kept
        ),
    )


def test_units_are_gated_and_cut():
    trainer = make_trainer(method_=unit_gates(), hyper={"score_learning_rate": 0.05}, clip=True)
    trainer.set_clock(0.5)
    trainer.dispatch(Dispatch(LENGTH, batches(0, 4)))
    gates = jax.device_get(trainer.state.method["gates"])
    assert all(np.any(leaf != 1) for leaf in gates.values())
    sizes = prunable.sizes(trainer.reference)
    trainer.prune(masks.keep_counts(sizes, 0.5, "global"), 1)
    state = jax.device_get(trainer.state)
    kept = masks.statistics(prunable.split(state.params)[0], state.masks)
    assert kept["kept"] == kept["prunable"] // 2
    for kind, name in (("heads", "attention/output"), ("ffn", "output")):
        alive = state.masks[name].any(axis=2).reshape(*gates[kind].shape, -1).all(axis=2)
        strong = np.argsort(np.argsort(-np.abs(gates[kind]), axis=1), axis=1)
        np.testing.assert_array_equal(alive, strong < gates[kind].shape[1] // 2)
    # After the cut gates stand open and still, and pruned units stay at zero
    trainer.set_clock(0.5, learn=False)
    trainer.dispatch(Dispatch(LENGTH, batches(4, 2)))
    state = jax.device_get(trainer.state)
    assert all(np.all(leaf == 1) for leaf in state.method["gates"].values())
    kernels, _ = prunable.split(state.params)
    for name in KERNELS:
        assert not kernels[name][~state.masks[name]].any()
