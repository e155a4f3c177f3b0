"""Uneven layers train as the masked model does, on any mesh, and are saved and restored."""

import functools
import re

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from training_cases import (
    CONFIG,
    QUIET,
    batches,
    make_trainer,
    mesh,
    params,
    state_of,
    train,
    worst_error,
)

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation.diagnostics import measure
from alignreg_jax.models import checkpoints
from alignreg_jax.models.slicing import sliced
from alignreg_jax.pruning import kernels, masks, zeros
from alignreg_jax.training import sharding
from alignreg_jax.training.checkpointing import Checkpoints
from alignreg_jax.training.manifests import Position
from alignreg_jax.training.state import check_freeze, flatten, unflatten

# Of 4 heads and 64 units; all divide by two
UNITS = {
    "heads": np.array([[True, False, True, False], [True] * 4]),
    "ffn": np.stack([np.arange(64) % 4 != 0, np.arange(64) < 22]),
}
SIZE, MIXED = 8, (2, 2, 2)


@functools.cache
def smaller():
    return sliced(params(), QUIET, UNITS)


def masked():
    """The stacked model whose output rows are zero where a unit is gone."""
    leaves = {path: np.array(leaf) for path, leaf in flatten(params()).items()}
    rows = np.repeat(UNITS["heads"], SIZE, axis=1)
    leaves["encoder/attention/output/kernel"] *= rows[..., None]
    leaves["encoder/output/kernel"] *= UNITS["ffn"][..., None]
    return unflatten(leaves)


def uneven(config=None, **options):
    start, own = smaller()
    return make_trainer(config or own, start=start, clip=True, **options)


@pytest.fixture(scope="module")
def alone():
    """Five steps on one device: metrics, then parameters and moments."""
    trainer = uneven()
    return train(trainer, batches(0, 5)), state_of(trainer)


def test_five_steps_are_those_of_the_masked_model(alone):
    """Loss, clipped gradients, AdamW with decay; what is left is moved alike."""
    trainer = make_trainer(QUIET, start=masked(), keep_zeros=True, clip=True)
    metrics = train(trainer, batches(0, 5))
    for name in ("loss", "grad_norm"):
        np.testing.assert_allclose(alone[0][name], metrics[name], rtol=1e-5, err_msg=name)
    assert len(set(metrics["loss"])) == 5
    expected, _ = sliced(jax.device_get(trainer.state.params), QUIET, UNITS)
    assert worst_error(alone[1][0], flatten(expected)) < 1e-4


@pytest.mark.sharded
def test_several_devices_compute_the_same(alone):
    trainer = uneven(layout=MIXED)
    metrics = train(trainer, batches(0, 5))
    for name in ("loss", "grad_norm"):
        np.testing.assert_allclose(metrics[name], alone[0][name], rtol=1e-6, err_msg=name)
    pieces = {
        path: leaf.addressable_shards[0].data.shape
        for path, leaf in flatten(trainer.state.params).items()
    }
    assert pieces["encoder/0/attention/query/kernel"] == (16, 8)
    assert pieces["encoder/0/attention/output/kernel"] == (8, 16)
    assert pieces["encoder/0/intermediate/kernel"] == (16, 24)
    assert pieces["encoder/1/output/kernel"] == (11, 16)
    assert pieces["encoder/1/intermediate/bias"] == (11,)
    assert pieces["encoder/1/layer_norm/scale"] == (32,)
    first = trainer.state.optimizer["weights"].mu["encoder/1/output/kernel"]
    assert first.addressable_shards[0].data.shape == (11, 16)


@pytest.mark.sharded
def test_it_continues_from_a_checkpoint_on_another_mesh(alone, tmp_path):
    saver = uneven(layout=MIXED)
    before = train(saver, batches(0, 2))
    saved = jax.device_get(saver.state.params)
    store = Checkpoints(tmp_path, keep=1)
    store.save({"state": saver.state}, Position(2, 0, 0, 1, 0, 0.0))
    trainer = uneven(seed=1)
    found, position = store.restore(lambda position: {"state": trainer.abstract})
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(found["state"].params), saved)
    trainer.restore([found["state"]], position.step)
    after = train(trainer, batches(2, 3))
    losses = np.concatenate([before["loss"], after["loss"]])
    np.testing.assert_allclose(losses, alone[0]["loss"], rtol=1e-6)


def test_seeds_side_by_side_are_the_single_ones(alone):
    trainer = uneven(seeds=(0, 7))
    trainer.dispatch(*[dispatch(batches(0, 5)) for _ in range(2)])
    losses = np.asarray(trainer.drain().metrics["loss"])
    for own in losses:  # without dropout, from one head: all the same
        np.testing.assert_allclose(own, alone[0]["loss"], rtol=1e-6)
    member, reference = trainer.member(1)
    assert reference == {}
    assert worst_error(flatten(jax.device_get(member.params)), alone[1][0]) < 1e-4


def dispatch(rows):
    from training_cases import LENGTH

    from alignreg_jax.data.batching import Dispatch

    return Dispatch(LENGTH, rows)


def test_one_layer_can_be_frozen():
    paths = {slot.path for slot in checkpoints.name_table(smaller()[1], "dense-tanh-out").values()}
    check_freeze(("encoder/0",), paths)
    with pytest.raises(UserError, match=r"did you mean encoder/1\?"):
        check_freeze(("roberta.encoder.layer.1",), paths)
    trainer = uneven(freeze=("encoder/0",))
    train(trainer, batches(0, 5))
    moved, before = state_of(trainer)[0], flatten(smaller()[0])
    for path, leaf in before.items():
        if leaf.size and not path.endswith("key/bias"):
            still = path.startswith("encoder/0/") or not leaf.size
            assert np.array_equal(moved[path], leaf) == still, path


def test_nothing_is_there_to_be_pruned():
    found, rest = kernels.split(smaller()[0])
    assert found == {}
    assert flatten(rest).keys() == flatten(smaller()[0]).keys()
    assert flatten(kernels.merge({}, rest)).keys() == flatten(rest).keys()
    assert kernels.sizes(found) == masks.pack(masks.ones(found)) == {}
    assert zeros.note(found, quantized=False, kept=False) is None


def test_weights_are_measured_layer_by_layer():
    leaves = {path: np.array(leaf) for path, leaf in flatten(smaller()[0]).items()}
    leaves["encoder/1/output/kernel"][3, 5] = 0
    found = measure(unflatten(leaves), {}, {})
    assert (found["remaining"], found["remaining_total"]) == (1.0, 1.0)
    total = sum(leaf.size for path, leaf in leaves.items() if re.search(r"er/\d/.*kernel", path))
    assert found["nonzero"] == (total - 1) / total
    norms = found["weight_norms"]["attention/output"]
    expected = np.linalg.norm(leaves["encoder/0/attention/output/kernel"])
    assert norms[0] == pytest.approx(expected, rel=1e-6)
    assert found["remaining_by_layer"]["output"] == [1.0, 1.0]


def test_rules_are_those_of_stacked_kernels_without_their_layers():
    for path, rule in {
        "encoder/11/attention/value/kernel": ("fsdp", "tensor"),
        "encoder/0/attention/output/kernel": ("tensor", "fsdp"),
        "encoder/3/intermediate/bias": ("tensor",),
        "encoder/3/attention/layer_norm/bias": (),
    }.items():
        assert sharding.spec(path) == PartitionSpec(*rule)
    for path in ("encoder/0/gate/kernel", "encoder/x/output/kernel", "embeddings/0/word/embedding"):
        with pytest.raises(ValueError, match=re.escape(path)):
            sharding.spec(path)


@pytest.mark.parametrize(
    ("layout", "heads", "ffn", "message"),
    [
        ((1, 1, 2), (4, 3), (64, 64), "mesh.tensor=2 does not divide the model's 3 attention"),
        ((1, 1, 4), (4, 4), (64, 22), "mesh.tensor=4 .* 22 intermediate units"),
        ((1, 4, 1), (4, 3), (64, 22), "mesh.fsdp=4 .* 22 intermediate units"),
    ],
)
@pytest.mark.sharded
def test_every_layer_has_to_divide(layout, heads, ffn, message):
    with pytest.raises(UserError, match=message):
        sharding.check(mesh(*layout), CONFIG.with_sizes(heads, ffn), {})
    sharding.check(mesh(2, 2, 2), CONFIG.with_sizes((4, 2), (64, 22)), {})
    sharding.check(mesh(2, 2, 2), CONFIG.with_sizes((0, 2), (64, 0)), {})
