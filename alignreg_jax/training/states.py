"""States of a run as compiled functions: born, joined over seeds, taken apart, and served."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import Kernels
from alignreg_jax.pruning.method import Method
from alignreg_jax.training import optimizers, sharding
from alignreg_jax.training.lifting import Lift
from alignreg_jax.training.programs import made_once
from alignreg_jax.training.state import TrainState, by_label, partition

# Folded into the root key, far from any step
_INIT = 2**31 - 2


def init_state(
    params: Any,
    method: Method,
    root: Array,
    freeze: Any,
    keep_zeros: bool = False,
    step: Any = 0,
) -> TrainState:
    """A state at a step of the run, with zero moments; traced under jit to be born sharded.

    Masks are dense, or with `keep_zeros` without the weights that are zero.
    """
    kernels, _ = prunable.split(params)
    trainable, _ = partition(params, freeze)
    state = method.init(kernels, jax.random.fold_in(root, _INIT))
    return TrainState(
        step=jnp.int32(step),
        key=root,
        params=params,
        masks=masks.nonzero(kernels) if keep_zeros else masks.ones(kernels),
        method=state,
        optimizer=optimizers.init(trainable, by_label(state, method.labels)),
    )


@made_once
def make_init(
    method: Method, freeze: tuple[str, ...], keep_zeros: bool, places: sharding.Places, lift: Lift
) -> Callable[..., TrainState]:
    """Compile `start(params, head, root, step)`: states at a step, born where they belong."""

    def start(params: Any, head: Any, root: Array, step: Any) -> TrainState:
        return init_state({**params, "head": head}, method, root, freeze, keep_zeros, step)

    return jax.jit(lift(start, (None, lift.own, lift.own, None)), out_shardings=places.tree)


@made_once
def make_join(places: sharding.Places, lift: Lift) -> Callable[..., TrainState]:
    """Compile `join(states)`: the states of single seeds to that of all of them."""
    return jax.jit(lift.join, out_shardings=places.tree)


@made_once
def make_member(alone: sharding.Places, lift: Lift) -> Callable[..., tuple[TrainState, Any]]:
    """Compile `member(state, reference, index)`: one seed's own, where it would be if `alone`."""

    @partial(jax.jit, out_shardings=(alone.tree, alone.tree.masks))
    def member(state: TrainState, reference: Any, index: Any) -> tuple[TrainState, Any]:
        kernels = lift.member(reference, index) if lift.own_reference else reference
        return lift.member(state, index), kernels

    return member


@made_once
def make_serve(finalize: Callable[..., Kernels]) -> Callable[[TrainState], Any]:
    """Compile `serve(state)`: the parameters to evaluate and export, pruned weights exactly 0."""

    @jax.jit
    def serve(state: TrainState) -> Any:
        kernels, rest = prunable.split(state.params)
        return prunable.merge(finalize(kernels, state.masks, state.method), rest)

    return serve
