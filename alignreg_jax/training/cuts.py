"""The compiled cut: new masks, zeroed weights, cleared moments. Pure; one trace for all cuts."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.sharding import NamedSharding
from jaxtyping import Array

from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks
from alignreg_jax.pruning.method import Method
from alignreg_jax.training import optimizers, sharding
from alignreg_jax.training.lifting import Lift
from alignreg_jax.training.programs import made_once
from alignreg_jax.training.state import TrainState, pruning_key


@made_once
def make_prune_step(
    method: Method, places: sharding.Places, lift: Lift
) -> Callable[..., TrainState]:
    """Compile `prune(state, keep, phase, signals)`: new masks, zeroed weights, cleared moments.

    `signals` holds what `method.needs` of a pass over the data (signals.py); the rest is read off
    the parameters here.
    """
    everywhere = NamedSharding(places.leaves[0].mesh, sharding.REPLICATED)

    def cut(state: TrainState, keep: Any, phase: Array, signals: dict[str, Any]) -> TrainState:
        kernels, rest = prunable.split(state.params)
        key = pruning_key(state, phase)
        if "layernorm" in method.needs:
            signals = {**signals, "layernorm": _layer_norm_scales(rest)}
        if method.solve:
            # Every device does the same: factorisations inside loops do not divide among them
            used, were, asked = jax.lax.with_sharding_constraint(
                (kernels, state.masks, signals), everywhere
            )
            new, kernels = method.solve(used, were, asked, keep)
            learned_anew = state.method
        else:
            new, learned_anew = method.cut(kernels, state.masks, state.method, signals, keep, key)
        state = state.replace(masks=new, method=learned_anew)
        if method.renews:
            state = state.replace(optimizer=optimizers.forget_learned(state.optimizer))
        if not method.zero_pruned:
            return state
        return state.replace(
            params=prunable.merge(masks.apply(kernels, new), rest),
            optimizer=optimizers.forget_pruned(state.optimizer, new),
        )

    @partial(jax.jit, donate_argnums=0, out_shardings=places.tree)
    def prune(state: TrainState, keep: Any, phase: Array, signals: dict[str, Any]) -> TrainState:
        return lift(cut, (lift.own, None, None, lift.own))(state, keep, phase, signals)

    return prune


def _layer_norm_scales(params: dict[str, Any]) -> dict[str, Array]:
    """Scales after the embeddings `[hidden]`, and in each layer `[layers, hidden]`."""
    encoder = params["encoder"]
    return {
        "embeddings": params["embeddings"]["layer_norm"]["scale"],
        "attention": encoder["attention"]["layer_norm"]["scale"],
        "output": encoder["layer_norm"]["scale"],
    }
