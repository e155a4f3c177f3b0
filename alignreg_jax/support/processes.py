"""Several processes of one run, on one machine or on many: who writes, and how they agree.

All of them read the data, hold the same plan and take the same steps; the first one alone writes,
and decides where the state of a folder matters. With one process nothing here costs anything.
"""

import itertools
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from alignreg_jax.errors import UserError
from alignreg_jax.support import progress
from alignreg_jax.support.termination import termination

_calls = itertools.count()
MODES = ("auto", "on", "off")
_HOW = (
    "set JAX_COORDINATOR_ADDRESS=host:port, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or start it"
    " under Slurm, Open MPI or on a TPU VM"
)


def connect(mode: str, environment: Mapping[str, str] = os.environ) -> None:
    """Join the other processes of this run; before the first use of a device.

    Args:
        mode: "auto", if the environment says that there are others; "on", or fail; "off".
        environment: as started by Slurm, Open MPI, a Cloud TPU VM, Kubernetes, or with
            JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID set.

    Raises:
        UserError: the flag's value is no mode, or there is nobody to join.
    """
    if mode not in MODES:
        raise UserError(f"--distributed={mode!r} should be one of {', '.join(MODES)}")
    if mode == "off" or (mode == "auto" and _alone(environment)):
        return
    numbers = {}
    for argument in ("num_processes", "process_id"):
        name = f"JAX_{argument.upper()}"
        if text := environment.get(name):
            if not text.isdecimal():
                raise UserError(f"{name}={text!r} is not a number")
            numbers[argument] = int(text)
    try:
        jax.distributed.initialize(**numbers)
    except ValueError as error:
        if mode == "auto" and "coordinator_address" in str(error):
            return
        raise UserError(f"--distributed={mode}: {error} {_HOW}") from error
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--distributed={mode}: the other processes: {error}") from error
    except RuntimeError as error:
        if mode == "auto" and "JAX_COORDINATOR_ADDRESS" not in environment:
            return  # called from Python that has used a device already: nobody can be joined
        raise UserError(f"--distributed={mode}: {error}") from error
    if count() == 1:
        termination.answer()  # JAX has taken SIGTERM, to tell processes that do not exist
    elif not is_first():
        logging.getLogger().setLevel(logging.WARNING)  # the first one's lines are all the same
        progress.shown = False


def _alone(environment: Mapping[str, str]) -> bool:
    """Whether a Slurm step of one task says so; JAX would open a port that others may want."""
    tasks = environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS"))
    return tasks == "1" and "JAX_COORDINATOR_ADDRESS" not in environment


def count() -> int:
    """How many processes the run has."""
    return jax.process_count()


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


@contextmanager
def together() -> Iterator[None]:
    """What may fail with a UserError in some processes, and must then stop all of them.

    All wait for each other at the end.

    Raises:
        UserError: this process's own, or one that says which other failed.
    """
    trouble = None
    try:
        yield
    except UserError as error:
        if count() == 1:
            raise
        trouble = error
    if count() == 1:
        return
    failed = np.flatnonzero(multihost_utils.process_allgather(np.int32(trouble is not None)))
    if trouble is not None:
        raise trouble
    if len(failed):
        raise UserError(f"process {failed[0]} stopped; why is in its own output")


def decide(find: Callable[[], Sequence[int]], size: int = 1) -> tuple[int, ...]:
    """What the first process finds, `size` whole numbers, in every process.

    Raises:
        UserError: it failed with one.
    """
    found: Sequence[int] = [0] * size
    with together():
        if is_first():
            found = find()
    if count() > 1:
        found = multihost_utils.broadcast_one_to_all(np.asarray(found, np.int32))
    return tuple(int(number) for number in found)


def check_alike(values: Mapping[str, Any]) -> None:
    """Raise UserError unless all processes hold equal values: digests of what they have read.

    Raises:
        UserError: one of them does not; names the values.
    """
    if count() == 1:
        return
    texts = (json.dumps(values[name], sort_keys=True) for name in sorted(values))
    short = [blake2b(text.encode(), digest_size=4).digest() for text in texts]
    ours = np.frombuffer(b"".join(short), np.uint32)
    for index, theirs in enumerate(multihost_utils.process_allgather(ours)):
        alike = zip(sorted(values), theirs == ours, strict=True)
        differing = [name for name, same in alike if not same]
        if differing:
            raise UserError(
                f"process {index} has read others than process {jax.process_index()}: "
                f"{', '.join(differing)}; give all of them the same files"
            )


def stop_wanted() -> bool:
    """Whether any process was asked to stop: all of them are told so in the same call.

    To be called equally often in all.
    """
    # They agree on a number that comes next, and steps come in dispatches of several
    if count() > 1 and multihost_utils.reached_preemption_sync_point(next(_calls)):
        termination.ask()
    return termination.asked


def place(tree: Any, shardings: Any) -> Any:
    """Host values, the same in every process, to where `shardings` says, explicitly."""
    if count() == 1:
        return jax.device_put(tree, shardings)
    return jax.tree.map(_place_one, tree, shardings)


def _place_one(leaf: Any, where: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _place_one(jax.random.key_data(leaf), where)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    leaf = np.asarray(leaf)
    return jax.make_array_from_process_local_data(where, leaf, leaf.shape)


def fetch(tree: Any) -> Any:
    """Arrays to the host, whole: of all devices of all processes. All have to call it."""

    def whole(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
            return leaf
        assert isinstance(leaf.sharding, NamedSharding)  # of the mesh, as all that we make
        where = NamedSharding(leaf.sharding.mesh, PartitionSpec())
        # One after the other: meanwhile each is on every device
        return jax.device_get(jax.device_put(leaf, where))

    return jax.device_get(jax.tree.map(whole, tree))
