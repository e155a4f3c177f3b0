"""Compiled passes over rows without training: classes to score, and what a teacher says."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int32

from alignreg_jax.data.batching import PADDING_ROW, Dispatch
from alignreg_jax.models import xlmr
from alignreg_jax.models.elastic import Tau
from alignreg_jax.training import sharding
from alignreg_jax.training.programs import made_once
from alignreg_jax.training.state import DeviceData

NOT_FINITE = -2
"""In place of a class, where a logit is NaN or infinite: the largest of them means nothing."""

Pass = Callable[..., tuple[Array, Array]]


def make_predict(model: xlmr.XlmrModel, mesh: Mesh) -> Pass:
    """Compile the pass of `_make` for classes, NOT_FINITE where there is none."""
    return _make(model, mesh, _classes, "predict", sharding.REPLICATED)


def make_teach(model: xlmr.XlmrModel, mesh: Mesh, spec: PartitionSpec) -> Pass:
    """Compile the pass of `_make` for the logits themselves, which `spec` spreads over devices."""
    return _make(model, mesh, _as_they_are, "teach", spec)


def _classes(logits: Float[Array, "*rows labels"]) -> Int32[Array, "*rows"]:
    finite = jnp.all(jnp.isfinite(logits), axis=-1)
    return jnp.where(finite, jnp.argmax(logits, axis=-1), NOT_FINITE).astype(jnp.int32)


def _as_they_are(logits: Float[Array, "*rows labels"]) -> Float[Array, "*rows labels"]:
    return logits


@made_once
def _make(
    model: xlmr.XlmrModel,
    mesh: Mesh,
    answer: Callable[[Array], Array],
    name: str,
    spec: PartitionSpec,
) -> Pass:
    """Compile `run(found, params, data, rows, count, at=None, *, length)`.

    Writes the answer for every row, or token, in the first `count` steps of `rows` `[steps, batch]`
    into `found` `[more than targets, ...]` (donated); padding lands in the last entry. All
    languages share the buffer, so an evaluation is fetched once. Also returns `count`, which a
    caller can wait for when the buffer itself has been donated on. `at`, `(tau, size)`, has the
    model answer at a size; it is traced. `name` is the program's, for profiles; `spec` says where
    `found` lies.
    """
    batch_sharding = NamedSharding(mesh, sharding.BATCH)
    replicated = NamedSharding(mesh, sharding.REPLICATED)
    model = model.clone(pins=sharding.pins(mesh))

    def run(
        found: Array, params: Any, data: DeviceData, rows: Array, count: Array,
        at: tuple[Tau, Array] | None = None, *, length: int,
    ) -> tuple[Array, Array]:  # fmt: skip
        elastic = None if at is None else (at[0], jnp.full(rows.shape[1:], at[1]))

        def body(index: Array, found: Array) -> Array:
            batch = jax.lax.with_sharding_constraint(
                data.batch(rows[index], length, model.config.pad_token_id), batch_sharding
            )
            logits = xlmr.logits(model, params, batch.ids, batch.lengths, elastic=elastic)
            answers = answer(logits)
            # -1 is the last entry
            return found.at[data.places(rows[index], length)].set(answers)

        found = jax.lax.fori_loop(0, count, body, found)
        # The barrier ties the count to the loop, or it would be ready before the work is done
        return jax.lax.optimization_barrier((found, count))

    run.__name__ = name
    places = NamedSharding(mesh, spec), replicated
    return jax.jit(run, donate_argnums=0, static_argnames="length", out_shardings=places)


def through(
    run: Pass,
    found: Array,
    params: Any,
    data: DeviceData,
    plan: Sequence[Dispatch],
    *,
    shape: tuple[int, int],
    place: Callable[[Any], Any],
    update: Callable[[int], object],
    at: tuple[Tau, Array] | None = None,
) -> Array:
    """Have a pass answer all rows of a plan.

    Args:
        run: of `make_predict` or `make_teach`.
        found: where the answers go.
        params: of the network.
        data: the rows.
        plan: in which batches.
        shape: of the rows of every call, `[steps, batch]`.
        place: puts host arrays on every device.
        update: told the number of rows done since the last call.
        at: thresholds and the size that the network answers at, on every device; None: whole.
    """
    done: list[tuple[Array, int]] = []
    for dispatch in plan:
        steps = len(dispatch.rows)
        rows = np.full(shape, PADDING_ROW, np.int32)
        rows[:steps] = dispatch.rows
        given = place((rows, np.int32(steps)))
        found, token = run(found, params, data, *given, at, length=dispatch.length)
        done.append((token, int(np.sum(dispatch.rows != PADDING_ROW))))
        if len(done) > 1:  # one dispatch stays in flight while the bar tells the truth
            token, count = done.pop(0)
            token.block_until_ready()
            update(count)
    found.block_until_ready()
    update(sum(count for _, count in done))
    return found
