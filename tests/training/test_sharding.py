import functools
import re
from dataclasses import replace

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from training_cases import (
    BATCH,
    CONFIG,
    LENGTH,
    batches,
    first_gradients,
    make_trainer,
    mesh,
    method,
    moments,
    params,
    prune,
    train,
)

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.errors import UserError
from alignreg_jax.models.xlmr import XlmrConfig
from alignreg_jax.pruning import kernels, masks
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.pruning.method import Weights
from alignreg_jax.pruning.methods import build
from alignreg_jax.training import cuts, sharding
from alignreg_jax.training.checkpointing import Checkpoints
from alignreg_jax.training.lifting import Lift
from alignreg_jax.training.manifests import Position
from alignreg_jax.training.state import flatten

pytestmark = pytest.mark.sharded

SINGLE = (1, 1, 1)
LAYOUTS = {"data": (8, 1, 1), "fsdp": (1, 8, 1), "tensor": (2, 1, 4), "mixed": (2, 2, 2)}


class Record:
    """A few steps on one layout: dropout, clipping, decay and a regularizer are on."""

    def __init__(self, layout):
        trainer = make_trainer(layout=layout, method_=method(regularizer="cosine"), clip=True)
        self.placed = shard_shapes(trainer.state)
        first = train(trainer, batches(0, 1))
        self.gradients = first_gradients(trainer)
        rest = train(trainer, batches(1, 4))
        self.metrics = {name: np.concatenate([first[name], rest[name]]) for name in first}
        self.moved = shard_shapes(trainer.state)
        self.trainer = trainer


def shard_shapes(state):
    """Shape of a device's piece of every leaf, by name."""
    trees = {
        "params": state.params,
        **dict(zip(("mu", "nu"), moments(state), strict=True)),
        "masks": state.masks,
    }
    return {
        f"{name}/{path}": leaf.addressable_shards[0].data.shape
        for name, tree in trees.items()
        for path, leaf in flatten(tree).items()
    }


@pytest.fixture(scope="module")
def records():
    """Records by layout, each made once."""
    return functools.cache(Record)


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return LAYOUTS[request.param]


def test_losses_of_five_steps_equal_one_device(records, layout):
    ours, one = records(layout).metrics, records(SINGLE).metrics
    for name in ("loss", "task_loss", "penalty", "grad_norm"):
        np.testing.assert_allclose(ours[name], one[name], rtol=1e-6, err_msg=name)
    assert len(set(one["loss"])) == 5


def test_gradients_equal_one_device(records, layout):
    ours, one = records(layout).gradients, records(SINGLE).gradients
    for path, expected in one.items():
        error = np.abs(ours[path] - expected).max()
        if path.endswith("key/bias"):  # shifts every logit of a query alike: rounding noise
            assert np.abs(expected).max() < 1e-6
            continue
        assert np.abs(expected).max() > 1e-6, path
        assert error <= 1e-5 * np.abs(expected).max(), f"{path}: {error}"


@pytest.fixture(scope="module")
def cut():
    """Masks by layout, method and scope: cut per matrix to 60 %, then in another way to 37 %."""

    @functools.cache
    def make(layout, criterion="magnitude"):
        trainer = make_trainer(layout=layout)
        by_layer = prune(trainer, 0.6)
        places = sharding.Places.of(jax.tree.map(lambda leaf: leaf.sharding, trainer.abstract))
        trainer._prune = cuts.make_prune_step(method("global", criterion=criterion), places, Lift())
        return {"layer": by_layer, "global": prune(trainer, 0.37, "global")}

    return make


def test_masks_equal_one_device_bitwise(cut, layout):
    assert_same_masks(cut(layout), cut(SINGLE))


def test_random_masks_equal_one_device_bitwise(cut):
    ours = cut(LAYOUTS["mixed"], "random")
    assert_same_masks(ours, cut(SINGLE, "random"))
    assert any((ours["global"][name] != cut(SINGLE)["global"][name]).any() for name in KERNELS)


def test_squares_of_inputs_equal_one_device():
    wanda = build(criterion="wanda", scope="output")
    plan = [Dispatch(LENGTH, batches(0, 2))]
    ours, one = (
        make_trainer(layout=layout, method_=wanda).gradients(plan)["inputs"]
        for layout in (LAYOUTS["mixed"], SINGLE)
    )
    for name in KERNELS:
        np.testing.assert_allclose(ours[name], one[name], rtol=1e-5, err_msg=name)


def test_a_cut_with_new_weights_equals_one_device():
    """Left to the devices' shares, the factorisations in it wait for one another for ever."""
    plan = [Dispatch(LENGTH, batches(0, 2))]
    found = []
    for layout in (LAYOUTS["mixed"], SINGLE):
        trainer = make_trainer(layout=layout, method_=build(criterion="sparsegpt", scope="layer"))
        counts = masks.keep_counts(kernels.sizes(trainer.reference), 0.5, "layer")
        trainer.prune(counts, 1, trainer.gradients(plan))
        state = jax.device_get((kernels.split(trainer.state.params)[0], trainer.state.masks))
        found.append(state)
        assert shard_shapes(trainer.state) == shard_shapes(make_trainer(layout=layout).state)
    for name in KERNELS:
        (ours, kept), (one, expected) = ((tree[name], mask[name]) for tree, mask in found)
        alike = kept == expected
        assert alike.mean() > 0.99  # sums over devices round otherwise
        np.testing.assert_allclose(ours[alike], one[alike], rtol=0, atol=1e-4)


def assert_same_masks(ours, one):
    for scope, fraction in (("layer", 0.6), ("global", 0.37)):
        kept = sum(mask.sum() for mask in one[scope].values())
        assert kept / sum(mask.size for mask in one[scope].values()) == pytest.approx(
            fraction, abs=1e-3
        )
        for name in KERNELS:
            np.testing.assert_array_equal(ours[scope][name], one[scope][name])


def test_every_device_holds_its_piece_before_and_after_a_step(records):
    """On data 2 x fsdp 2 x tensor 2: hidden 32, intermediate 64, 50 pieces."""
    record = records(LAYOUTS["mixed"])
    square = dict.fromkeys(
        [f"attention/{name}" for name in ("query", "key", "value", "output")], (2, 16, 16)
    )
    for name, shape in {**square, "intermediate": (2, 16, 32), "output": (2, 32, 16)}.items():
        for tree in ("params", "mu", "nu"):
            assert record.placed[f"{tree}/encoder/{name}/kernel"] == shape
        assert record.placed[f"masks/{name}"] == shape
    assert record.placed["params/embeddings/word/embedding"] == (50, 16)
    assert record.placed["nu/embeddings/word/embedding"] == (50, 16)
    assert record.placed["params/encoder/attention/query/bias"] == (2, 16)
    assert record.placed["params/encoder/intermediate/bias"] == (2, 32)
    assert record.placed["params/encoder/output/bias"] == (2, 32)
    assert record.placed["params/head/dense/kernel"] == (32, 32)
    assert record.moved == record.placed
    served = flatten(record.trainer.serve(record.trainer.state))
    for path, leaf in served.items():
        assert leaf.addressable_shards[0].data.shape == record.placed[f"params/{path}"]
    for name, leaf in record.trainer.reference.items():
        assert leaf.addressable_shards[0].data.shape == record.placed[f"masks/{name}"]


def test_every_device_computes_its_rows_only(records, layout):
    """No activation of the whole batch in the program of a device, forward or backward."""
    trainer = records(layout).trainer
    rows, count = trainer.place((batches(0, 5), np.int32(5)))
    program = trainer._train.lower(
        trainer.state,
        Weights(trainer.reference, {}),
        trainer.data,
        None,
        rows,
        count,
        trainer._traced_hyper,
        replace(trainer._clock, marks=trainer._unmarked),
        length=LENGTH,
    )
    text = program.compile().as_text()
    shares = layout[0] * layout[1]
    whole = rf"f32\[(2,)?{BATCH},{LENGTH},(32|64)\]|f32\[(2,)?{BATCH},\d,{LENGTH},{LENGTH}\]"
    assert not re.findall(whole, text)
    assert f"f32[{BATCH // shares},{LENGTH},32]" in text


@pytest.mark.parametrize("layouts", [(LAYOUTS["mixed"], SINGLE), (SINGLE, LAYOUTS["fsdp"])])
def test_checkpoint_continues_on_another_mesh(records, layouts, tmp_path):
    saved_on, restored_on = layouts
    chosen = method(regularizer="cosine")
    saver = make_trainer(layout=saved_on, method_=chosen, clip=True)
    before = train(saver, batches(0, 2))
    saved = jax.device_get(saver.state.params)
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save({"state": saver.state}, Position(2, 0, 0, 1, 0, 0.0))

    trainer = make_trainer(layout=restored_on, method_=chosen, clip=True, seed=1)
    found, position = checkpoints.restore(lambda position: {"state": trainer.abstract})
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(found["state"].params), saved)
    trainer.restore([found["state"]], position.step)
    assert shard_shapes(trainer.state) == records(restored_on).placed
    after = train(trainer, batches(2, 3))
    losses = np.concatenate([before["loss"], after["loss"]])
    np.testing.assert_allclose(losses, records(SINGLE).metrics["loss"], rtol=1e-6)


def test_axes_that_do_not_make_the_devices():
    with pytest.raises(UserError, match=r"mesh.data=3 x mesh.fsdp=1 x mesh.tensor=1 .* 8 devices"):
        sharding.make_mesh(3, 1, 1)
    with pytest.raises(UserError, match=r"mesh.data=-1 x mesh.fsdp=1 x mesh.tensor=3 .* 8 devices"):
        sharding.make_mesh(-1, 1, 3)
    with pytest.raises(UserError, match=r"only one of mesh\.data"):
        sharding.make_mesh(-1, -1, 1)


def test_minus_one_takes_the_devices_that_are_left():
    assert dict(sharding.make_mesh(-1, 2, 1).shape) == {"data": 4, "fsdp": 2, "tensor": 1}
    assert dict(sharding.make_mesh(1, 2, -1).shape) == {"data": 1, "fsdp": 2, "tensor": 4}


def test_batch_that_does_not_divide():
    sizes = {"train.batch_size": 8, "eval.batch_size": 12}
    with pytest.raises(UserError, match=r"eval.batch_size=12 .* 8 devices; use a multiple of 8"):
        sharding.check(mesh(4, 2, 1), CONFIG, sizes)
    sharding.check(mesh(2, 2, 2), CONFIG, sizes)


@pytest.mark.parametrize(
    ("layout", "changes", "message"),
    [
        ((1, 1, 8), {}, "mesh.tensor=8 does not divide the model's 4 attention heads"),
        ((1, 1, 4), {"intermediate_size": 66}, "mesh.tensor=4 .* 66 intermediate units"),
        ((1, 8, 1), {"intermediate_size": 68}, "mesh.fsdp=8 .* 68 intermediate units"),
        ((1, 8, 1), {"hidden_size": 36}, "mesh.fsdp=8 .* 36 hidden units"),
    ],
)
def test_model_that_does_not_divide(layout, changes, message):
    config = XlmrConfig(**{**vars(CONFIG), **changes})
    with pytest.raises(UserError, match=message):
        sharding.check(mesh(*layout), config, {})


@pytest.mark.parametrize("head", ["dense-tanh-out", "linear", "label-words"])
def test_every_parameter_has_a_rule(head):
    for path, leaf in flatten(params(head)).items():
        assert len(sharding.spec(path)) <= leaf.ndim


@pytest.mark.parametrize(
    "path", ["encoder/gate/kernel", "x/encoder/output/kernel", "encoder/output/kernel/y"]
)
def test_parameter_without_a_rule(path):
    with pytest.raises(ValueError, match=re.escape(path)):
        sharding.spec(path)


def test_rules_of_kernels_that_end_alike():
    outwards = PartitionSpec(None, "tensor", "fsdp")
    assert sharding.spec("encoder/attention/output/kernel") == outwards
    assert sharding.spec("encoder/output/kernel") == outwards
    assert sharding.spec("encoder/intermediate/kernel") == PartitionSpec(None, "fsdp", "tensor")


def test_learned_state_of_a_method_follows_its_kernel(records):
    state = records(SINGLE).trainer.abstract
    gates = {"gates": state.masks, "multiplier": jax.ShapeDtypeStruct((), np.float32)}
    found = sharding.for_state(state.replace(method=gates), mesh(*LAYOUTS["mixed"])).method
    assert found["gates"]["output"].spec == PartitionSpec(None, "tensor", "fsdp")
    assert found["gates"]["attention/query"].spec == PartitionSpec(None, "fsdp", "tensor")
    assert found["multiplier"].spec == PartitionSpec()
