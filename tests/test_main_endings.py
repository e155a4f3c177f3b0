"""Runs that do not come to their end: they are interrupted, or the loss is not finite."""

import json
import re
import signal
import sys
import time

import pytest
import tiny

from alignreg_jax.main import main

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def wait_for_training(process, workdir):
    end = time.monotonic() + 120
    while not tiny.events(workdir):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_interrupted(world, tmp_path):
    """Ctrl-C is 130 with a line; SIGTERM is tested with resuming."""
    workdir = tmp_path / "run"
    command = tiny.command(world, workdir, "--config.pruning.first_epochs=2000")
    # What was started in the background ignores Ctrl-C, and so would what it starts
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = tiny.start(command)
    signal.signal(signal.SIGINT, before)
    wait_for_training(process, workdir)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("interrupted; the same command continues")


def test_loss_that_is_not_finite(world, tmp_path, capsys):
    """Exit 3 before the next save; another rate needs another workdir."""
    workdir = tmp_path / "run"
    # The penalty is switched on by the first pruning step, against the fine-tuned network
    flags = ("--config.regularizer.weight=1e38", "--config.regularizer.reference=finetuned")
    assert main(tiny.command(world, workdir, *flags)) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert "Traceback" not in output.err
    last = output.err.splitlines()[-1]
    newest = max((workdir / "checkpoints").glob("*.json"))
    assert json.loads(newest.read_text())["position"]["step"] == 10  # the end of fine-tuning
    assert re.search(rf"not finite at step 1[1-3]; .*{newest.stem}; .*train.learning_rate", last)
    assert not (workdir / "export").exists()
    assert max(event["step"] for event in tiny.events(workdir)) < 14
    sys.modules.pop("config_config", None)
    assert main(tiny.command(world, workdir, "--config.train.warmup_steps=0")) == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    for change in (
        "regularizer.weight (1e+38 -> 0.0005)",
        "regularizer.reference ('finetuned' -> 'pretrained')",
        "train.warmup_steps (2 -> 0)",
    ):
        assert change in errors


def test_loss_that_is_not_finite_from_the_start(world, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert main(tiny.command(world, workdir, "--config.train.learning_rate=1e38")) == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert "no checkpoint was saved" in last
    assert not (workdir / "checkpoints").exists()
