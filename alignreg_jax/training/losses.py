"""What a training step minimises beside a method's penalty: labels, and what a teacher says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Teacher:
    """What a student is taught by.

    Attributes:
        logits: of every target of the training data, `[targets, labels]`, computed once.
        params: of the teacher itself, for its hidden states; None: they are not compared.
    """

    logits: Any
    params: Any = None


def cross_entropy(
    logits: Float[Array, "*rows labels"], labels: Int[Array, "*rows"]
) -> Float[Array, "*rows"]:
    """Cross-entropy of every row or token."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def divergence(
    logits: Float[Array, "*rows labels"],
    teacher: Float[Array, "*rows labels"],
    temperature: Float[Array, ""] | float,
) -> Float[Array, "*rows"]:
    """T^2 KL(teacher || student) of every row or token, both at temperature T (Hinton et al. 2015).

    T^2 keeps the size of the gradient: it falls as 1/T^2 where T is large.
    """
    student = jax.nn.log_softmax(logits / temperature)
    target = jax.nn.log_softmax(teacher / temperature)
    return temperature**2 * jnp.sum(jnp.exp(target) * (target - student), axis=-1)


def hidden_distance(
    states: Float[Array, "outputs batch length hidden"],
    teacher: Float[Array, "outputs batch length hidden"],
    lengths: Int[Array, " batch"],
    layers: Sequence[int],
) -> Float[Array, ""]:
    """Squared distances of hidden states: means over units, summed over real tokens and layers.

    Args:
        states: embedding output and that of every layer.
        teacher: the same of the teacher.
        lengths: pieces of each row; what comes after is padding.
        layers: which layers, from 1; 0 is the embedding output.
    """
    real = jnp.arange(states.shape[2])[None] < lengths[:, None]
    chosen = jnp.asarray(layers)
    squares = jnp.mean(jnp.square(states[chosen] - teacher[chosen]), axis=-1, dtype=jnp.float32)
    return jnp.sum(jnp.where(real[None], squares, 0.0))
