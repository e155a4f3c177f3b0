"""AdamW over flat trainable leaves: decay on matrices only, moments that forget the pruned."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from alignreg_jax.pruning.kernels import KERNELS, Masks

BETAS = (0.9, 0.999)
EPSILON = 1e-8  # PyTorch's AdamW

Flat = Mapping[str, Any]


def adam() -> optax.GradientTransformation:
    """The part of AdamW that has state; rate and decay are applied in `update`."""
    return optax.scale_by_adam(*BETAS, eps=EPSILON)


def decays(path: str) -> bool:
    """Whether weight decay applies: to kernels and embeddings, not to biases and LayerNorm."""
    return not path.endswith(("/bias", "/scale"))


def learning_rate(
    step: Int[Array, ""], *, rate: Array, warmup: Array, total: Array, schedule: str
) -> Float[Array, ""]:
    """Rate of a step counted from 0: linear warm-up once, then constant or linear to 0.

    The first of `warmup` steps has rate / warmup, as in `get_linear_schedule_with_warmup` shifted
    by one step so that no step is wasted on rate 0. With "linear" the last step's rate is above 0.
    """
    done = step.astype(jnp.float32)
    factor = jnp.minimum((done + 1) / jnp.maximum(warmup, 1), 1.0)
    if schedule == "linear":
        left = (total - done) / jnp.maximum(total - warmup, 1)
        factor = jnp.where(done < warmup, factor, jnp.clip(left, 0.0, 1.0))
    return rate * factor


def kernel_path(name: str) -> str:
    """The path of a prunable kernel in the flat parameters."""
    return f"encoder/{name}/kernel"


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


def update(
    params: Flat, gradients: Flat, state: Any, *, rate: Array, weight_decay: Array
) -> tuple[dict[str, Any], Any]:
    """One step of AdamW (decoupled decay, Loshchilov and Hutter 2019).

    Args:
        params: trainable leaves by path, float32.
        gradients: the same structure.
        state: of `adam()`.
        rate: learning rate of this step.
        weight_decay: decay per unit of rate; a number, traced or not.

    Returns:
        The new leaves and the new state.
    """
    updates: Any = adam().update(dict(gradients), state)
    directions, state = updates
    moved = {
        path: leaf - rate * (directions[path] + (weight_decay * leaf if decays(path) else 0.0))
        for path, leaf in params.items()
    }
    return moved, state


def forget_pruned(state: Any, masks: Masks) -> Any:
    """Clear the moments of pruned weights; else momentum would move them off zero."""
    return state._replace(mu=mask_kernels(state.mu, masks), nu=mask_kernels(state.nu, masks))
