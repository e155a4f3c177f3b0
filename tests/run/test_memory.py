"""A run says what a step takes of a device, and what would fit where it does not."""

import re

import jax
import pytest
import tiny

from alignreg_jax.errors import UserError
from alignreg_jax.main import main
from alignreg_jax.run import memory
from alignreg_jax.run.checking import check_runs
from alignreg_jax.run.inputs import load_inputs
from alignreg_jax.run.shared import Shared
from alignreg_jax.training import room

# ml_collections loads a config file in a way that Python will drop
pytestmark = [
    pytest.mark.sharded,
    pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning"),
]

DIVIDED = ("--config.mesh.fsdp=2", "--config.mesh.tensor=2")


@pytest.fixture(scope="module")
def of(world):
    """Flags -> configuration and inputs."""
    cache = Shared().inputs

    def make(*flags):
        config = tiny.configured(world, *flags)
        return config, load_inputs(config, cache)

    return make


def needed(config, inputs, *, rows):
    step = memory._step(config, inputs)
    return room.step_bytes(rows=rows, **step.rest)


def fields(text):
    return dict(re.findall(r"([\w.]+)=(\w+)", text.partition("less with")[2]))


def test_a_step_that_fits_is_told(of):
    said = memory.told(*of())
    assert re.fullmatch(r"about 0\.0 GB a step, of \d+\.\d GB a device has", said)


def test_what_is_advised_fits_and_a_run_would_take_it(of, monkeypatch):
    wide = ("--config.train.batch_size=64", "--config.mesh.data=2", *DIVIDED)
    config, inputs = of(*wide)
    monkeypatch.setattr(room, "memory_of_a_device", lambda: needed(config, inputs, rows=5))
    said = memory.told(config, inputs)
    assert "TOO MUCH" in said
    # 16 rows on each of four, and 5 fit
    assert fields(said) == {
        "model.remat": "True", "train.batch_size": "20", "train.accumulation": "4"
    }  # fmt: skip
    for name in ("batch_size", "accumulation"):
        less, same = of(*wide, f"--config.train.{name}={fields(said)[f'train.{name}']}")
        assert "TOO MUCH" not in memory.told(less, same)


def test_where_not_one_row_fits_only_remat_or_devices_are_left(of, monkeypatch):
    monkeypatch.setattr(room, "memory_of_a_device", lambda: 1000)
    assert memory.told(*of()).endswith("less with model.remat=True")
    said = memory.told(*of("--config.model.remat"))
    assert said.endswith("a smaller encoder, or more devices along mesh.fsdp")


def test_what_is_frozen_or_not_in_use_or_on_other_devices_takes_less(of):
    whole = needed(*of("--config.model.active_vocabulary=False"), rows=1)
    frozen = needed(
        *of("--config.model.active_vocabulary=False", "--config.train.freeze=embeddings"), rows=1
    )
    both = needed(*of("--config.train.freeze=embeddings"), rows=1)
    config, inputs = of()
    assert frozen - both == 4 * inputs.absent_parameters
    embeddings = sum(leaf.size for leaf in jax.tree.leaves(inputs.encoder.params["embeddings"]))
    assert whole - frozen == 4 * 3 * embeddings
    assert whole - needed(config, inputs, rows=1) == 4 * 4 * inputs.absent_parameters
    assert needed(*of("--config.seeds=2"), rows=0) == 2 * needed(*of(), rows=0)
    assert needed(*of("--config.mesh.data=2", *DIVIDED), rows=0) <= needed(*of(), rows=0) / 4


def test_a_full_device_is_one_line(world, tmp_path, monkeypatch, capsys):
    full = "RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.\nand much more"

    def run(experiment):
        raise jax.errors.JaxRuntimeError(full)

    monkeypatch.setattr("alignreg_jax.run.experiment.Experiment.run", run)
    assert main(tiny.command(world, tmp_path / "run")) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: a device's memory is full: RESOURCE_EXHAUSTED: Out of memory")
    assert last.endswith("99 bytes.; less with model.remat=True")
    monkeypatch.setattr(memory, "_advice", lambda config, step: f"{config.seeds} seeds")
    assert main(tiny.command(world, tmp_path / "two", "--config.seeds=2")) == 2
    assert capsys.readouterr().err.endswith("less with 2 seeds\n")


def test_other_troubles_of_jax_are_shown_whole(of):
    with (
        pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"),
        memory.explained(*of()),
    ):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")
    with pytest.raises(UserError), memory.explained(*of()):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no")


def test_seeds_side_by_side_take_as_much_each(world, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "step_bytes", lambda rows, **_: 1e9 * rows)
    config = tiny.configured(world)
    told = [
        re.findall(r"memory +about ([\d.]+) GB", check_runs(config, {n: tmp_path / f"s{n}"
                                                                    for n in range(seeds)}))
        for seeds in (1, 3)
    ]  # fmt: skip
    assert 3 * float(told[0][0]) == pytest.approx(float(told[1][0]))
