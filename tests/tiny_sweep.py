"""A sweep of the tiny world: its config file, and the command line."""

import subprocess
import sys
from pathlib import Path

import tiny

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
