"""Compiled passes over rows without training: classes to score, and what a teacher says."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array

from alignreg_jax.models import xlmr
from alignreg_jax.training import sharding
from alignreg_jax.training.programs import made_once
from alignreg_jax.training.state import DeviceData

NOT_FINITE = -2
"""In place of a class, where a logit is NaN or infinite: the largest of them means nothing."""


@made_once
def make_predict(model: xlmr.XlmrModel, mesh: Mesh) -> Callable[..., tuple[Array, Array]]:
    """Compile `predict(predictions, params, data, rows, count, *, length)`.

    Writes the class of every row, or token, in the first `count` steps of `rows` `[steps, batch]`
    into `predictions` `[targets + 1]` (donated), NOT_FINITE where there is none; padding lands in
    the last entry. All languages
    share the buffer, so an evaluation is fetched once. Also returns `count`, which a caller can
    wait for when the buffer itself has been donated on.
    """
    batch_sharding = NamedSharding(mesh, sharding.BATCH)
    replicated = NamedSharding(mesh, sharding.REPLICATED)
    model = model.clone(pins=sharding.pins(mesh))

    @partial(jax.jit, donate_argnums=0, static_argnames="length", out_shardings=replicated)
    def predict(
        predictions: Array, params: Any, data: DeviceData, rows: Array, count: Array, *, length: int
    ) -> tuple[Array, Array]:
        def body(index: Array, predictions: Array) -> Array:
            batch = jax.lax.with_sharding_constraint(
                data.batch(rows[index], length, model.config.pad_token_id), batch_sharding
            )
            logits = xlmr.logits(model, params, batch.ids, batch.lengths)
            finite = jnp.all(jnp.isfinite(logits), axis=-1)
            classes = jnp.where(finite, jnp.argmax(logits, axis=-1), NOT_FINITE).astype(jnp.int32)
            # -1 is the last entry
            return predictions.at[data.places(rows[index], length)].set(classes)

        predictions = jax.lax.fori_loop(0, count, body, predictions)
        # The barrier ties the count to the loop, or it would be ready before the work is done
        return jax.lax.optimization_barrier((predictions, count))

    return predict


@made_once
def make_teach(model: xlmr.XlmrModel, mesh: Mesh) -> Callable[..., Array]:
    """Compile `teach(logits, params, data, rows, count, *, length)`.

    Writes the logits of every row, or token, in the first `count` steps of `rows` `[steps, batch]`
    into `logits` `[targets + 1, labels]` (donated); padding lands in the last entry.
    """
    batch_sharding = NamedSharding(mesh, sharding.BATCH)
    replicated = NamedSharding(mesh, sharding.REPLICATED)
    model = model.clone(pins=sharding.pins(mesh))

    @partial(jax.jit, donate_argnums=0, static_argnames="length", out_shardings=replicated)
    def teach(
        logits: Array, params: Any, data: DeviceData, rows: Array, count: Array, *, length: int
    ) -> Array:
        def body(index: Array, logits: Array) -> Array:
            batch = jax.lax.with_sharding_constraint(
                data.batch(rows[index], length, model.config.pad_token_id), batch_sharding
            )
            found = xlmr.logits(model, params, batch.ids, batch.lengths)
            return logits.at[data.places(rows[index], length)].set(found)

        return jax.lax.fori_loop(0, count, body, logits)

    return teach
