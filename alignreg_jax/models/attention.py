"""Attention with its weights laid out, so that they can be dropped, and its own backward pass.

What its barriers are for is said in pointwise.py.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alignreg_jax.models.products import einsum

Heads = Float[Array, "batch heads length head_size"]


def why_no_kernel(device: Any) -> str | None:
    """The reason why kernels for NVIDIA's Ampere and later do not run there, or None if they do."""
    capability = str(getattr(device, "compute_capability", ""))  # of AMD's a name, such as gfx90a
    if re.fullmatch(r"\d+\.\d+", capability) and float(capability) >= 8:
        return None
    found = f"{device.device_kind} {capability}".rstrip()
    return f"needs an NVIDIA GPU of compute capability 8.0 or newer, and this is {found}"


def why_no_kernel_of_ours(devices: Sequence[Any]) -> str | None:
    """The reason why our own kernels cannot be used there, or None if they can."""
    if trouble := why_no_kernel(devices[0]):
        return trouble
    if len(devices) > 1:
        return f"needs one device, and there are {len(devices)}: how it is divided was not tried"
    return None


def why_not_cudnn(head_size: int, dtype: Any, device: Any) -> str | None:
    """The reason why cuDNN's attention (without dropout) cannot be used, or None if it can."""
    if trouble := why_no_kernel(device):
        return trouble
    if dtype != jnp.bfloat16:
        return "needs model.dtype=bfloat16"
    if head_size % 8 or head_size > 128:
        return f"takes heads of 8, 16, ... 128 units; the encoder's have {head_size}"
    return None


def default_implementation(
    head_size: int, dtype: Any, devices: Sequence[Any]
) -> Literal["einsum", "cudnn"]:
    """What computes attention when model.attention=auto: cuDNN where one device can."""
    alone = len(devices) == 1  # how its kernel is divided over several has not been tried
    return "cudnn" if alone and not why_not_cudnn(head_size, dtype, devices[0]) else "einsum"


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def attend(
    query: Heads,
    key: Heads,
    value: Heads,
    valid: Bool[Array, "batch length"],
    kept: Bool[Array, "batch heads length length"] | None,
    scale: float,
) -> Heads:
    """Softmax attention (Vaswani et al. 2017), its weights dropped.

    Logits and softmax in float32; weights and their gradients in the dtype of `query`.

    Args:
        query: as key and value.
        valid: positions that may be attended to; a row without one attends to all alike.
        kept: weights that dropout leaves; None: all.
        scale: of the weights that are left.

    Returns:
        The context.
    """
    return _forward(query, key, value, valid, kept, scale)[0]


def _forward(
    query: Heads, key: Heads, value: Heads, valid: Array, kept: Array | None, scale: float
) -> tuple[Heads, tuple[Array, ...]]:
    logits = einsum("bhqd,bhkd->bhqk", query, key, jnp.float32)
    logits = logits * query.shape[-1] ** -0.5
    logits = jnp.where(valid[:, None, None, :], logits, jnp.finfo(jnp.float32).min)
    whole = jax.nn.softmax(logits, axis=-1).astype(query.dtype)
    weights = whole
    if kept is not None:
        whole = jax.lax.optimization_barrier(whole)
        weights = jnp.where(kept, whole.astype(jnp.float32) * scale, 0.0).astype(query.dtype)
    context = einsum("bhqk,bhkd->bhqd", weights, value)
    return context, (query, key, value, valid, whole, weights)


def _backward(scale: float, residuals: tuple[Array, ...], pull: Heads) -> tuple[Array | None, ...]:
    query, key, value, valid, whole, weights = jax.lax.optimization_barrier(residuals)
    whole = whole.astype(jnp.float32)
    gradient = einsum("bhqd,bhkd->bhqk", pull, value).astype(jnp.float32) * scale
    # Where a weight is 0 without having been dropped, softmax has underflowed: nothing passes there
    gradient = jnp.where(weights == 0, 0.0, gradient)
    # In a row of padding only softmax gives weight to positions that are masked
    whole = jnp.where(valid[:, None, None, :], whole, 0.0)
    total = jnp.sum(whole * gradient, axis=-1, keepdims=True)
    logits = (whole * (gradient - total) * query.shape[-1] ** -0.5).astype(query.dtype)
    return (
        einsum("bhqk,bhkd->bhqd", logits, key),
        einsum("bhqk,bhqd->bhkd", logits, query),
        einsum("bhqk,bhqd->bhkd", weights, pull),
        None,
        None,
    )


attend.defvjp(_forward, _backward)
