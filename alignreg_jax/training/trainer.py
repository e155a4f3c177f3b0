"""Training on the device: owns the state, the compiled steps and what is in flight.

Metrics are fetched one dispatch late, so that the device always has the next dispatch queued while
the host looks at the last one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.errors import NonFiniteLoss
from alignreg_jax.models.xlmr import Params, XlmrModel
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.method import GRADIENTS, Method, Weights
from alignreg_jax.training import optimizers, sharding, signals, steps
from alignreg_jax.training.programs import Programs
from alignreg_jax.training.state import DeviceData, TrainState, partition


@dataclass(frozen=True)
class InFlight:
    """A dispatch whose metrics are still on the device."""

    metrics: Mapping[str, Any]
    first_step: int
    count: int


class Trainer:
    """The state of a run on its mesh, and the compiled functions that change it."""

    def __init__(
        self,
        model: XlmrModel,
        method: Method,
        settings: steps.StepSettings,
        mesh: Mesh,
        *,
        params: Params,
        train: Encoded,
        seed: int,
        hyper: Mapping[str, float],
        total_steps: int,
        batch_size: int,
        steps_per_dispatch: int,
        programs: Programs | None = None,
    ):
        """Place parameters, reference and data on the mesh, and build (not compile) the steps.

        Args:
            model: the architecture.
            method: how to prune and regularize.
            settings: what shapes the program of a step.
            mesh: of sharding.make_mesh.
            params: pretrained parameters with a head, host arrays.
            train: tokenised training rows.
            seed: root of all randomness but the order of examples.
            hyper: learning_rate, weight_decay, warmup_steps, max_grad_norm, regularizer_weight; for
                a method that learns, score_learning_rate and multiplier_learning_rate.
            total_steps: of the whole run, for the rate's schedule.
            batch_size: rows in a step.
            steps_per_dispatch: most steps in a dispatch.
            programs: compiled functions of earlier runs of this process, to be used again.
        """
        self.mesh, self.method = mesh, method
        self._rows = (steps_per_dispatch, batch_size)
        self._replicated = NamedSharding(mesh, sharding.REPLICATED)
        placed = jax.device_put(params, sharding.for_params(params, mesh))
        # Buffers of its own: the state is donated, the reference is not
        self.reference = self.copy_kernels(placed)
        self._anchors = _anchors(placed, settings.freeze) if method.anchors_rest else {}
        programs = programs or Programs()
        self.abstract = self._abstract(placed, method, settings)
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract)

        def initialise(params: Params, reference: Any, root: Any) -> TrainState:
            return steps.init_state(params, method, reference, root, settings.freeze)

        training, cutting = method.training, method.cutting
        start = programs(
            ("init", model, training, settings.freeze, mesh),
            lambda: jax.jit(initialise, out_shardings=shardings),
        )
        self.state: TrainState = start(placed, self.reference, self.place(jax.random.key(seed)))
        self._train = programs(
            ("train", model, training, settings, mesh),
            lambda: steps.make_train_step(model, training, settings, mesh, shardings),
        )
        self._prune = programs(
            ("prune", model, cutting, settings.freeze, mesh),
            lambda: steps.make_prune_step(cutting, shardings),
        )
        self._add_gradients = programs(
            ("gradients", model, method.effective, method.needs, settings.accumulation, mesh),
            lambda: signals.make_accumulate(model, method, settings.accumulation, mesh),
        )
        self._no_gradients = programs(
            ("no gradients", method.needs, mesh), lambda: signals.make_zeros(method.needs, mesh)
        )
        self.serve = programs(
            ("serve", model, method.finalize, mesh), lambda: steps.make_serve(method)
        )
        self._data = self.place(DeviceData.from_encoded(train))
        self._hyper = {**hyper, "train_examples": train.rows}
        self._total_steps = total_steps
        self._step = 0
        self._in_flight: InFlight | None = None
        self.enter_phase(0, 1.0)

    def _abstract(self, placed: Params, method: Method, settings: steps.StepSettings) -> TrainState:
        shapes = jax.eval_shape(
            lambda params, reference, root: steps.init_state(
                params, method, reference, root, settings.freeze
            ),
            placed,
            self.reference,
            jax.random.key(0),
        )
        return jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
            shapes,
            sharding.for_state(shapes, self.mesh),
        )

    def place(self, tree: Any) -> Any:
        """Host values onto every device, explicitly: implicit transfers are bugs in the loop."""
        return jax.tree.map(lambda leaf: jax.device_put(leaf, self._replicated), tree)

    def copy_kernels(self, params: Params) -> Any:
        """The prunable kernels in buffers of their own."""
        return jax.tree.map(jnp.copy, prunable.split(params)[0])

    @property
    def step(self) -> int:
        """Steps done, dispatched ones included."""
        return self._step

    def restore(self, state: TrainState, step: int) -> None:
        """Continue from a restored state."""
        self.state, self._step = state, step

    def enter_phase(
        self,
        phase: int,
        remaining: float,
        target: float | None = None,
        first_step: int = 0,
        phase_steps: int = 0,
        **hyper: float,
    ) -> None:
        """Set the clock, and hyper-parameters that hold for this phase.

        Args:
            phase: its number.
            remaining: fraction of the prunable weights that remains in it.
            target: what the next cut will leave; None: no cut follows.
            first_step: steps before the phase.
            phase_steps: steps in it.
            hyper: what replaces the run's hyper-parameters meanwhile.
        """
        self._phase = phase
        clock = {
            "total_steps": self._total_steps,
            "phase": phase,
            "remaining": remaining,
            "target": remaining if target is None else target,
            "first_step": first_step,
            "phase_steps": phase_steps,
        }
        self._clock = self.place({name: np.float32(value) for name, value in clock.items()})
        self._traced_hyper = self.place(
            {name: np.float32(value) for name, value in {**self._hyper, **hyper}.items()}
        )

    def gradients(self, plan: Sequence[Dispatch]) -> dict[str, Any]:
        """The gradient signals that the method needs, summed over the batches of a plan."""
        if not self.method.needs & GRADIENTS:
            return {}
        sums = self._no_gradients(self.reference)
        for dispatch in plan:
            sums = self._add_gradients(
                sums,
                self.state,
                self._data,
                *self._batches(dispatch),
                self._traced_hyper,
                self._clock,
                length=dispatch.length,
            )
        return sums

    def prune(self, keep: masks.Keep, measured: Mapping[str, Any] | None = None) -> None:
        """Cut to the given counts, with the signals of `gradients`: masks, weights and moments."""
        phase = np.int32(self._phase)
        self.state = self._prune(self.state, *self.place((keep, phase)), dict(measured or {}))

    def dispatch(self, dispatch: Dispatch) -> InFlight | None:
        """Queue one dispatch; returns the one before it, whose metrics are ready or nearly so."""
        count = len(dispatch.rows)
        self.state, metrics = self._train(
            self.state,
            Weights(self.reference, self._anchors),
            self._data,
            *self._batches(dispatch),
            self._traced_hyper,
            self._clock,
            length=dispatch.length,
        )
        finished, self._in_flight = self._in_flight, InFlight(metrics, self._step, count)
        self._step += count
        return finished

    def _batches(self, dispatch: Dispatch) -> tuple[Any, Any]:
        """Rows of a dispatch, filled up to the one shape there is, and how many steps are real."""
        rows = np.full(self._rows, -1, np.int32)
        rows[: len(dispatch.rows)] = dispatch.rows
        return self.place((rows, np.int32(len(dispatch.rows))))

    def drain(self) -> InFlight | None:
        """The last dispatch, to be looked at before anything is saved or evaluated."""
        finished, self._in_flight = self._in_flight, None
        return finished


def _anchors(params: Params, freeze: tuple[str, ...]) -> dict[str, Any]:
    """Copies of what is pretrained, trained, and neither a kernel nor the head, by path."""
    kernels = {optimizers.kernel_path(name) for name in KERNELS}
    trainable, _ = partition(params, freeze)
    return {
        path: jnp.copy(leaf)
        for path, leaf in trainable.items()
        if path not in kernels and not path.startswith("head/")
    }


def fetch(dispatch: InFlight) -> dict[str, float]:
    """Metrics of a dispatch: means over its steps, except `examples`, a sum.

    Raises:
        NonFiniteLoss: names the first step whose loss is not finite.
    """
    history = {
        name: values[: dispatch.count]
        for name, values in jax.device_get(dict(dispatch.metrics)).items()
    }
    # An infinite gradient under a finite loss has already spoilt the weights
    finite = np.isfinite(history["loss"]) & np.isfinite(history["grad_norm"])
    if not finite.all():
        first = int(np.argmin(finite))
        what = "loss" if not np.isfinite(history["loss"][first]) else "gradient"
        raise NonFiniteLoss(f"the {what} is not finite at step {dispatch.first_step + first + 1}")
    means = {name: float(np.mean(values)) for name, values in history.items()}
    return {**means, "examples": float(np.sum(history["examples"]))}


class Stopwatch:
    """Seconds spent inside `with` blocks, to tell training from evaluation and saving."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """`clock` gives seconds; tests give their own."""
        self._clock, self.seconds = clock, 0.0

    def __enter__(self) -> "Stopwatch":
        self._start = self._clock()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds += self._clock() - self._start
