"""The `alignreg` command: `alignreg run`, `alignreg sweep` and `alignreg demo`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alignreg_jax import main, sweep
from alignreg_jax.errors import UserError
from alignreg_jax.support import flags

_USAGE = """\
usage: alignreg run --config FILE[:args] [...]     fine-tune, prune, evaluate, export
       alignreg sweep --config FILE[:args] [...]   every method on every task, and the table
       alignreg demo [smoke] [...]                 a run on the bundled data and encoder

The first two are `python -m alignreg_jax.main` and `python -m alignreg_jax.sweep`; `alignreg run
--help` lists their flags. `alignreg demo smoke` takes about a minute. --version says what is
installed."""


def execute(arguments: Sequence[str]) -> int:
    """Run one of the programs; returns its exit code."""
    arguments = arguments or ["--help"]
    command, *rest = arguments
    if command == "run":
        return main.main(rest)
    if command == "sweep":
        return sweep.main(rest)
    if command == "demo":
        arg = f":{rest.pop(0)}" if rest and not rest[0].startswith("-") else ""
        return main.main(["--config", f"{config_folder() / 'demo.py'}{arg}", *rest])
    if flags.config_name(arguments):  # as before there were commands
        return main.main(arguments)
    return flags.execute(arguments, lambda: _USAGE, _unknown)


def config_folder() -> Path:
    """Where the configs are: inside the package in a wheel, beside it in a source tree."""
    package = Path(__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def _unknown(arguments: Sequence[str]) -> int:
    raise UserError(f"alignreg {arguments[0]}: choose one of run, sweep, demo; --help says more")


def run() -> None:
    """Entry point of the `alignreg` command."""
    sys.exit(execute(sys.argv[1:]))
