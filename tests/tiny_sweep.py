"""A sweep of the tiny world: its config file, the command line, and fixtures for tests of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from alignreg_jax.support.flags import parse
from alignreg_jax.sweeping import config as sweeps
from alignreg_jax.sweeping import plan as planning
from alignreg_jax.sweeping import runner
from alignreg_jax.sweeping.starts import field_paths

METHODS = ("l2-mbp", "random", "frobenius-finetuned")
SEEDS = (0, 1)
STEPS = {0: 10, 1: 5, 2: 5}  # of each phase

CONFIG = """\
import runpy

from alignreg_jax.sweeping.starts import default_config


def get_config(arg=""):
    config = default_config(runpy.run_path({config!r})["get_config"]())
    config.base.checkpoint.every_steps = 1000
    config.methods = {methods!r}
    config.tasks = ("folder",)
    config.seeds = {seeds!r}
    config.remaining = (0.5,)
    return config
"""


def write(world: tiny.World) -> Path:
    """The config file, beside the world's own."""
    path = world.folder / "tiny_sweep.py"
    path.write_text(CONFIG.format(config=str(world.config), methods=METHODS, seeds=SEEDS))
    return path


def command(config: Path, workdir: Path, *flags: str) -> list[str]:
    """The arguments of the program."""
    return ["--config", str(config), "--workdir", str(workdir), *flags]


def start(arguments: list[str]) -> subprocess.Popen:
    """The real program, as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "alignreg_jax.sweep", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tiny.ROOT,
        env=tiny.environment(),
    )


def names(rows=METHODS, seeds=SEEDS):
    """Of the folders of its runs."""
    return [f"folder/{row}/s{seed}" for row in rows for seed in seeds]


def runs_of(config, *flags):
    """What such a command plans."""
    sys.modules.pop("config_config", None)
    arguments = ["--config", str(config), *flags]
    values = parse(arguments, program="", example="", fields=field_paths)
    return planning.plan(sweeps.resolve(values.config))


@pytest.fixture(scope="module")
def config(world):
    return write(world)


@pytest.fixture(autouse=True)
def one_config_file(monkeypatch):
    """The library loads a second config file of a process on top of the first."""
    monkeypatch.delitem(sys.modules, "config_config", raising=False)


@pytest.fixture
def tried(monkeypatch):
    """The runs that are started; they do nothing."""
    found = []
    monkeypatch.setattr(
        runner.launch, "run", lambda config, folders, *given: found.extend(folders.values())
    )
    return found
