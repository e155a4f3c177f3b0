"""Kernels behind learned gates: how L0's state enters the network, and what is exported."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from alignreg_jax.pruning import gates, masks
from alignreg_jax.pruning.kernels import KERNELS, Kernels, Masks
from alignreg_jax.pruning.method import Scalars, State

LABELS = (("gates", "scores"), ("multipliers", "ascent"))
"""Gates descend at a rate of their own; the Lagrangian's multipliers climb."""


def init(kernels: Kernels, reference: Kernels, key: Key[Array, ""]) -> State:
    """A gate for every weight, nearly open."""
    return {"gates": gates.init(kernels)}


def init_constrained(kernels: Kernels, reference: Kernels, key: Key[Array, ""]) -> State:
    """Gates, and the multipliers that drive them to a target, from zero (CoFi)."""
    zero = {"linear": jnp.float32(0), "quadratic": jnp.float32(0)}
    return {**init(kernels, reference, key), "multipliers": zero}


def effective(
    kernels: Kernels,
    masks_: Masks,
    state: State,
    hyper: Scalars,
    clock: Scalars,
    key: Key[Array, ""] | None,
    train: bool,
) -> Kernels:
    """Weights times gates: one sample for the whole batch in training, else the test gates."""
    if not train or key is None:
        return gates.fold(kernels, state["gates"])
    uniform = gates.noise(key, kernels)
    return {
        name: kernels[name] * gates.sample(state["gates"][name], uniform[name]) for name in KERNELS
    }


def finalize(kernels: Kernels, masks_: Masks, state: State) -> Kernels:
    """Fold the test gates into what the masks leave."""
    return masks.apply(gates.fold(kernels, state["gates"]), masks_)
