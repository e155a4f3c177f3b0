import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_cases import make_trainer, method, params, rows

from alignreg_jax.data.encoding import Encoded
from alignreg_jax.errors import UserError
from alignreg_jax.training.state import (
    DeviceData,
    as_layout_1,
    flatten,
    from_layout_1,
    partition,
    unflatten,
)

PAD = 1


@pytest.fixture(scope="module")
def data():
    return jax.tree.map(jnp.asarray, DeviceData.from_encoded(rows()))


@pytest.mark.parametrize("length", [16, 24])
def test_batch_holds_the_rows_it_names(data, length):
    encoded = rows()
    chosen = np.array([3, encoded.rows - 1, 0, 3], np.int32)  # the last row ends the flat ids
    ids, lengths, labels, weights, _ = jax.jit(DeviceData.batch, static_argnums=(2, 3))(
        data, jnp.asarray(chosen), length, PAD
    )
    for found, row in zip(np.asarray(ids), chosen, strict=True):
        size, start = encoded.lengths[row], encoded.offsets[row]
        np.testing.assert_array_equal(found[:size], encoded.ids[start : start + size])
        assert (found[size:] == PAD).all()
    np.testing.assert_array_equal(lengths, encoded.lengths[chosen])
    np.testing.assert_array_equal(labels, encoded.labels[chosen])
    assert (np.asarray(weights) == 1).all()


def test_padding_row_is_padding_with_no_weight(data):
    ids, lengths, labels, weights, _ = data.batch(jnp.array([2, -1, -1]), 16, PAD)
    assert lengths.tolist() == [rows().lengths[2], 0, 0]
    assert (np.asarray(ids[1:]) == PAD).all()
    assert not (np.asarray(ids[0]) == PAD).all()
    assert weights.tolist() == [1, 0, 0]
    assert ((labels >= 0) & (labels < 5)).all()  # still a class, so that its loss is finite


def test_row_of_the_full_length_has_no_padding():
    encoded = Encoded(
        ids=np.arange(10, 18, dtype=np.int32),
        offsets=np.array([0, 3], np.int32),
        lengths=np.array([3, 5], np.int32),
        labels=np.array([0, 1], np.int32),
    )
    data = jax.tree.map(jnp.asarray, DeviceData.from_encoded(encoded))
    ids = data.batch(jnp.array([1, 0]), 5, PAD).ids
    assert ids.tolist() == [[13, 14, 15, 16, 17], [10, 11, 12, PAD, PAD]]


def test_unflatten_inverts_flatten():
    tree = params()
    flat = flatten(tree)
    assert flat["encoder/attention/query/kernel"] is tree["encoder"]["attention"]["query"]["kernel"]
    again = unflatten(flat)
    assert jax.tree.structure(again) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, again, tree)


def test_partition_freezes_by_whole_names():
    tree = {"embeddings": {"word": 0}, "embeddings_more": {"word": 1}, "head": {"out": 2}}
    trainable, frozen = partition(tree, ("embeddings", "head/out"))
    assert frozen == {"embeddings/word": 0, "head/out": 2}
    assert trainable == {"embeddings_more/word": 1}
    assert partition(tree, ())[1] == {}


def test_states_of_earlier_versions():
    """Those of methods that learn nothing go on; an old run goes on in run/test_same_inputs.py."""
    state = make_trainer().abstract
    old = as_layout_1(state)
    assert old.optimizer is state.optimizer["weights"]
    assert jax.tree.structure(from_layout_1(old)) == jax.tree.structure(state)
    with pytest.raises(UserError, match=r"^--workdir: an earlier version began this run"):
        as_layout_1(make_trainer(method_=method(regularizer="l0-target")).abstract)
