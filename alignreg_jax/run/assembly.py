"""From a configuration and its inputs to what a run works with: model, trainer, evaluator."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation.evaluator import Evaluator
from alignreg_jax.models import vocabulary, xlmr
from alignreg_jax.models.attention import default_implementation, why_not_cudnn
from alignreg_jax.models.fused_attention import why_not_fused
from alignreg_jax.models.fused_norm import why_not_fused as why_no_fused_norm
from alignreg_jax.models.xlmr import Attention, Norm, XlmrConfig, XlmrModel
from alignreg_jax.pruning.method import Hyper, Method
from alignreg_jax.run.inputs import Inputs, frozen_later
from alignreg_jax.run.plan import Phases, begins_anew, method_of
from alignreg_jax.support import processes
from alignreg_jax.training import forward, optimizers, sharding, steps, teaching
from alignreg_jax.training.losses import Teacher
from alignreg_jax.training.state import is_frozen
from alignreg_jax.training.trainer import Trainer

log = logging.getLogger(__name__)


def build_model(config: ExperimentConfig, inputs: Inputs) -> XlmrModel:
    """The encoder, with the rows of the word embedding that are trained, and its head."""
    whole, active = inputs.encoder.config, inputs.vocabulary
    devices = inputs.mesh.devices.ravel()
    if config.model.attention_dropout is not None:
        whole = replace(whole, attention_dropout=config.model.attention_dropout)
    return XlmrModel(
        config=active.config(whole) if active else whole,
        head=inputs.head,
        num_labels=len(inputs.dataset.labels),
        dtype=jnp.dtype(config.model.dtype),
        remat=config.model.remat,
        unroll=config.model.unroll or xlmr.unrolled(devices[0].platform, whole.num_layers),
        attention=_attention(
            config.model.attention, whole, config.model.dtype, list(devices), inputs.max_length
        ),
        norm=_norm(config.model.norm, whole, list(devices)),
    )


def _attention(
    choice: str, config: XlmrConfig, dtype: str, devices: Sequence[Any], length: int
) -> Attention:
    """What computes attention, of rows of at most `length` pieces.

    Raises:
        UserError: it cannot be what was asked for.
    """
    size, kind = config.layers[0].head_size, jnp.dtype(dtype)
    if choice == "einsum":
        return "einsum"
    if choice == "auto":
        return default_implementation(size, kind, devices)
    if choice == "fused":
        if trouble := why_not_fused(size, length, kind, devices):
            raise UserError(f"model.attention=fused {trouble}")
        return "fused"
    trouble = why_not_cudnn(size, kind, devices[0])
    if trouble:
        raise UserError(f"model.attention=cudnn {trouble}")
    if config.attention_dropout:
        log.info(
            "model.attention=cudnn has no dropout: it serves evaluation, and training has"
            " attention dropout of %g without it; model.attention_dropout=0 for both",
            config.attention_dropout,
        )
    return "cudnn"


def _norm(choice: str, config: XlmrConfig, devices: Sequence[Any]) -> Norm:
    """What ends a half of a layer.

    Raises:
        UserError: it cannot be what was asked for.
    """
    if choice != "fused":
        return "plain"
    if trouble := why_no_fused_norm(config.hidden_size, devices):
        raise UserError(f"model.norm=fused {trouble}")
    return "fused"


def build_trainer(
    config: ExperimentConfig,
    inputs: Inputs,
    model: XlmrModel,
    phases: Phases,
    seeds: Sequence[int],
    *,
    later: bool,
) -> Trainer:
    """State and steps on the mesh, for one seed or for several side by side.

    Args:
        config: of the run; of which seed does not matter.
        inputs: of the run.
        model: of `build_model`.
        phases: the time table.
        seeds: of the run.
        later: whether for what the method trains. Otherwise for phase 0 of a method that trains in
            a way of its own after it (`plan.begins_anew`): the plain dense phase.
    """
    train, pruning, regularizer, distill = (
        config.train, config.pruning, config.regularizer, config.distill
    )  # fmt: skip
    method = method_of(config, model.config.layers[0].heads)
    anew = begins_anew(config)
    apart = anew and pruning.start == "pretrained"  # with a schedule of its own
    dense_steps = phases.steps(0)
    settings = steps.StepSettings(
        accumulation=train.accumulation,
        schedule=train.schedule,
        clip=train.max_grad_norm > 0,
        freeze=frozen_later(config) if later else train.freeze,
        hidden_layers=_hidden_layers(config, model),
        taught_labelled=distill.rows == "all",
    )
    params = inputs.encoder.params
    return Trainer(
        model,
        method if later else Method(name="dense"),
        settings,
        inputs.mesh,
        params=inputs.vocabulary.cut(params) if inputs.vocabulary else params,
        train=inputs.train,
        seeds=seeds,
        heads=inputs.heads(seeds),
        own_reference=regularizer.reference == "finetuned",
        keep_zeros=pruning.keep_zeros,
        hyper=Hyper(
            learning_rate=train.learning_rate,
            weight_decay=train.weight_decay,
            warmup_steps=train.warmup_steps,
            max_grad_norm=train.max_grad_norm,
            score_learning_rate=train.score_learning_rate or 0.0,
            multiplier_learning_rate=train.multiplier_learning_rate,
            regularizer_weight=regularizer.weight or 0.0,
            train_examples=inputs.labelled,
            mask_threshold=pruning.threshold,
            distill_weight=distill.weight,
            distill_temperature=distill.temperature,
            distill_hidden=distill.hidden,
            smallest_size=pruning.sizes[-1] if pruning.sizes else 1.0,
        ),
        total_steps=(
            phases.total_steps - dense_steps if apart and later
            else dense_steps if apart
            else phases.total_steps
        ),
        batch_size=train.batch_size,
        steps_per_dispatch=train.steps_per_dispatch,
        static_loop=train.static_loop,
        step=dense_steps if anew and later else 0,
        begun=dense_steps if apart and later else 0,
    )  # fmt: skip


def _hidden_layers(config: ExperimentConfig, model: XlmrModel) -> tuple[int, ...]:
    """Layers whose hidden states are compared with a teacher's; none where they are not.

    Raises:
        UserError: a layer that the encoder does not have.
    """
    distill, last = config.distill, model.config.num_layers
    if not distill.hidden:
        return ()
    if wrong := [layer for layer in distill.layers if layer > last]:
        raise UserError(f"distill.layers={wrong[0]}: the encoder has {last} layers")
    return distill.layers or tuple(range(1, last + 1))


def ask_teacher(
    config: ExperimentConfig, inputs: Inputs, model: XlmrModel, trainer: Trainer, index: int
) -> Teacher:
    """Have every training row answered: by the run's own weights as they are, or a checkpoint.

    Args:
        config: of the run.
        inputs: of the run; with a teacher, it answers.
        model: of the run.
        trainer: of the run, whose weights teach otherwise.
        index: of which seed.
    """
    if inputs.teacher is None:
        params = trainer.serve(trainer.member(index)[0])
    else:
        active, other = inputs.vocabulary, inputs.teacher.config
        model = model.clone(config=active.config(other) if active else other)
        host = inputs.teacher.params
        host = active.cut(host) if active else host
        params = processes.place(host, sharding.for_params(host, inputs.mesh))
    logits = teaching.teach(
        model.clone(unroll=1),
        params,
        inputs.train,
        trainer.data,
        mesh=inputs.mesh,
        batch_size=config.eval.batch_size,
        steps_per_dispatch=config.train.steps_per_dispatch,
        max_length=inputs.max_length,
    )
    # Buffers of its own: the state that these may be in is donated
    return Teacher(logits, jax.tree.map(jnp.copy, params) if config.distill.hidden else None)


def build_evaluator(
    config: ExperimentConfig,
    inputs: Inputs,
    model: XlmrModel,
) -> Evaluator:
    """Predictions for every split and language that is evaluated."""
    return Evaluator(
        inputs.evaluation,
        predict=forward.make_predict(model.clone(unroll=1), inputs.mesh),
        place=partial(sharding.replicate, mesh=inputs.mesh),
        batch_size=config.eval.batch_size,
        steps_per_dispatch=config.train.steps_per_dispatch,
        max_length=inputs.max_length,
    )


def whole_params(
    config: ExperimentConfig, inputs: Inputs, params: Any, trainer: Trainer, dense_steps: int
) -> Any:
    """Host parameters, with every row of the word embedding, to export.

    Args:
        config: of the run.
        inputs: of the run.
        params: as the network uses them at the end.
        trainer: that of the end.
        dense_steps: training steps of phase 0.
    """
    if inputs.vocabulary is None:
        return processes.fetch(params)
    train, trained = config.train, trainer.step - trainer.begun
    if is_frozen(vocabulary.PATH, train.freeze):
        trained = 0
    elif is_frozen(vocabulary.PATH, trainer.freeze):  # from phase 1 on
        trained = 0 if trainer.begun else dense_steps
    shrinkage = optimizers.shrinkage(
        trained,
        rate=train.learning_rate,
        weight_decay=train.weight_decay,
        warmup=train.warmup_steps,
        total=trainer.total_steps,
        schedule=train.schedule,
    )
    return inputs.vocabulary.restore(params, inputs.encoder.params, shrinkage)
