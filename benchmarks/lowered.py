"""A step and a cut lowered for devices that may not be here: nothing is placed or executed."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.stages import Lowered

from alignreg_jax.models import xlmr
from alignreg_jax.pruning import kernels, masks, methods
from alignreg_jax.pruning.method import Clock, Hyper, Marks, Method, Weights
from alignreg_jax.training import cuts, sharding, states, steps
from alignreg_jax.training.lifting import Lift
from alignreg_jax.training.state import DeviceData

STEPS = 16  # in a dispatch
MEASURED = {"grad", "grad_abs", "grad_squared"}  # of the shape of the kernels


class Lowering:
    """What a run would compile, of one method on one mesh; bfloat16 compute.

    `active` rows of the word embedding are trained, 0: all; `model` are fields of XlmrModel.
    """

    def __init__(
        self,
        config: xlmr.XlmrConfig,
        mesh: Mesh,
        method: Method,
        *,
        freeze: tuple[str, ...] = (),
        active: int = 0,
        **model: Any,
    ):
        config = replace(config, vocab_size=active or config.vocab_size)
        self.model = xlmr.XlmrModel(config, "dense-tanh-out", 3, dtype=jnp.bfloat16, **model)
        self.mesh, self.method = mesh, method
        self.settings = steps.StepSettings(freeze=freeze)
        params = jax.eval_shape(lambda key: xlmr.init_params(self.model, key), jax.random.key(0))
        state = jax.eval_shape(
            lambda params, key: states.init_state(params, method, key, freeze),
            params,
            jax.random.key(0),
        )
        where = sharding.for_state(state, mesh)
        self.state = jax.tree.map(_placed, state, where)
        self.places = sharding.Places.of(where)

    def _array(self, shape: tuple[int, ...], kind: Any) -> jax.ShapeDtypeStruct:
        whole = NamedSharding(self.mesh, sharding.REPLICATED)
        return jax.ShapeDtypeStruct(shape, kind, sharding=whole)

    def _keep(self, scope: Any) -> Any:
        sizes = kernels.sizes(kernels.split(self.state.params)[0])
        return jax.tree.map(np.asarray, masks.keep_counts(sizes, 0.3, scope))

    def step(self, batch: int, length: int, scope: str = "layer") -> Lowered:
        """A dispatch of steps of `batch` rows of `length` pieces."""
        array, scalar, rows = self._array, self._array((), jnp.float32), 10_000
        every = array((STEPS,), jnp.float32)
        keep = None
        if self.method.step_masks:
            keep = jax.tree.map(
                lambda leaf: array((STEPS, *leaf.shape), leaf.dtype), self._keep(scope)
            )
        program = steps.make_train_step(
            self.model, self.method.training, self.settings, self.mesh, self.places, Lift()
        )
        return program.lower(
            self.state,
            Weights(kernels.split(self.state.params)[0], {}),
            DeviceData(array((rows * 40,), jnp.int32), *[array((rows,), jnp.int32)] * 3),
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
                Marks(keep, array((STEPS,), jnp.int32), every, every),
            ),
            length=length,
        )

    def cut(self, scope: str) -> Lowered | None:
        """A cut; None: it needs what has not the shape of the kernels, or prunes whole units."""
        needs = self.method.needs
        if scope.startswith("units") or not needs <= MEASURED | {"layernorm"}:
            return None
        signals = dict.fromkeys(needs & MEASURED, kernels.split(self.state.params)[0])
        keep = jax.tree.map(lambda leaf: self._array(leaf.shape, leaf.dtype), self._keep(scope))
        program = cuts.make_prune_step(self.method.cutting, self.places, Lift())
        return program.lower(self.state, keep, self._array((), jnp.int32), signals)


def mesh(devices: Sequence[Any], layout: str) -> Mesh:
    """All devices along one axis of a run's mesh."""
    shape = {axis: len(devices) if axis == layout else 1 for axis in sharding.AXES}
    return sharding.make_mesh(**shape, devices=devices)


def step(config: xlmr.XlmrConfig, mesh: Mesh, batch: int, length: int, **given: Any) -> Lowered:
    """A dispatch of steps with the Frobenius penalty."""
    method = methods.build(criterion="magnitude", scope="layer", regularizer="frobenius")
    return Lowering(config, mesh, method, **given).step(batch, length)


def _placed(leaf: jax.ShapeDtypeStruct, where: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)
