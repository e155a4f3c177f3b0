"""What a teacher says of every training row: computed once, before its student trains."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from alignreg_jax.data.batching import bucket_edges, evaluation_plan
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.errors import NonFiniteLoss
from alignreg_jax.models.xlmr import XlmrModel
from alignreg_jax.support import processes
from alignreg_jax.support.progress import progress
from alignreg_jax.training import forward, sharding
from alignreg_jax.training.losses import Teacher
from alignreg_jax.training.state import DeviceData

PARTS = 1024
"""The logits have a multiple of so many rows, the same on every mesh: a run may resume on another.
The last row is never a target's; what is computed for padding is written there."""


def abstract(encoded: Encoded, labels: int, mesh: Mesh) -> jax.ShapeDtypeStruct:
    """Shape and place of a teacher's logits: float32, targets and zeros below, `[rows, labels]`.

    Every device has its own part of the rows: those of all pieces of a large token task are more
    than the encoder. Where the devices do not divide them, all of them are on every device.
    """
    rows = (len(encoded.labels) // PARTS + 1) * PARTS
    spec = sharding.REPLICATED if PARTS % mesh.size else sharding.SPREAD
    where = jax.sharding.NamedSharding(mesh, spec)
    return jax.ShapeDtypeStruct((rows, labels), jnp.float32, sharding=where)


def teach(
    model: XlmrModel,
    params: Any,
    encoded: Encoded,
    data: DeviceData,
    *,
    mesh: Mesh,
    batch_size: int,
    steps_per_dispatch: int,
    max_length: int,
) -> jax.Array:
    """Logits of every target, without dropout, in the shape and place of `abstract`.

    Args:
        model: of the teacher.
        params: of the teacher, on the devices.
        encoded: the rows.
        data: the same on the devices.
        mesh: over which each batch is divided.
        batch_size: rows in a batch.
        steps_per_dispatch: batches that a compiled call works through.
        max_length: most pieces in a row.

    Raises:
        NonFiniteLoss: a logit of a target is NaN or infinite.
    """
    plan = evaluation_plan(
        encoded.lengths,
        batch_size=batch_size,
        edges=bucket_edges(max_length, per_doubling=4),
        steps_per_dispatch=steps_per_dispatch,
    )
    room = abstract(encoded, model.num_labels, mesh)
    found = processes.place(np.zeros(room.shape, np.float32), room.sharding)
    with progress(encoded.rows, "asking the teacher", "rows") as bar:
        found = forward.through(
            forward.make_teach(model, mesh, room.sharding.spec),
            found,
            params,
            data,
            plan,
            shape=(steps_per_dispatch, batch_size),
            place=partial(sharding.replicate, mesh=mesh),
            update=bar.update,
        )
    found = _without_padding(found)
    if not bool(processes.fetch(jnp.all(jnp.isfinite(found)))):
        raise NonFiniteLoss("logits of the teacher are not finite, so there is nothing to learn")
    return found


@partial(jax.jit, donate_argnums=0)
def _without_padding(found: jax.Array) -> jax.Array:
    return found.at[-1].set(0)


def facts(teacher: Teacher, encoded: Encoded) -> Mapping[str, Any]:
    """What to write down of a teacher: a digest, how much it says, and how often it is right.

    Right is meant of targets that have a label.
    """
    logits = np.asarray(processes.fetch(teacher.logits))[: len(encoded.labels)]
    labelled = encoded.labels >= 0
    right = np.argmax(logits[labelled], axis=-1) == encoded.labels[labelled]
    return {
        "digest": hashlib.sha256(np.ascontiguousarray(logits).data).hexdigest()[:16],
        "targets": int(np.sum(encoded.labels != -1)) if encoded.per_token else encoded.rows,
        "labelled": int(labelled.sum()),
        "agreement": float(np.mean(right)) if right.size else 0.0,
    }
