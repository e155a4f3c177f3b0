"""Methods of the presets, and what tests hand to them."""

import jax
import jax.numpy as jnp

from alignreg_jax.pruning import (
    masks,
    methods,
)
from alignreg_jax.pruning.method import Clock, Hyper, Weights

KEY = jax.random.key(0)
TOP_K = jax.jit(masks.top_k, static_argnames="scope")
CLOCK = Clock(target=0.4, learn=True)
HYPER = Hyper(regularizer_weight=jnp.float32(1), train_examples=jnp.float32(10))


def of_preset(name):
    fields = methods.PRESETS[name]
    return methods.build(
        criterion=fields["pruning.criterion"],
        scope=fields["pruning.scope"],
        regularizer=fields["regularizer.name"],
    )


def penalty_of(method, pruned, reference, hyper=HYPER, state=None):
    """The penalty of kernels of which none is masked."""
    weights, start = Weights(pruned, {}), Weights(reference, {})
    return method.penalty(weights, masks.ones(pruned), start, state or {}, hyper, CLOCK)
