"""AdamW over flat leaves: a state for each label, decay on matrices only, pruned moments zero."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from alignreg_jax.pruning.kernels import KERNELS, Masks, kernel_path

BETAS = (0.9, 0.999)
EPSILON = 1e-8  # PyTorch's AdamW

METHOD = "method/"  # in front of the paths of what a method learns
WEIGHTS = "weights"  # the label of all other trained leaves

Flat = Mapping[str, Any]


def adam() -> optax.GradientTransformation:
    """The part of AdamW that has state; rate and decay are applied in `update`."""
    return optax.scale_by_adam(*BETAS, eps=EPSILON)


def decays(path: str) -> bool:
    """Whether weight decay applies: to kernels and embeddings, not to biases and LayerNorm.

    Nor to what a method learns: a score or a multiplier near 0 is not a simpler one.
    """
    return not path.endswith(("/bias", "/scale")) and not path.startswith(METHOD)


def rate_factor(
    step: Int[Array, "*steps"], *, warmup: Array, total: Array, schedule: str
) -> Float[Array, "*steps"]:
    """Share of its rate that a step counted from 0 has: warm-up once, then constant or linear to 0.

    The first of `warmup` steps has 1 / warmup, as in `get_linear_schedule_with_warmup` shifted by
    one step so that no step is wasted on rate 0. With "linear" the last step's rate is above 0.
    """
    done = step.astype(jnp.float32)
    factor = jnp.minimum((done + 1) / jnp.maximum(warmup, 1), 1.0)
    if schedule == "linear":
        left = (total - done) / jnp.maximum(total - warmup, 1)
        factor = jnp.where(done < warmup, factor, jnp.clip(left, 0.0, 1.0))
    return factor


def shrinkage(
    steps: int, *, rate: float, weight_decay: float, warmup: int, total: int, schedule: str
) -> float:
    """What `steps` steps of decay leave of a weight that no gradient ever reaches, as a factor.

    The exact product. `update` rounds every step to float32 and is off by up to 2^-24 of the weight
    each time, as much as the step itself at the paper's rate times decay, 5e-8: after 100,000 steps
    it leaves between .990 and 1.000 of a weight, by its leading digits, where the product is .9950.
    That scatter is rounding, not weight decay, so nobody is given it on purpose.
    """
    factors = rate_factor(
        jnp.arange(steps), warmup=jnp.float32(warmup), total=jnp.float32(total), schedule=schedule
    )
    return float(np.prod(1.0 - rate * weight_decay * np.asarray(factors, np.float64)))


def mask_kernels(flat: Flat, masks: Masks) -> dict[str, Any]:
    """Zero the pruned entries of the six kernels, wherever they stand in a flat tree."""
    masked = {
        kernel_path(name): jnp.where(masks[name], flat[kernel_path(name)], 0)
        for name in KERNELS
        if kernel_path(name) in flat
    }
    return {**flat, **masked}


def clip_by_global_norm(
    gradients: Flat, norm: Float[Array, ""], largest: Array | float
) -> dict[str, Any]:
    """Scale gradients whose joint norm exceeds `largest`, as PyTorch's clip_grad_norm_ does."""
    factor = jnp.minimum(1.0, largest / (norm + 1e-6))
    return {path: gradient * factor for path, gradient in gradients.items()}


def init(weights: Flat, learned: Mapping[str, Flat]) -> dict[str, Any]:
    """Adam's states with zero moments, one for each label: "weights" and those of `learned`."""
    return {WEIGHTS: adam().init(dict(weights))} | {
        label: adam().init(dict(leaves)) for label, leaves in learned.items()
    }


def update(
    params: Flat,
    gradients: Flat,
    states: Mapping[str, Any],
    *,
    rates: Mapping[str, Array],
    weight_decay: Array,
    learn: Array | bool = True,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One step of AdamW (decoupled decay, Loshchilov and Hutter 2019).

    Args:
        params: trained leaves by path, float32.
        gradients: the same structure.
        states: of `init`; each says by its moments which leaves are its own.
        rates: label -> learning rate of this step; a negative one climbs.
        weight_decay: decay per unit of rate; a number, traced or not.
        learn: whether leaves other than weights move; otherwise their states stand still, too.

    Returns:
        The new leaves and the new states.
    """
    moved, moved_states = dict(params), {}
    for label, state in states.items():
        directions, new = _direction(gradients, state)
        rate = rates[label]
        if label != WEIGHTS:
            new = jax.tree.map(partial(jnp.where, learn), new, state)
            rate = jnp.where(learn, rate, 0.0)
        moved_states[label] = new
        for path, direction in directions.items():
            decay = weight_decay * params[path] if decays(path) else 0.0
            moved[path] = params[path] - rate * (direction + decay)
    return moved, moved_states


def _direction(gradients: Flat, state: Any) -> tuple[dict[str, Any], Any]:
    """Adam's step of unit rate for the leaves that a state knows, and its next state."""
    found: Any = adam().update({path: gradients[path] for path in state.mu}, state)
    return found


def forget_pruned(states: Mapping[str, Any], masks: Masks) -> dict[str, Any]:
    """Clear the moments of pruned weights; else momentum would move them."""
    state = states[WEIGHTS]
    cleared = state._replace(mu=mask_kernels(state.mu, masks), nu=mask_kernels(state.nu, masks))
    return {**states, WEIGHTS: cleared}


def forget_learned(states: Mapping[str, Any]) -> dict[str, Any]:
    """Start anew for all but the weights."""
    return {
        label: state if label == WEIGHTS else adam().init(state.mu)
        for label, state in states.items()
    }
