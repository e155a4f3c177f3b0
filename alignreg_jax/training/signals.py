"""What a criterion wants to know of the data: gradients or inputs, summed over batches."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array

from alignreg_jax.models import xlmr
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import units
from alignreg_jax.pruning.kernels import KERNELS, Kernels
from alignreg_jax.pruning.method import GRADIENTS, GRAMS, INPUTS, MEASURED, Clock, Hyper
from alignreg_jax.training import sharding
from alignreg_jax.training.lifting import Lift
from alignreg_jax.training.losses import Teacher, cross_entropy
from alignreg_jax.training.programs import made_once
from alignreg_jax.training.state import Batch, DeviceData, TrainState
from alignreg_jax.training.steps import accumulate, count_targets

Signals = dict[str, dict[str, Array]]

# How one batch's gradient enters each signal: those of weights, and those of units' gates
_TERMS = {"grad": lambda leaf: leaf, "grad_abs": jnp.abs, "grad_squared": jnp.square}
_UNIT_TERMS = {"units_abs": jnp.abs, "units_squared": jnp.square}
assert _TERMS.keys() | _UNIT_TERMS.keys() == GRADIENTS


@made_once
def make_zeros(needs: frozenset[str], heads: int, mesh: Mesh, lift: Lift) -> Callable[..., Any]:
    """Compile `zeros(kernels)`: sums to start from, float32, for the signals in `needs`.

    The kernels give the shapes: of one seed, or with a leading axis of several. `heads` is how many
    a layer has.
    """
    wanted = sorted(needs & MEASURED)

    def one_seed(kernels: dict[str, Array]) -> dict[str, Any]:
        of_units = dict.fromkeys(_UNIT_TERMS, units.shapes(kernels, heads))
        inputs = {name: kernels[name].shape[:2] for name in KERNELS}
        grams = {name: (*shape, shape[1]) for name, shape in inputs.items()}
        of_inputs = {INPUTS: inputs, GRAMS: grams}
        of_weights = {name: kernels[name].shape for name in KERNELS}
        shapes = {signal: (of_units | of_inputs).get(signal, of_weights) for signal in wanted}
        return {
            signal: {name: jnp.zeros(shape, jnp.float32) for name, shape in own.items()}
            for signal, own in shapes.items()
        }

    @partial(jax.jit, out_shardings=_shardings(needs, mesh, lift))
    def zeros(kernels: dict[str, Array]) -> dict[str, Any]:
        return lift(one_seed, (lift.own,))(kernels)

    return zeros


@made_once
def make_accumulate(
    model: xlmr.XlmrModel,
    effective: Callable[..., Kernels],
    needs: frozenset[str],
    accumulation: int,
    mesh: Mesh,
    lift: Lift,
) -> Callable[..., Any]:
    """Compile `accumulate(sums, state, data, teacher, rows, count, hyper, clock, *, length)`.

    Adds, for each of the first `count` batches of `rows` `[steps, batch]`, the gradient of the
    batch's mean task loss with respect to the effective kernels: dropout off, no penalty, no
    clipping. Every batch counts the same, in however many microbatches it is computed. `sums` is
    donated. Of inputs, squares or products over all real pieces.

    With a `teacher` the label of a row is what that says, and rows need none of their own. Not its
    probabilities: before the first cut the model is its own teacher, and the gradient of their
    cross-entropy would be 0.
    """
    batch_sharding = NamedSharding(mesh, sharding.BATCH)
    heads = model.config.layers[0].heads
    model = model.clone(pins=sharding.pins(mesh))

    def one_seed(
        sums: Signals,
        state: TrainState,
        data: DeviceData,
        teacher: Teacher | None,
        rows: Array,
        count: Array,
        hyper: Hyper,
        clock: Clock,
        length: int,
    ) -> Signals:
        kernels, rest = prunable.split(state.params)
        clock = replace(clock, step=state.step)
        used = effective(kernels, state.masks, state.method, hyper, clock, None, False)

        def batch_of(rows: Array) -> Batch:
            return jax.lax.with_sharding_constraint(
                data.batch(rows, length, model.config.pad_token_id), batch_sharding
            )

        def of_inputs(used: Kernels, rows: Array, key: Array) -> Signals:
            batch, params = batch_of(rows), prunable.merge(used, rest)
            given = model, params, batch.ids, batch.lengths
            return {
                signal: xlmr.input_products(*given, squares=signal == INPUTS)
                for signal in (INPUTS, GRAMS)
                if signal in sums
            }

        def loss(used: Kernels, rows: Array, key: Array) -> Array:
            batch = batch_of(rows)
            params = prunable.merge(used, rest)
            logits = xlmr.logits(model, params, batch.ids, batch.lengths)
            labels, weights = batch.labels, batch.weights
            if teacher is not None:
                said = teacher.logits[jnp.maximum(data.places(rows, length), 0)]
                labels, weights = jnp.argmax(said, axis=-1), batch.targets
            return jnp.sum(cross_entropy(logits, labels) * weights)

        def body(index: Array, sums: Signals) -> Signals:
            # In the microbatches of training: what fits in memory there fits here
            terms = {}
            if needs & {INPUTS, GRAMS}:
                terms |= accumulate(of_inputs, used, rows[index], state.key, accumulation)
            if needs & GRADIENTS:
                terms |= gradients_of(rows[index])
            return jax.tree.map(jnp.add, sums, terms)

        def gradients_of(rows: Array) -> Signals:
            _, gradients = accumulate(jax.value_and_grad(loss), used, rows, state.key, accumulation)
            counts = count_targets(data, rows, length)
            targets = counts.labelled if teacher is None else counts.taught
            gradients = {name: gradients[name] / targets for name in KERNELS}
            gates = units.importance(used, gradients, heads) if needs & _UNIT_TERMS.keys() else {}
            return {
                signal: jax.tree.map(_UNIT_TERMS[signal], gates)
                if signal in _UNIT_TERMS
                else jax.tree.map(_TERMS[signal], gradients)
                for signal in sums  # their order is the same in every process
                if signal in GRADIENTS
            }

        return jax.lax.fori_loop(0, count, body, sums)

    @partial(
        jax.jit,
        donate_argnums=0,
        static_argnames="length",
        out_shardings=_shardings(needs, mesh, lift),
    )
    def add_up(
        sums: Any,
        state: TrainState,
        data: DeviceData,
        teacher: Teacher | None,
        rows: Array,
        count: Array,
        hyper: Hyper,
        clock: Clock,
        *,
        length: int,
    ) -> Any:
        add = partial(one_seed, length=length)
        axes = (lift.own, lift.own, None, lift.own, lift.own, None, None, None)
        return lift(add, axes)(sums, state, data, teacher, rows, count, hyper, clock)

    return add_up


def _shardings(needs: frozenset[str], mesh: Mesh, lift: Lift) -> dict[str, Any]:
    """Where the sums of each signal are: with the kernels; of units and inputs everywhere."""
    everywhere = NamedSharding(mesh, sharding.REPLICATED)
    of_units, of_inputs = (dict.fromkeys(names, everywhere) for names in (units.UNITS, KERNELS))
    small = {**dict.fromkeys(_UNIT_TERMS, of_units), **dict.fromkeys((INPUTS, GRAMS), of_inputs)}
    return {
        signal: lift.shardings(small.get(signal, sharding.for_kernels(mesh)))
        for signal in needs & MEASURED
    }
