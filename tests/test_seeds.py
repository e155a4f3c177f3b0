"""Several seeds in one run of the program: folders as of single runs, together or alone."""

import csv
import json

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file
from test_resume import kill_when, saving

from alignreg_jax.training.checkpointing import Checkpoints, Position, common

SEEDS = (0, 1)
# Everything that is a seed's own: gradients, a reference of its own, a head of its own
FLAGS = ("--config.method=gradient-mbp", "--config.regularizer.name=frobenius",
         "--config.regularizer.reference=finetuned", "--config.eval.save_predictions",
         "--config.pruning.gradient_batches=2")  # fmt: skip


@pytest.fixture(scope="module")
def command(world):
    """Of the program, in that folder."""
    return lambda folder, *flags: tiny.command(world, folder, *FLAGS, "--config.seeds=2", *flags)


@pytest.fixture(scope="module")
def together(command, tmp_path_factory):
    """The folder of a run of both seeds by the real program, and what it printed."""
    folder = tmp_path_factory.mktemp("seeds") / "run"
    code, out, errors = tiny.run(command(folder))
    assert code == 0, errors
    return folder, out


def rows(folder):
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_each_folder_is_that_of_a_single_run(world, together, tmp_path):
    """Predictions may differ where two classes are as likely; here none does."""
    folder, _ = together
    for seed in SEEDS:
        code, _, errors = tiny.run(
            tiny.command(world, tmp_path / f"s{seed}", *FLAGS, f"--config.seed={seed}")
        )
        assert code == 0, errors
        ours, alone = folder / f"s{seed}", tmp_path / f"s{seed}"
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
def test_killed_between_the_saves_of_two_seeds(command, together, tmp_path):
    """Both go on from the newest checkpoint that both have, to the same bits."""
    folder = tmp_path / "run"
    assert kill_when(tiny.start(command(folder)), folder, lambda _: saving(folder / "s1"))
    code, _, errors = tiny.run(command(folder))
    assert code == 0, errors
    for seed in SEEDS:
        assert tiny.outcome(folder / f"s{seed}") == tiny.outcome(together[0] / f"s{seed}")


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


def test_the_newest_place_that_all_have(tmp_path):
    def positions(name, phases):
        checkpoints = Checkpoints(tmp_path / name, keep=2)
        for phase in phases:
            tree = {"state": np.zeros(2, np.float32)}
            checkpoints.save(tree, Position(phase, phase, 1, 0, 5, float(phase)))
        return checkpoints

    ahead, behind = positions("ahead", (0, 1, 2)), positions("behind", (0, 1))
    assert common([ahead]) is None
    assert common([ahead, behind]) == (1, 1, 0, False)
    _, position = ahead.restore(lambda position: None, common([ahead, behind]))
    assert position.phase == 1
    assert [place.phase for place in ahead.sound()] == [1]
    fresh = Checkpoints(tmp_path / "fresh", keep=2)
    place = common([behind, fresh])
    assert behind.restore(lambda position: None, place) is None
    assert behind.sound() == fresh.sound() == []
