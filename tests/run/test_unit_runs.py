"""Whole runs that prune heads and feed-forward units."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file
from test_taught_runs import run
from tiny import configured

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import groups, masks, units
from alignreg_jax.run.batches import Batches
from alignreg_jax.run.inputs import load_inputs

FLAGS = (
    "--config.method=structured-taylor",
    "--config.regularizer.name=cosine", "--config.regularizer.weight=10",
    "--config.distill.text=data", "--config.distill.text_languages=de",
    "--config.pruning.gradients_on=text",
)  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    world = tiny.build(tmp_path_factory.mktemp("units") / "world")
    text = [json.dumps({"text": f"de{i} de{(7 * i) % 20}"}) for i in range(12)]
    (world.data / "de.unlabelled.jsonl").write_text("\n".join(text) + "\n")
    config, folder = configured(world, *FLAGS), tmp_path_factory.mktemp("taylor") / "run"
    run(config, folder)
    return world, config, folder


def test_units_go_whole_and_events_count_them(done):
    _, _, folder = done
    with np.load(folder / "masks.npz") as file:
        kept = masks.unpack(file)
    heads = tiny.HEADS
    (*_, last) = [event for event in tiny.events(folder) if event["kind"] == "prune"]
    shapes = units.shapes(kept, heads)
    rows = {"heads": kept["attention/output"], "ffn": kept["output"]}
    standing = {kind: rows[kind].reshape(*shapes[kind], -1).any(axis=-1) for kind in units.UNITS}
    expanded = units.expand(jax.tree.map(jnp.asarray, standing), kept)
    for name in kept:  # a unit that stands has all its weights, one that does not has none
        np.testing.assert_array_equal(kept[name], expanded[name])
    for kind in units.UNITS:
        assert last[f"{kind}_by_layer"] == standing[kind].sum(axis=1).tolist()
    exported = load_file(folder / "export" / "model.safetensors")
    for layer, present in enumerate(standing["ffn"]):
        path = f"roberta.encoder.layer.{layer}.output.dense.weight"
        np.testing.assert_array_equal((exported[path] != 0).any(axis=0), present)


def test_importance_can_be_measured_on_text_of_one_language(done):
    """Its batches have no labelled row."""
    _, config, folder = done
    (*_, last) = [event for event in tiny.events(folder) if event["kind"] == "prune"]
    inputs = load_inputs(config)
    batches = Batches(config, inputs, inputs.time_table(config), 0.0)
    drawn = np.concatenate([part.rows.ravel() for part in batches.drawn(1, 0)])
    on_text = drawn[drawn >= 0] >= tiny.ROWS["train"]
    assert last["gradient_batches"] == sum(len(part.rows) for part in batches.drawn(1, 0)) > 0
    assert on_text.all()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("structured-fisher", "--config.pruning.final=0.01"), "units: .*% .* in every layer have"),
        (("elastic", "--config.pruning.sizes=1,.01"), "units: 1.00% .* in every layer have"),
        (("elastic", "--config.pruning.sizes=1,.5", "--config.pruning.scope=ffn"),
         "ffn: 50.00% .* all heads and a feed-forward unit"),
        (("l2-mbp", "--config.pruning.scope=n:4"), "n:4: 3, 2 or 1 of four"),
        (("l2-mbp", "--config.pruning.scope=n:4", "--config.pruning.schedule=explicit",
          "--config.pruning.steps=1", "--config.pruning.explicit=.5,"),
         "n:4: attention/query has .* inputs, which do not divide"),
    ],
)  # fmt: skip
def test_a_cut_that_cannot_be_made_is_refused_before_anything_is_written(
    monkeypatch, tmp_path, given, says
):
    if "divide" in says:
        monkeypatch.setattr(groups, "GROUP", 7)  # the tiny encoder's matrices divide by 4
    world = tiny.build(tmp_path / "world")
    config = configured(world, f"--config.method={given[0]}", *given[1:])
    with pytest.raises(UserError, match=rf"^pruning\.scope={says}"):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
