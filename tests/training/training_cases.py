"""A small network, rows to train it on, and a trainer: shared by the tests of this folder."""

from dataclasses import replace
from functools import cache

import jax
import numpy as np

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.models import xlmr
from alignreg_jax.pruning import kernels, masks, methods
from alignreg_jax.pruning.kernels import kernel_path
from alignreg_jax.pruning.method import Hyper
from alignreg_jax.training import sharding
from alignreg_jax.training.state import flatten
from alignreg_jax.training.steps import StepSettings
from alignreg_jax.training.trainer import Trainer

CONFIG = xlmr.XlmrConfig(
    vocab_size=50,
    hidden_size=32,
    num_layers=2,
    num_heads=4,
    intermediate_size=64,
    max_positions=34,
)
QUIET = xlmr.XlmrConfig(**{**vars(CONFIG), "hidden_dropout": 0.0, "attention_dropout": 0.0})
LABELS, LENGTH, BATCH, ROWS = 5, 16, 8, 48
HYPER = {
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "warmup_steps": 0.0,
    "max_grad_norm": 1.0,
    "regularizer_weight": 5e-3,
}


def model(config=CONFIG, head="dense-tanh-out", **options):
    return xlmr.XlmrModel(config, head, LABELS, **options)


@cache
def params(head="dense-tanh-out"):
    """Host arrays, as a checkpoint gives them; biases and LayerNorms are not at 0 and 1."""
    tree = jax.jit(xlmr.init_params, static_argnums=0)(model(head=head), jax.random.key(3))
    generator = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: np.asarray(leaf) + generator.normal(0, 0.02, leaf.shape).astype(np.float32),
        tree,
    )


@cache
def rows():
    generator = np.random.default_rng(0)
    lengths = generator.integers(3, LENGTH + 1, ROWS).astype(np.int32)
    return Encoded(
        ids=generator.integers(3, CONFIG.vocab_size, lengths.sum()).astype(np.int32),
        offsets=(np.cumsum(lengths) - lengths).astype(np.int32),
        lengths=lengths,
        labels=generator.integers(0, LABELS, ROWS).astype(np.int32),
    )


@cache
def sentences():
    """The same rows as sentences: a word begins at about every second piece."""
    plain, generator = rows(), np.random.default_rng(5)
    begins = generator.random(len(plain.ids)) < 0.5
    return replace(
        plain,
        labels=np.where(begins, generator.integers(0, LABELS, len(begins)), -1).astype(np.int32),
        words=np.where(begins, np.cumsum(begins) - 1, -1).astype(np.int32),
        word_count=int(begins.sum()),
    )


def method(scope="layer", regularizer="none", criterion="magnitude"):
    return methods.build(criterion=criterion, scope=scope, regularizer=regularizer)


def mesh(data=1, fsdp=1, tensor=1):
    devices = jax.devices()[: data * fsdp * tensor]
    return sharding.make_mesh(data, fsdp, tensor, devices=devices)


def make_trainer(
    config=CONFIG,
    *,
    layout=(1, 1, 1),
    method_=None,
    seed=0,
    seeds=None,
    heads=(),
    own_reference=False,
    head="dense-tanh-out",
    total_steps=20,
    batch_size=BATCH,
    steps_per_dispatch=5,
    hyper=(),
    train_rows=None,
    network=None,
    start=None,
    keep_zeros=False,
    static_loop=False,
    **settings,
):
    return Trainer(
        model(config, head, **(network or {})),
        method_ or method(),
        StepSettings(**settings),
        mesh(*layout),
        params=start or params(head),
        keep_zeros=keep_zeros,
        train=train_rows or rows(),
        seeds=seeds or (seed,),
        heads=heads,
        own_reference=own_reference,
        hyper=Hyper(**{"train_examples": ROWS, **HYPER, **dict(hyper)}),
        total_steps=total_steps,
        batch_size=batch_size,
        steps_per_dispatch=steps_per_dispatch,
        static_loop=static_loop,
    )


def batches(first, steps):
    """`steps` batches, the first of them number `first` of an epoch in file order."""
    numbers = np.arange(first * BATCH, (first + steps) * BATCH, dtype=np.int32)
    return numbers.reshape(steps, BATCH)


def train(trainer, batches, length=LENGTH):
    """One dispatch; its metrics, steps first."""
    trainer.dispatch(Dispatch(length, batches))
    finished = trainer.drain()
    metrics = jax.device_get(dict(finished.metrics))
    return {name: values[: finished.count] for name, values in metrics.items()}


def prune(trainer, remaining, scope="layer", phase=0):
    trainer.prune(masks.keep_counts(kernels.sizes(trainer.reference), remaining, scope), phase)
    return jax.device_get(trainer.state.masks)


def first_gradients(trainer):
    """What the first step's optimizer saw: its first moments, over 1 - beta."""
    return {path: leaf / 0.1 for path, leaf in moments(jax.device_get(trainer.state))[0].items()}


def moments(state):
    """Adam's first and second ones of all labels, flat."""
    states = state.optimizer.values()
    return tuple(
        {path: leaf for own in states for path, leaf in getattr(own, name).items()}
        for name in ("mu", "nu")
    )


def pruned_entries(tree, masks):
    """Values of a flat tree where the masks are False, all kernels end to end."""
    return np.concatenate([np.asarray(tree[kernel_path(n)])[~masks[n]] for n in kernels.KERNELS])


def state_of(trainer):
    """Host copies of parameters and moments, flat."""
    state = jax.device_get(trainer.state)
    return flatten(state.params), *moments(state)


def worst_error(found, expected):
    return max(
        np.abs(found[path] - leaf).max() / max(np.abs(leaf).max(), 1e-6)
        for path, leaf in expected.items()
        if not path.endswith("key/bias")  # its true gradient is 0
    )
