"""The method record holds what is to come: gates of units that learn.

Built from public parts only, and trained by the same step as every other method.
"""

import jax
import jax.numpy as jnp
import numpy as np
from training_cases import CONFIG, LENGTH, batches, make_trainer

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks, units
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.method import Method

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
