"""Training on the device: owns the state, the compiled steps and what is in flight.

Metrics are fetched one dispatch late, so that the device always has the next dispatch queued while
the host looks at the last one.

Several seeds are trained side by side in one program (lifting.py): what is a seed's own then has a
leading axis on the device, and comes and goes here as one value a seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.errors import NonFiniteLoss
from alignreg_jax.models.xlmr import Params, XlmrModel
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.method import MEASURED, Clock, Hyper, Marks, Method, Weights
from alignreg_jax.support import processes
from alignreg_jax.training import cuts, optimizers, sharding, signals, states, steps
from alignreg_jax.training.in_flight import InFlight
from alignreg_jax.training.lifting import Lift
from alignreg_jax.training.losses import Teacher
from alignreg_jax.training.state import DeviceData, TrainState, partition, pruning_key


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
        seeds: Sequence[int],
        heads: Sequence[Params] = (),
        own_reference: bool = False,
        keep_zeros: bool = False,
        hyper: Hyper,
        total_steps: int,
        batch_size: int,
        steps_per_dispatch: int,
        static_loop: bool = False,
        step: int = 0,
        begun: int = 0,
    ):
        """Place parameters, reference and data on the mesh, and build (not compile) the steps.

        Args:
            model: the architecture.
            method: how to prune and regularize.
            settings: what shapes the program of a step.
            mesh: of sharding.make_mesh.
            params: pretrained parameters with a head, host arrays.
            train: tokenised training rows.
            seeds: roots of all randomness but the order of examples; one, or several to train side
                by side.
            heads: the head of every seed; none: all have that of `params`.
            own_reference: whether the reference will differ between the seeds.
            keep_zeros: whether kernels that are zero count as pruned from the start.
            hyper: host numbers.
            total_steps: of the rate's schedule.
            batch_size: rows in a step.
            steps_per_dispatch: most steps in a dispatch.
            static_loop: have a program of its own for dispatches of all these steps.
            step: training steps of the run before this.
            begun: those before the rate's schedule.
        """
        self.mesh, self.method, self.seeds = mesh, method, tuple(seeds)
        self._rows, self._static_loop = (steps_per_dispatch, batch_size), static_loop
        side_by_side = len(seeds) if len(seeds) > 1 else None
        self._lift = lift = Lift(side_by_side, own_reference and side_by_side is not None)
        placed = processes.place(params, sharding.for_params(params, mesh))
        # Buffers of its own: the state is donated, the reference is not
        kernels = self.copy_kernels(placed)
        self._anchors = _anchors(placed, settings.freeze) if method.anchors_rest else {}
        self.abstract = self._abstract(placed, settings.freeze)
        alone = jax.tree.map(lambda leaf: leaf.sharding, self.abstract)
        places = sharding.Places.of(lift.shardings(alone))
        training, freeze = method.training, settings.freeze
        start = states.make_init(training, freeze, keep_zeros, places, lift)
        roots = lift.join([self.place(jax.random.key(seed)) for seed in seeds])
        heads = [self.place(head) for head in heads] or [placed["head"]] * len(seeds)
        self.state: TrainState = start(placed, lift.join(heads), roots, self.place(np.int32(step)))
        self.reference = lift.join([kernels] * len(seeds)) if lift.own_reference else kernels
        self._member = states.make_member(sharding.Places.of(alone), lift)
        self._join = states.make_join(places, lift)
        # By whether there is a penalty
        self._train_steps = {
            penalized: steps.make_train_step(model, view, settings, mesh, places, lift)
            for penalized, view in ((True, training), (False, method.unpenalized))
        }
        self._prune = cuts.make_prune_step(method.cutting, places, lift)
        self._add_gradients = signals.make_accumulate(
            model, method.effective, method.needs, settings.accumulation, mesh, lift
        )
        self._no_gradients = signals.make_zeros(
            method.needs, model.config.layers[0].heads, mesh, lift
        )
        self.serve = states.make_serve(method.finalize)
        self.data = self.place(DeviceData.from_encoded(train))
        zeros = np.zeros(steps_per_dispatch, np.float32)
        self._unmarked = self.place(Marks(None, zeros.astype(np.int32), zeros, zeros))
        self._hyper = hyper
        self.total_steps, self.begun, self.freeze = total_steps, begun, settings.freeze
        self.teacher: Teacher | None = None
        self._step = step
        self._in_flight: InFlight | None = None
        self.set_clock(1.0)

    def _abstract(self, placed: Params, freeze: tuple[str, ...]) -> TrainState:
        """Shapes and places of one seed's state."""
        shapes = jax.eval_shape(
            lambda params, root: states.init_state(params, self.method, root, freeze),
            placed,
            jax.random.key(0),
        )
        return jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
            shapes,
            sharding.for_state(shapes, self.mesh),
        )

    def place(self, tree: Any) -> Any:
        """Host values onto every device."""
        return sharding.replicate(tree, self.mesh)

    def copy_kernels(self, params: Params) -> Any:
        """The prunable kernels in buffers of their own."""
        return jax.tree.map(jnp.copy, prunable.split(params)[0])

    @property
    def step(self) -> int:
        """Steps done, dispatched ones included."""
        return self._step

    def anchor(self) -> None:
        """Compare with the weights as they are now from here on."""
        self.reference = self.copy_kernels(self.state.params)

    def member(self, index: int) -> tuple[TrainState, Any]:
        """State and reference kernels of one seed, by its place in `seeds`.

        Copies, where there are several seeds: a checkpoint of one is as if it were alone.
        """
        if self._lift.seeds is None:
            return self.state, self.reference
        return self._member(self.state, self.reference, self.place(np.int32(index)))

    def teach(self, teachers: Sequence[Teacher]) -> None:
        """Train with what is said of the rows from here on; a teacher for every seed."""
        self.teacher = self._lift.join(teachers)

    def teacher_of(self, index: int) -> Teacher | None:
        """What one seed is taught by."""
        if self.teacher is None or self._lift.seeds is None:
            return self.teacher
        return jax.tree.map(lambda leaf: leaf[index], self.teacher)

    def continue_with(self, before: TrainState) -> None:
        """Take over weights and their moments from the state of a trainer before this one.

        Masks are dense, and what the method learns is at its start.
        """
        label, new = optimizers.WEIGHTS, self.state
        still, old = new.optimizer[label].mu, before.optimizer[label]  # less may be trained now
        moments = old._replace(
            mu={path: old.mu[path] for path in still}, nu={path: old.nu[path] for path in still}
        )
        optimizer = {**new.optimizer, label: moments}
        self.state = new.replace(params=before.params, optimizer=optimizer)

    def snapshot(self, index: int) -> tuple[TrainState, Any]:
        """As `member`, in buffers that no later step overwrites before they are on the host.

        A CPU's buffers are the host's: they would be donated to the next step while they are saved.
        """
        state, reference = self.member(index)
        if self._lift.seeds is None and jax.default_backend() == "cpu":
            state = jax.tree.map(jnp.copy, state)
        return state, reference

    def restore(self, states: Sequence[TrainState], step: int) -> None:
        """Continue from restored states, one of every seed."""
        self.state = states[0] if self._lift.seeds is None else self._join(states)
        self._step = step

    def restore_reference(self, references: Sequence[Any]) -> None:
        """Compare with other kernels from now on, those of every seed."""
        self.reference = self._lift.join(references)

    @property
    def abstract_reference(self) -> Any:
        """Shapes and places of one seed's reference kernels."""
        return prunable.split(self.abstract.params)[0]

    def set_clock(
        self, target: float, *, learn: bool = True, penalized: bool = True, **hyper: float
    ) -> None:
        """Say what holds from the next dispatch on.

        Args:
            target: share of the weights that the next cut will leave, or the last one left.
            learn: whether what the method learns is trained.
            penalized: False trains by the program of methods without a penalty, and so to the same
                bits as they do; a penalty of weight 0 would round otherwise.
            hyper: what replaces the run's hyper-parameters meanwhile.
        """
        self._penalized = penalized
        self._train = self._train_steps[penalized]
        self._clock = self.place(
            Clock(
                step=np.int32(0),  # the step counts for itself
                total_steps=np.float32(self.total_steps),
                target=np.float32(target),
                learn=np.bool_(learn),
                begun=np.int32(self.begun),
            )
        )
        self._traced_hyper = self.place(jax.tree.map(np.float32, replace(self._hyper, **hyper)))

    def gradients(self, *plans: Sequence[Dispatch], by_teacher: bool = False) -> dict[str, Any]:
        """What the method needs of the data, summed over the batches of each seed's plan.

        The plans are of one sequence of shapes. `by_teacher` takes what the teacher says as
        labels.

        Raises:
            NonFiniteLoss: a sum is not finite; a ranking by it would be one of NaN.
            ValueError: `by_teacher` without a teacher.
        """
        if not self.method.needs & MEASURED:
            return {}
        said = None
        if by_teacher:
            if self.teacher is None:
                raise ValueError("nobody teaches whose word could be taken")
            said = replace(self.teacher, params=None)
        sums = self._no_gradients(prunable.split(self.state.params)[0])
        for dispatches in zip(*plans, strict=True):
            sums = self._add_gradients(
                sums,
                self.state,
                self.data,
                said,
                *self._batches(dispatches),
                self._traced_hyper,
                self._clock,
                length=dispatches[0].length,
            )
        for signal, kernels in processes.fetch(_are_finite(sums)).items():
            if wrong := [name for name, finite in kernels.items() if not finite]:
                raise NonFiniteLoss(
                    f"the sums that rank weights for pruning ({signal}) are not finite in "
                    f"{', '.join(wrong)}, after step {self._step}"
                )
        return sums

    def prune(
        self, keep: masks.Keep, phase: int, measured: Mapping[str, Any] | None = None
    ) -> None:
        """Cut to the given counts, with the signals of `gradients`: masks, weights and moments.

        `phase` is the number of the cut, which its randomness depends on.
        """
        self.state = self._prune(
            self.state, *self.place((keep, np.int32(phase))), dict(measured or {})
        )

    def order(self, phase: int, measured: Mapping[str, Any] | None = None) -> None:
        """Give every seed its thresholds of sizes, by the method's order; arguments as `prune`."""
        assert self.method.order
        found = []
        for index in range(len(self.seeds)):
            state, _ = self.member(index)
            signals = self._lift.member(dict(measured or {}), index)
            key = pruning_key(state, np.int32(phase))
            kernels, _ = prunable.split(state.params)
            found.append(self.place(self.method.order(kernels, signals, key)))
        self.state = self.state.replace(method=self._lift.join(found))

    def dispatch(self, *dispatches: Dispatch, marks: Sequence[Marks] = ()) -> InFlight | None:
        """Queue a dispatch of every seed, all of one shape.

        Args:
            dispatches: one a seed.
            marks: of every step, for a method with masks for every step.

        Returns:
            The one before it, whose metrics are ready or nearly so.
        """
        count = len(dispatches[0].rows)
        self.state, metrics = self._train(
            self.state,
            Weights(self.reference, self._anchors if self._penalized else {}),
            self.data,
            self.teacher,
            *self._batches(dispatches),
            self._traced_hyper,
            replace(self._clock, marks=self._marks(marks)),
            length=dispatches[0].length,
            whole=self._static_loop and count == self._rows[0],
        )
        finished, self._in_flight = (
            self._in_flight,
            InFlight(metrics, self._step, count, self.seeds),
        )
        self._step += count
        return finished

    def _batches(self, dispatches: Sequence[Dispatch]) -> tuple[Any, Any]:
        """Rows of every seed, filled up to the one shape there is, and how many steps are real."""
        count = len(dispatches[0].rows)
        rows = np.full((len(self.seeds), *self._rows), -1, np.int32)
        for own, dispatch in zip(rows, dispatches, strict=True):
            own[:count] = dispatch.rows
        return self.place((rows if self._lift.seeds else rows[0], np.int32(count)))

    def _marks(self, marks: Sequence[Marks]) -> Marks:
        """Those of every step, filled up to the one shape there is; the same without masks."""
        if not self.method.step_masks:
            return self._unmarked
        filled = [*marks, *[marks[-1]] * (self._rows[0] - len(marks))]
        return self.place(jax.tree.map(lambda *leaves: np.stack(leaves), *filled))

    def drain(self) -> InFlight | None:
        """The last dispatch, to be looked at before anything is saved or evaluated."""
        finished, self._in_flight = self._in_flight, None
        return finished


@jax.jit
def _are_finite(tree: Any) -> Any:
    """Of every leaf whether all of it is finite."""
    return jax.tree.map(lambda leaf: jnp.all(jnp.isfinite(leaf)), tree)


def _anchors(params: Params, freeze: tuple[str, ...]) -> dict[str, Any]:
    """Copies of what is pretrained, trained, and neither a kernel nor the head, by path."""
    kernels = {prunable.kernel_path(name) for name in KERNELS}
    trainable, _ = partition(params, freeze)
    return {
        path: jnp.copy(leaf)
        for path, leaf in trainable.items()
        if path not in kernels and not path.startswith("head/")
    }
