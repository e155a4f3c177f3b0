"""A training step lowered for devices that may not be here: nothing is placed or executed."""

from dataclasses import fields, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.stages import Lowered

from alignreg_jax.models import xlmr
from alignreg_jax.pruning import kernels, methods
from alignreg_jax.pruning.method import Clock, Hyper, Marks, Weights
from alignreg_jax.training import sharding, states, steps
from alignreg_jax.training.lifting import Lift
from alignreg_jax.training.state import DeviceData

STEPS = 16  # in a dispatch


def step(
    config: xlmr.XlmrConfig,
    mesh: Mesh,
    batch: int,
    length: int,
    *,
    regularizer: str = "frobenius",
    freeze: tuple[str, ...] = (),
    active: int = 0,
    **model: Any,
) -> Lowered:
    """A dispatch of steps of `batch` rows of `length` pieces, bfloat16 compute.

    `active` rows of the word embedding are trained, 0: all; `model` are fields of XlmrModel.
    """
    config = replace(config, vocab_size=active or config.vocab_size)
    network = xlmr.XlmrModel(config, "dense-tanh-out", 3, dtype=jnp.dtype("bfloat16"), **model)
    method = methods.build(criterion="magnitude", scope="layer", regularizer=regularizer)
    params = jax.eval_shape(lambda key: xlmr.init_params(network, key), jax.random.key(0))
    state = jax.eval_shape(
        lambda params, key: states.init_state(params, method, key, freeze),
        params,
        jax.random.key(0),
    )
    where = sharding.for_state(state, mesh)
    state = jax.tree.map(_placed, state, where)
    whole = NamedSharding(mesh, sharding.REPLICATED)

    def array(shape: tuple[int, ...], kind: type) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, kind, sharding=whole)

    scalar = array((), jnp.float32)
    rows = 10_000
    data = DeviceData(array((rows * 40,), jnp.int32), *[array((rows,), jnp.int32)] * 3)
    places, settings = sharding.Places.of(where), steps.StepSettings(freeze=freeze)
    program = steps.make_train_step(network, method.training, settings, mesh, places, Lift())
    return program.lower(
        state,
        Weights(kernels.split(state.params)[0], {}),
        data,
        None,
        array((STEPS, batch), jnp.int32),
        array((), jnp.int32),
        Hyper(*[scalar] * len(fields(Hyper))),
        Clock(
            array((), jnp.int32),
            scalar,
            scalar,
            array((), jnp.bool_),
            array((), jnp.int32),
            Marks(None, array((STEPS,), jnp.int32), *[array((STEPS,), jnp.float32)] * 2),
        ),
        length=length,
    )


def _placed(leaf: jax.ShapeDtypeStruct, where: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)
