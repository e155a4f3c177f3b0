"""Runs with a cut within a phase, and without any."""

import time

import numpy as np
import tiny
from safetensors.numpy import load_file
from tiny import configured

from alignreg_jax.run import experiment as experiments
from alignreg_jax.run import launch


def test_a_cut_midway_does_not_put_off_the_next_save(world, tmp_path, monkeypatch):
    config = configured(
        world, "--config.method=l0-mbp", "--config.pruning.steps=1",
        "--config.pruning.epochs_per_step=8", "--config.checkpoint.every_steps=15",
    )  # fmt: skip
    saved, save = [0], experiments.Experiment._save

    def saving(experiment, *place):
        saved.append(experiment.trainer.step)
        save(experiment, *place)

    monkeypatch.setattr(experiments.Experiment, "_save", saving)
    launch.run(config, {0: tmp_path / "run"}, "the command", time.monotonic())
    cut = next(each["step"] for each in tiny.events(tmp_path / "run") if each["kind"] == "prune")
    assert cut not in saved  # the cut is within its phase
    assert saved[1] < cut < saved[-1]
    assert np.diff(saved).max() <= 15 + config.train.steps_per_dispatch


def test_without_a_cut_nothing_else_is_frozen(world, tmp_path):
    config = configured(
        world, "--config.method=none", "--config.pruning.freeze=embeddings",
        "--config.model.active_vocabulary=False",
    )  # fmt: skip
    launch.run(config, {0: tmp_path / "run"}, "the command", time.monotonic())
    before = load_file(world.encoder / "model.safetensors")
    after = load_file(tmp_path / "run" / "export" / "model.safetensors")
    (name,) = (name for name in before if name.endswith("word_embeddings.weight"))
    (own,) = (name for name in after if name.endswith("word_embeddings.weight"))
    assert (after[own] != before[name]).any()
