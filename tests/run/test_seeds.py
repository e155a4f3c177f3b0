"""Several seeds in one run of the program: folders as of single runs, together or alone."""

import csv
import json
import logging
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file
from test_resume import kill_when, saving
from tiny import configured

from alignreg_jax.run import experiment as experiments
from alignreg_jax.run import launch
from alignreg_jax.run.plan import Train
from alignreg_jax.run.shared import Shared
from alignreg_jax.training.in_flight import InFlight
from alignreg_jax.training.manifests import problem
from alignreg_jax.training.pace import Pace
from alignreg_jax.training.trainer import Trainer

SEEDS = (0, 1)
# Everything that is a seed's own: gradients, a reference of its own, a head of its own
FLAGS = ("--config.method=gradient-mbp", "--config.regularizer.name=frobenius",
         "--config.regularizer.reference=finetuned", "--config.eval.save_predictions",
         "--config.pruning.gradient_batches=2")  # fmt: skip


@pytest.fixture(scope="module")
def world(mixed_world):
    return mixed_world


@pytest.fixture(scope="module")
def command(world):
    """Of the program, in that folder."""
    return lambda folder, *flags: tiny.command(world, folder, *FLAGS, "--config.seeds=2", *flags)


@pytest.fixture(scope="module")
def together(command, tmp_path_factory):
    """The folder of a run of both seeds by the real program, and what it printed.

    It was killed between the saves of the two, and started again.
    """
    folder = tmp_path_factory.mktemp("seeds") / "run"
    assert kill_when(tiny.start(command(folder)), folder, lambda _: saving(folder / "s1"))
    code, out, errors = tiny.run(command(folder))
    assert code == 0, errors
    return folder, out


def rows(folder):
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_folder_is_that_of_a_single_run(world, together, tmp_path):
    """The second seed's; both in one process are tests/training/test_lifting.py's.

    Predictions may differ where two classes are as likely; here none does.
    """
    ours, alone = together[0] / "s1", tmp_path / "s1"
    code, _, errors = tiny.run(tiny.command(world, alone, *FLAGS, "--config.seed=1"))
    assert code == 0, errors
    assert {path.name for path in ours.iterdir()} == {path.name for path in alone.iterdir()}
    assert rows(ours) == rows(alone)
    assert (ours / "masks.npz").read_bytes() == (alone / "masks.npz").read_bytes()
    one, two = (load_file(path / "export" / "model.safetensors") for path in (ours, alone))
    for name, tensor in two.items():
        if not name.endswith("attention.self.key.bias"):  # its true gradient is 0
            np.testing.assert_allclose(one[name], tensor, atol=2e-5, err_msg=name)
    written = [json.loads((path / "config.json").read_text()) for path in (ours, alone)]
    assert written[0]["config"] == written[1]["config"]
    events = [tiny.events(path) for path in (ours, alone)]
    assert [event["kind"] for event in events[0]] == [event["kind"] for event in events[1]]


@pytest.mark.slow
def test_what_is_said_at_the_end(together):
    folder, out = together
    for seed in SEEDS:
        assert str(folder / f"s{seed}" / "report.html") in out
    header, _, *table = out.strip().rsplit("\n\n", 1)[1].splitlines()
    assert header.split()[:2] == ["seed", "remaining"]
    assert [line.split()[0] for line in table] == ["0", "1"]


@pytest.mark.slow
def test_one_of_them_goes_on_alone(world, together, tmp_path):
    """From a checkpoint that was saved side by side, and ends where it did."""
    workdir = tiny.copy(together[0] / "s1", tmp_path / "s1")
    expected = rows(workdir)
    (workdir / "results.json").unlink()
    newest = max((workdir / "checkpoints").glob("*.json"))
    newest.unlink()
    code, _, errors = tiny.run(tiny.command(world, workdir, *FLAGS, "--config.seed=1"))
    assert code == 0, errors
    assert "continuing from step 1" in errors  # 15 or 18 of 20
    assert rows(workdir) == expected


def test_the_rate_is_that_of_each_seed_and_not_their_sum(monkeypatch):
    """A dispatch of two seeds, 8 rows each, that took two seconds."""
    told, shown = [], []
    monkeypatch.setattr(experiments, "fetch", lambda _: [{"examples": 8.0, "task_loss": 0.5}] * 2)
    experiment = object.__new__(experiments.Experiment)
    experiment._pace, experiment.shared, experiment.members = Pace(0.0), Shared(), SEEDS
    experiment._pace.training.seconds = 2.0
    experiment.phases = SimpleNamespace(epoch_of=lambda step: step // 5)
    experiment._event = lambda *_, **values: told.append(values["examples_per_second"])
    event, bar = Train(0, 0, 10, 1.0, 1.0), SimpleNamespace(update=lambda *told: shown.append(told))
    experiment._look_at(InFlight({}, 0, 1, SEEDS), event, bar)
    assert told == [4.0, 4.0]
    assert shown == [(1, "loss 0.5")]
    assert experiment._pace.facts()["examples_per_second"] == 4.0


class Killed(BaseException):
    """As kill -9 would end the run."""


def furthest(folder):
    """The step of the newest sound checkpoint."""
    return max(
        (
            json.loads(manifest.read_text())["position"]["step"]
            for manifest in folder.glob("checkpoints/*.json")
            if problem(manifest.with_suffix("")) is None
        ),
        default=0,
    )


def test_started_again_with_other_seeds_nothing_is_lost(world, tmp_path, monkeypatch, caplog):
    """Killed after so many dispatches, as one seed, then with another one beside it."""
    config = configured(world, "--config.checkpoint.every_steps=1", "--config.pruning.steps=1")
    dispatch, before, steps = Trainer.dispatch, {}, []
    shared = Shared()  # compiled once
    for seeds, dispatches in (((0,), 3), ((0, 1), 1), ((1, 0), 2)):
        left = dispatches

        def mortal(self, *parts, **named):
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return dispatch(self, *parts, **named)

        monkeypatch.setattr(Trainer, "dispatch", mortal)
        folders = {seed: tmp_path / f"s{seed}" for seed in seeds}
        with pytest.raises(Killed), caplog.at_level(logging.INFO):
            launch.run(config, folders, "the command", time.monotonic(), shared)
        after = {seed: furthest(tmp_path / f"s{seed}") for seed in range(2)}
        assert all(after[seed] >= step for seed, step in before.items()), (before, after)
        before = after
        steps.append(after[0])
    assert "these seeds have no checkpoint in common, so seed 0, then 1" in caplog.text
    assert f"continuing from step {steps[0]} in phase 0" in caplog.text
    assert before[1] > 0
