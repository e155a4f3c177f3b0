"""Kernels behind learned gates: how L0's state enters the network, and what is exported."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from alignreg_jax.pruning import gates, masks
from alignreg_jax.pruning.kernels import KERNELS, Kernels, Masks
from alignreg_jax.pruning.method import Clock, Hyper, State

LABELS = (("gates", "scores"), ("multipliers", "ascent"))
"""Gates descend at a rate of their own; the Lagrangian's multipliers climb."""

# CoFi starts both multipliers at 0. The linear one alone is an integrator: by the time the gates
# reach their target it has grown for as long as they took, and carries them far past it. The
# quadratic one's share of the pull is in proportion to what is missing, and damps that.
_DAMPING = 5.0


def init(kernels: Kernels, key: Key[Array, ""]) -> State:
    """A gate for every weight, open."""
    return {"gates": gates.init(kernels)}


def init_constrained(kernels: Kernels, key: Key[Array, ""]) -> State:
    """Gates, and the multipliers of the Lagrangian that drives them to a target."""
    return {**init(kernels, key), "multipliers": _multipliers()}


def _multipliers() -> dict[str, Array]:
    return {"linear": jnp.float32(0), "quadratic": jnp.float32(_DAMPING)}


def renew(state: State) -> State:
    """Gates that are open, for what a cut has left, and multipliers at their start.

    A gate that is all the way open or shut when its cut comes is settled by the mask. One that is
    not would go on to scale its weight: in the test network by 0.06 where 43 % of samples are open.
    """
    opened = {"gates": gates.init(state["gates"])}
    return {**opened, "multipliers": _multipliers()} if "multipliers" in state else opened


def effective(
    kernels: Kernels,
    masks_: Masks,
    state: State,
    hyper: Hyper,
    clock: Clock,
    key: Key[Array, ""] | None,
    train: bool,
) -> Kernels:
    """Weights times gates: a sample for the whole batch while gates learn, else the test gates.

    Where they stand still, weights train as they are evaluated.
    """
    if not train or key is None:
        return gates.fold(kernels, state["gates"])

    def sampled(log_alpha: Kernels) -> Kernels:
        uniform = gates.noise(key, kernels)
        return {name: gates.sample(log_alpha[name], uniform[name]) for name in KERNELS}

    def held(log_alpha: Kernels) -> Kernels:
        return {name: gates.deterministic(log_alpha[name]) for name in KERNELS}

    used = jax.lax.cond(clock.learn, sampled, held, state["gates"])
    return {name: kernels[name] * used[name] for name in KERNELS}


def ranked(kernels: Kernels, state: State) -> Kernels:
    """Weights times test gates, as criteria see them, with an order among those behind shut gates.

    Their products are all zero, and a cut through ties would fall back on positions. A millionth
    of the chance that a gate is open keeps them below all others and apart.
    """
    log_alpha = state["gates"]
    return {
        name: kernels[name]
        * (gates.deterministic(log_alpha[name]) + 1e-6 * gates.open_probability(log_alpha[name]))
        for name in KERNELS
    }


def finalize(kernels: Kernels, masks_: Masks, state: State) -> Kernels:
    """Fold the test gates into what the masks leave."""
    return masks.apply(gates.fold(kernels, state["gates"]), masks_)
