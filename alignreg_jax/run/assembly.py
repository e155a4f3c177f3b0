"""From a configuration and its inputs to what a run works with: model, trainer, evaluator."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation.evaluator import Evaluator
from alignreg_jax.models import vocabulary, xlmr
from alignreg_jax.models.attention import default_implementation, why_not_cudnn
from alignreg_jax.models.xlmr import Attention, XlmrConfig, XlmrModel
from alignreg_jax.pruning import methods
from alignreg_jax.pruning.method import Hyper
from alignreg_jax.run.inputs import Inputs
from alignreg_jax.support import processes
from alignreg_jax.training import optimizers, steps
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
        attention=_attention(config.model.attention, whole, config.model.dtype, list(devices)),
    )


def _attention(choice: str, config: XlmrConfig, dtype: str, devices: Sequence[Any]) -> Attention:
    """What computes attention without dropout.

    Raises:
        UserError: it cannot be what was asked for.
    """
    size, kind = config.layers[0].head_size, jnp.dtype(dtype)
    if choice == "einsum":
        return "einsum"
    if choice == "auto":
        return default_implementation(size, kind, devices)
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


def build_trainer(
    config: ExperimentConfig,
    inputs: Inputs,
    model: XlmrModel,
    total_steps: int,
    seeds: Sequence[int],
) -> Trainer:
    """State and steps on the mesh, for one seed or for several side by side."""
    train, pruning, regularizer = config.train, config.pruning, config.regularizer
    method = methods.build(
        criterion=str(pruning.criterion),
        scope=str(pruning.scope),
        regularizer=str(regularizer.name),
        norm=regularizer.norm,
        reduce=regularizer.reduce,
    )
    settings = steps.StepSettings(
        accumulation=train.accumulation,
        schedule=train.schedule,
        clip=train.max_grad_norm > 0,
        freeze=train.freeze,
    )
    params = inputs.encoder.params
    return Trainer(
        model,
        method,
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
        ),
        total_steps=total_steps,
        batch_size=train.batch_size,
        steps_per_dispatch=train.steps_per_dispatch,
    )


def build_evaluator(
    config: ExperimentConfig,
    inputs: Inputs,
    model: XlmrModel,
    trainer: Trainer,
) -> Evaluator:
    """Predictions for every split and language that is evaluated."""
    return Evaluator(
        inputs.evaluation,
        predict=steps.make_predict(model.clone(unroll=1), inputs.mesh),
        place=trainer.place,
        batch_size=config.eval.batch_size,
        steps_per_dispatch=config.train.steps_per_dispatch,
        max_length=inputs.max_length,
    )


def whole_params(
    config: ExperimentConfig, inputs: Inputs, params: Any, step: int, total_steps: int
) -> Any:
    """Host parameters after `step` steps, with every row of the word embedding, to export."""
    if inputs.vocabulary is None:
        return processes.fetch(params)
    train = config.train
    shrinkage = optimizers.shrinkage(
        step,
        rate=0.0 if is_frozen(vocabulary.PATH, train.freeze) else train.learning_rate,
        weight_decay=train.weight_decay,
        warmup=train.warmup_steps,
        total=total_steps,
        schedule=train.schedule,
    )
    return inputs.vocabulary.restore(params, inputs.encoder.params, shrinkage)
