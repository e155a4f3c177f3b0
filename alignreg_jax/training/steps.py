"""The compiled training step. Pure; one trace per shape.

The factory closes over what is static (model, method, settings, mesh) and returns a jitted function
of values. Numbers a sweep varies are traced leaves of `hyper`, so they never recompile.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float

from alignreg_jax.models import xlmr
from alignreg_jax.models.elastic import Elastic
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning.kernels import Kernels
from alignreg_jax.pruning.method import Clock, Hyper, Method, Weights
from alignreg_jax.training import losses, optimizers, sharding
from alignreg_jax.training.lifting import Lift
from alignreg_jax.training.losses import Teacher
from alignreg_jax.training.programs import made_once
from alignreg_jax.training.state import (
    Batch,
    DeviceData,
    TrainState,
    learned,
    partition,
    relearned,
    unflatten,
)

# Streams folded into a step's key; a number once given keeps its meaning
_DROPOUT, _METHOD, _SIZES = 0, 1, 2

Metrics = dict[str, Array]
TrainStep = Callable[..., tuple[TrainState, Metrics]]


@dataclass(frozen=True)
class StepSettings:
    """What changes the program of a step, not just its numbers."""

    accumulation: int = 1
    schedule: str = "constant"
    clip: bool = False
    freeze: tuple[str, ...] = ()
    hidden_layers: tuple[int, ...] = ()
    taught_labelled: bool = True  # the teacher speaks about what has a label, too


@made_once
def make_train_step(
    model: xlmr.XlmrModel,
    method: Method,
    settings: StepSettings,
    mesh: Mesh,
    places: sharding.Places,
    lift: Lift,
) -> TrainStep:
    """Compile the program of a dispatch.

    That is `train(state, reference, data, teacher, rows, count, hyper, clock, *, length, whole)`.
    `rows` is `[steps, batch]`; only its first `count` (traced) steps are run, so a short dispatch
    needs no program of its own. `whole` says that all of them are, for a program in which XLA knows
    how often the loop turns: a GPU then need not ask the host after every step. `teacher` is None
    where nobody teaches. `clock.marks` has a leading axis of steps, for `method.step_masks`.
    `state` is donated. Returns the new state and metrics `[steps]`, of which the first `count` mean
    something. What several seeds have of their own has a leading axis.
    """
    batch_sharding = NamedSharding(mesh, sharding.BATCH)
    replicated = NamedSharding(mesh, sharding.REPLICATED)
    model = model.clone(pins=sharding.pins(mesh))

    def one_step(
        state: TrainState,
        reference: Weights,
        data: DeviceData,
        teacher: Teacher | None,
        rows: Array,
        hyper: Hyper,
        clock: Clock,
        length: int,
    ) -> tuple[TrainState, Metrics]:
        clock = replace(clock, step=state.step)
        if method.step_masks:
            kernels, _ = prunable.split(state.params)
            new = method.step_masks(kernels, state.masks, state.method, hyper, clock)
            state = state.replace(masks=new)
        key = jax.random.fold_in(state.key, state.step)
        dropout_key, method_key = (jax.random.fold_in(key, i) for i in (_DROPOUT, _METHOD))
        tau, sizes = None, None
        if method.sizes:
            sizes_key = jax.random.fold_in(key, _SIZES)
            tau, sizes = method.sizes(state.method, hyper, sizes_key, rows.shape[0])
        trainable, frozen = partition(state.params, settings.freeze)
        trained = {**trainable, **learned(state.method, method.labels)}

        def effective(trained: dict[str, Any]) -> tuple[Kernels, dict[str, Any]]:
            weights = {path: trained[path] for path in trainable}
            kernels, rest = prunable.split(unflatten({**frozen, **weights}))
            method_state = relearned(state.method, trained)
            return method.effective(
                kernels, state.masks, method_state, hyper, clock, method_key, True
            ), rest

        counts = count_targets(data, rows, length, settings.taught_labelled)

        def task(
            trained: dict[str, Any], part: tuple[Array, Array | None], key: Array
        ) -> tuple[Array, dict[str, Array]]:
            rows, sizes = part
            batch = jax.lax.with_sharding_constraint(
                data.batch(rows, length, model.config.pad_token_id), batch_sharding
            )
            params = prunable.merge(*effective(trained))
            elastic = None if tau is None or sizes is None else (tau, sizes)
            if teacher is None:
                logits = xlmr.logits(model, params, batch.ids, batch.lengths, key, elastic)
                return jnp.sum(losses.cross_entropy(logits, batch.labels) * batch.weights), {}
            return taught(params, teacher, batch, rows, key, elastic)

        def taught(
            params: Any, teacher: Teacher, batch: Batch, rows: Array, key: Array,
            elastic: Elastic | None,
        ) -> tuple[Array, dict[str, Array]]:  # fmt: skip
            """This microbatch's part of the step's loss. Labels keep their weight beside text."""
            given = batch.ids, batch.lengths
            hidden = jnp.float32(0)
            if teacher.params is None:
                logits = xlmr.logits(model, params, *given, key, elastic)
            else:
                logits, states = xlmr.logits_and_states(model, params, *given, key, elastic)
                theirs = xlmr.hidden_states(model, teacher.params, *given)
                lengths = taught_lengths(batch, settings.taught_labelled)
                hidden = losses.hidden_distance(states, theirs, lengths, settings.hidden_layers)
            said = teacher.logits[jnp.maximum(data.places(rows, length), 0)]
            apart = losses.divergence(logits, said, hyper.distill_temperature)
            parts = {
                "task_loss": jnp.sum(losses.cross_entropy(logits, batch.labels) * batch.weights)
                / counts.labelled,
                "teacher_loss": jnp.sum(apart * taught_targets(batch, settings.taught_labelled))
                / counts.taught,
                "hidden_loss": hidden / counts.pieces,
            }
            share = hyper.distill_weight
            value = (1 - share) * parts["task_loss"] + share * parts["teacher_loss"]
            return value + hyper.distill_hidden * parts["hidden_loss"], parts

        def penalty(trained: dict[str, Any]) -> tuple[Array, Metrics]:
            weights = Weights(
                effective(trained)[0], {path: trained[path] for path in reference.rest}
            )
            method_state = relearned(state.method, trained)
            return method.penalty(weights, state.masks, reference, method_state, hyper, clock)

        # The penalty once per step, the task once per microbatch; sums of targets, then a mean
        (task_sum, parts), gradients = accumulate(
            jax.value_and_grad(task, has_aux=True), trained, (rows, sizes), dropout_key,
            settings.accumulation,
        )  # fmt: skip
        targets = counts.labelled if teacher is None else 1.0
        (penalty_value, logs), pull = jax.value_and_grad(penalty, has_aux=True)(trained)
        gradients = {path: gradients[path] / targets + pull[path] for path in trained}
        if method.zero_pruned:
            gradients = optimizers.mask_kernels(gradients, state.masks)
        # Of the weights: what a method learns has its own scale and would change their clipping
        of_weights = {path: gradients[path] for path in trainable}
        norm = optax.tree.norm(of_weights)
        if settings.clip:
            gradients |= optimizers.clip_by_global_norm(of_weights, norm, hyper.max_grad_norm)
        factor = optimizers.rate_factor(
            state.step - clock.begun,
            warmup=hyper.warmup_steps,
            total=clock.total_steps,
            schedule=settings.schedule,
        )
        moved, optimizer = optimizers.update(
            trained,
            gradients,
            state.optimizer,
            rates={
                "weights": hyper.learning_rate * factor,
                "scores": hyper.score_learning_rate * factor,
                "ascent": -hyper.multiplier_learning_rate,
            },
            weight_decay=hyper.weight_decay,
            learn=clock.learn,
        )
        if method.zero_pruned:
            moved = optimizers.mask_kernels(moved, state.masks)
        metrics = {
            "loss": task_sum / targets + penalty_value,
            "task_loss": task_sum / targets,
            "penalty": penalty_value,
            "grad_norm": norm,
            "learning_rate": hyper.learning_rate * factor,
            "examples": jnp.sum(rows >= 0).astype(jnp.float32),
            **parts,
            **logs,
        }
        weights = {path: moved[path] for path in trainable}
        new_state = state.replace(
            step=state.step + 1,
            params=unflatten({**frozen, **weights}),
            method=relearned(state.method, moved),
            optimizer=optimizer,
        )
        return new_state, metrics

    # Metrics whole on every device: each process of a pod can then read them
    @partial(
        jax.jit,
        donate_argnums=0,
        static_argnames=("length", "whole"),
        out_shardings=(places.tree, replicated),
    )
    def train(
        state: TrainState,
        reference: Weights,
        data: DeviceData,
        teacher: Teacher | None,
        rows: Array,
        count: Array,
        hyper: Hyper,
        clock: Clock,
        *,
        length: int,
        whole: bool = False,
    ) -> tuple[TrainState, Metrics]:
        def at(index: Any) -> Clock:
            return replace(clock, marks=jax.tree.map(lambda leaf: leaf[index], clock.marks))

        def one_seed(
            state: TrainState, reference: Weights, teacher: Teacher | None, rows: Array
        ) -> tuple[TrainState, Metrics]:
            @partial(jax.jit, inline=True)  # traced once, for the shapes and in the loop
            def run(state: TrainState, rows: Array, clock: Clock) -> tuple[TrainState, Metrics]:
                return one_step(state, reference, data, teacher, rows, hyper, clock, length)

            shapes = jax.eval_shape(run, state, rows[0], at(0))[1]
            start = {name: jnp.zeros(rows.shape[0], leaf.dtype) for name, leaf in shapes.items()}

            def body(index: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
                state, history = carry
                state, metrics = run(state, rows[index], at(index))
                return state, {name: history[name].at[index].set(metrics[name]) for name in history}

            turns = rows.shape[0] if whole else count
            return jax.lax.fori_loop(0, turns, body, (state, start))

        axes = (lift.own, lift.weights, lift.own, lift.own)
        return lift(one_seed, axes)(state, reference, teacher, rows)

    return train


class Counts(NamedTuple):
    """What the sums over a batch are divided by: each at least 1."""

    labelled: Float[Array, ""]
    taught: Float[Array, ""]
    pieces: Float[Array, ""]


def taught_targets(batch: Batch, labelled: bool) -> Array:
    """1 for what the teacher speaks about: every target, or only those without a label."""
    return batch.targets if labelled else batch.targets - batch.weights


def taught_lengths(batch: Batch, labelled: bool) -> Array:
    """Pieces of each row that the teacher speaks about; 0 of one that has a label alone."""
    if labelled:
        return batch.lengths
    taught = taught_targets(batch, labelled).reshape(len(batch.lengths), -1)
    return jnp.where(jnp.any(taught > 0, axis=1), batch.lengths, 0)


def count_targets(data: DeviceData, rows: Array, length: int, labelled: bool = True) -> Counts:
    """Rows of a batch, or in token tasks its words: with a label, taught; and pieces taught."""
    batch = data.batch(rows, length, 0)
    taught = taught_targets(batch, labelled), taught_lengths(batch, labelled)
    found = (jnp.sum(part) for part in (batch.weights, *taught))
    return Counts(*(jnp.maximum(part, 1).astype(jnp.float32) for part in found))


def accumulate(
    value_and_grad: Callable, trained: dict[str, Any], rows: Any, key: Array, parts: int
) -> Any:
    """Sum of losses and gradients over `parts` microbatches, in float32.

    `value_and_grad` is called with (trained, rows of a microbatch, its key); `rows` is one array
    `[batch]` or a tree of them.
    """
    if parts == 1:
        return value_and_grad(trained, rows, key)
    # Strided parts: every one of them spreads over all devices of the batch axis
    microbatches = jax.tree.map(lambda leaf: leaf.reshape(-1, parts).T, rows)

    def add(total: Any, part: tuple[Any, Array]) -> tuple[Any, None]:
        rows, index = part
        found = value_and_grad(trained, rows, jax.random.fold_in(key, index))
        return jax.tree.map(jnp.add, total, found), None

    first = jax.tree.map(lambda leaf: leaf[0], microbatches)
    shapes = jax.eval_shape(value_and_grad, trained, first, key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)
    total, _ = jax.lax.scan(add, zeros, (microbatches, jnp.arange(parts)))
    return total
