"""Matrix products: rounded operands, sums in float32, a result of the operands' dtype.

XLA adds up in float32 in any case on a GPU or TPU. On a CPU it does so only where that is asked
for, and only then uses the processor's own instructions for bfloat16, where it has any
(docs/performance.md, "bfloat16 on a CPU"). The backward pass asks for the same,
which autodiff of one product would not: it would multiply a float32 gradient by rounded operands.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

PRODUCT = "product"
"""Name of every result here, by which rematerialisation keeps products and nothing else."""


def precision(dtype: Any) -> jax.lax.Precision | None:
    """Matmul precision: full float32 for float32 inputs.

    By default a GPU rounds float32 operands to TensorFloat-32 and a TPU to bfloat16.
    """
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


def einsum(terms: str, left: Array, right: Array, dtype: Any = None) -> Array:
    """`jnp.einsum` of two operands of one dtype, summed in float32 (float64 in float64).

    Args:
        terms: as jnp.einsum has them.
        left: first operand.
        right: second operand.
        dtype: of the result; None: of the operands.
    """
    summed = jnp.promote_types(left.dtype, jnp.float32)
    result = jnp.einsum(
        terms, left, right, precision=precision(left.dtype), preferred_element_type=summed
    )
    # The name on what is rounded: what it was summed in would take twice the memory
    return checkpoint_name(result.astype(left.dtype if dtype is None else dtype), PRODUCT)


def _product(inputs: Array, kernel: Array) -> Array:
    return einsum("...u,uw->...w", inputs, kernel)


@jax.custom_vjp
def times(
    inputs: Float[Array, "*rows units"], kernel: Float[Array, "units width"]
) -> Float[Array, "*rows width"]:
    """`inputs @ kernel`, both of one dtype, which the result and the gradients have, too."""
    return _product(inputs, kernel)


def _forward(inputs: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    # Not `times`: what a call of that holds is hidden from rematerialisation, which keeps names
    return _product(inputs, kernel), (inputs, kernel)


def _backward(residuals: tuple[Array, Array], pull: Array) -> tuple[Array, Array]:
    inputs, kernel = residuals
    rows = "abcd"[: inputs.ndim - 1]
    return (
        einsum("...w,uw->...u", pull, kernel),
        einsum(f"{rows}u,{rows}w->uw", inputs, pull),
    )


times.defvjp(_forward, _backward)
