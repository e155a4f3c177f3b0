"""What bfloat16 costs the gradient that the optimizer sees: every leaf against float64."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import on_eight
from training_cases import (
    QUIET,
    ROWS,
    first_gradients,
    make_trainer,
    params,
    rows,
    sentences,
    train,
)

from alignreg_jax.training.state import DeviceData, flatten

BATCH, LENGTH = 128, 16
# Of drawn rows, and of one row again and again: there gradients add up instead of cancelling, and
# a sum in bfloat16 stops growing at 256 times an addend
CHOSEN = {
    "drawn": np.random.default_rng(0).integers(0, ROWS, BATCH),
    "alike": np.full(BATCH, 7),
}
KEY_BIAS = "encoder/attention/key/bias"


def relative_errors(found, right):
    """‖g - g*‖ / ‖g*‖ of every leaf.

    The true gradient of the key's bias is zero, for it moves all logits of a query alike: its error
    is measured by the query's bias.
    """
    size = {path: np.linalg.norm(leaf) for path, leaf in right.items()}
    size[KEY_BIAS] = size["encoder/attention/query/bias"]
    return {
        path: np.linalg.norm(np.asarray(found[path], np.float64) - leaf) / size[path]
        for path, leaf in right.items()
    }


@pytest.mark.parametrize("batch", CHOSEN)
@pytest.mark.parametrize(
    ("head", "network", "accumulation", "layout"),
    [
        on_eight("dense-tanh-out", {}, 1, (2, 1, 1)),
        ("dense-tanh-out", {"attention": "xla", "unroll": 2}, 2, (1, 1, 1)),
        ("token", {"remat": True}, 1, (1, 1, 1)),
    ],
)
def test_every_leaf_is_near_its_gradient_in_float64(head, network, accumulation, layout, batch):
    encoded, chosen = sentences() if head == "token" else rows(), CHOSEN[batch].astype(np.int32)
    trainer = make_trainer(
        QUIET,
        head=head,
        train_rows=encoded,
        batch_size=BATCH,
        network={"dtype": jnp.bfloat16, **network},
        accumulation=accumulation,
        layout=layout,
    )
    train(trainer, chosen[None])
    found = first_gradients(trainer)
    data = jax.tree.map(jnp.asarray, DeviceData.from_encoded(encoded))
    ids, lengths, labels, weights, _ = jax.device_get(
        data.batch(jnp.asarray(chosen), LENGTH, QUIET.pad_token_id)
    )
    labels = np.where(weights > 0, labels, -1)
    right = flatten(exact.gradients(QUIET, head, params(head), ids, lengths, labels))
    errors = relative_errors(found, right)
    assert max(errors.values()) < 0.02, max(errors.items(), key=lambda item: item[1])
