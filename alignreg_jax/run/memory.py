"""Whether a run's step fits into a device, told before anything is compiled, and what would."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data.batching import bucket_edges
from alignreg_jax.errors import UserError
from alignreg_jax.models import vocabulary, xlmr
from alignreg_jax.run.inputs import Inputs
from alignreg_jax.training import room
from alignreg_jax.training.state import is_frozen, partition


def told(config: ExperimentConfig, inputs: Inputs) -> str:
    """What a step takes of a device's memory, by estimate; if that is too much, what would do.

    Weights, their moments and gradients, and activations: not what a method learns beside weights,
    nor a reference or a teacher.
    """
    step, limit = _step(config, inputs), _limit()
    needed = room.step_bytes(rows=step.rows, **step.rest)
    said = f"about {needed / 1e9:.1f} GB a step, of {limit / 1e9:.1f} GB a device has"
    return said if needed <= limit else f"{said}: TOO MUCH; less with {_advice(config, step)}"


@contextmanager
def explained(config: ExperimentConfig, inputs: Inputs) -> Iterator[None]:
    """Turn what JAX raises where a device's memory is full into one line.

    Raises:
        UserError: it was full.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        what = str(error).splitlines()[0]
        advice = _advice(config, _step(config, inputs))
        raise UserError(f"a device's memory is full: {what}; less with {advice}") from error


class _Step(NamedTuple):
    """What `room` asks of a step: rows at once on a device, and the rest by keyword.

    A microbatch has a multiple of `unit` rows.
    """

    rows: int
    unit: int
    rest: dict[str, Any]


def _step(config: ExperimentConfig, inputs: Inputs) -> _Step:
    """The largest step of a run, on one of its devices."""
    mesh, train, encoder = inputs.mesh, config.train, inputs.encoder
    trained, fixed = (
        config.seeds * sum(leaf.size for leaf in leaves.values())
        for leaves in partition(encoder.params, train.freeze)
    )
    absent = config.seeds * inputs.absent_parameters
    if is_frozen(vocabulary.PATH, train.freeze):
        fixed -= absent
    else:
        trained -= absent
    platform, layers = mesh.devices.flat[0].platform, encoder.config.num_layers
    whole = (config.model.unroll or xlmr.unrolled(platform, layers)) >= layers
    edges = bucket_edges(inputs.max_length, train.lengths_per_doubling)
    longest = edges[int(np.searchsorted(edges, inputs.train.lengths.max(initial=1)))]
    unit, shards = (mesh.shape[axis] * mesh.shape["fsdp"] for axis in ("data", "tensor"))
    return _Step(
        rows=config.seeds * train.batch_size // (train.accumulation * unit),
        unit=unit,
        rest={
            "architecture": encoder.config,
            "length": longest if train.bucketing == "length" else inputs.max_length,
            "kept": "inputs" if config.model.remat else "all" if whole else "products",
            "trained": trained // shards,
            "fixed": fixed // shards,
        },
    )


def _advice(config: ExperimentConfig, step: _Step) -> str:
    """Fields that make a step small enough, by estimate; values that a run would take."""
    share = room.rows_that_fit(limit=_limit(), **step.rest) / step.rows
    batch, parts, unit = config.train.batch_size, config.train.accumulation, step.unit
    ways = [] if config.model.remat else ["model.remat=True"]
    if share < 1:
        fitting = int(batch * share) // (parts * unit) * parts * unit
        ways += [f"train.batch_size={fitting}"] if fitting else []
        divisors = (n for n in range(parts, batch + 1) if batch % (n * unit) == 0)
        enough = next((n for n in divisors if n * share >= parts), None)
        ways += [f"train.accumulation={enough}"] if enough else []
    return " or ".join(ways) or "a smaller encoder, or more devices along mesh.fsdp"


def _limit() -> int:
    return room.memory_of_a_device() or room.memory_of_the_host()
