"""AdamW over flat trainable leaves: decay on matrices only, moments that forget the pruned."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from alignreg_jax.pruning.kernels import KERNELS, Masks, kernel_path

BETAS = (0.9, 0.999)
EPSILON = 1e-8  # PyTorch's AdamW

METHOD = "method/"  # in front of the paths of what a method learns

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


def method_rates(
    paths: Sequence[str], labels: Mapping[str, str], hyper: Mapping[str, Any], factor: Array
) -> dict[str, Array]:
    """Rates of what a method learns, by path: scores follow the schedule, multipliers climb.

    Args:
        paths: of all trained leaves; those under "method/" are meant.
        labels: entry of the method's state -> "scores" or "ascent".
        hyper: `score_learning_rate` and `multiplier_learning_rate`, as far as they are needed.
        factor: of `rate_factor`.
    """
    rates = {}
    for path in paths:
        if path.startswith(METHOD):
            label = labels[path.removeprefix(METHOD).split("/")[0]]
            if label == "scores":
                rates[path] = hyper["score_learning_rate"] * factor
            elif label == "ascent":
                rates[path] = -hyper["multiplier_learning_rate"]
            else:
                raise ValueError(f"label {label!r} is neither scores nor ascent")
    return rates


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
    params: Flat,
    gradients: Flat,
    state: Any,
    *,
    rate: Array,
    weight_decay: Array,
    rates: Mapping[str, Array] | None = None,
    age: Int[Array, ""] | None = None,
) -> tuple[dict[str, Any], Any]:
    """One step of AdamW (decoupled decay, Loshchilov and Hutter 2019).

    Args:
        params: trainable leaves by path, float32.
        gradients: the same structure.
        state: of `adam()`.
        rate: learning rate of this step.
        rates: path -> rate, for leaves that have their own; a negative one climbs.
        weight_decay: decay per unit of rate; a number, traced or not.
        age: steps since the moments of the leaves with a rate of their own were zero, which those
            of the others were at the first; None: as long.

    Returns:
        The new leaves and the new state.
    """
    rates = rates or {}
    others = [path for path in gradients if path not in rates]
    directions, moved_state = _directions(others, gradients, state, state.count)
    if rates:
        # Adam's bias correction by an age that is not theirs would make their first steps longer
        count = state.count if age is None else age
        own, own_state = _directions(list(rates), gradients, state, count)
        directions |= own
        moved_state = moved_state._replace(
            mu={**moved_state.mu, **own_state.mu}, nu={**moved_state.nu, **own_state.nu}
        )
    moved = {
        path: leaf
        - rates.get(path, rate)
        * (directions[path] + (weight_decay * leaf if decays(path) else 0.0))
        for path, leaf in params.items()
    }
    return moved, moved_state


def _directions(
    paths: Sequence[str], gradients: Flat, state: Any, count: Int[Array, ""]
) -> tuple[dict[str, Any], Any]:
    """Adam's, of some of the leaves, after `count` steps."""

    def part(tree: Flat) -> dict[str, Any]:
        return {path: tree[path] for path in paths}

    found: Any = adam().update(
        part(gradients), state._replace(count=count, mu=part(state.mu), nu=part(state.nu))
    )
    return found


def forget_pruned(state: Any, masks: Masks) -> Any:
    """Clear the moments of pruned weights; else momentum would move them."""
    return state._replace(mu=mask_kernels(state.mu, masks), nu=mask_kernels(state.nu, masks))


def forget_learned(state: Any) -> Any:
    """Clear the moments of what a method learns."""

    def forget(moments: Flat) -> dict[str, Any]:
        return {
            path: jnp.zeros_like(leaf) if path.startswith(METHOD) else leaf
            for path, leaf in moments.items()
        }

    return state._replace(mu=forget(state.mu), nu=forget(state.nu))
