"""`python -m alignreg_jax.main --config FILE[:args] [--workdir DIR] [--config.FIELD=VALUE ...]`."""

import time

_STARTED = time.monotonic()  # before the imports: wall_seconds counts them

import logging  # noqa: E402
import re  # noqa: E402
import shlex  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

from absl import flags  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from alignreg_jax.errors import NonFiniteLoss, UserError  # noqa: E402

_USAGE = """\
usage: python -m alignreg_jax.main --config FILE[:args] [--workdir DIR] [--config.FIELD=VALUE ...]

Fine-tunes, prunes, evaluates and exports, or continues a run that was stopped.
Fields (defaults; a config file changes some):"""


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, run, print the table; returns the exit code.

    0 done or already complete, 2 the user's error, 3 a loss that is not finite, 130 interrupted.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("absl", "jax", "orbax", "httpx", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if {"--help", "-h", "--helpfull"} & set(arguments):
        from alignreg_jax.config import default_config

        print(f"{_USAGE}\n{default_config()}")
        return 0
    try:
        return _run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NonFiniteLoss as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        return 130


def _run(arguments: Sequence[str]) -> int:
    config, workdir = _parse(arguments)
    from alignreg_jax import experiment, runtime
    from alignreg_jax.config import resolve
    from alignreg_jax.reporting.tables import languages_table, steps_table, text_table

    runtime.prepare()
    resolved = resolve(config)
    name = re.sub(r"[^\w.-]+", "-", Path(_config_name(arguments)).name.replace(".py", ""))
    folder = Path(workdir or f"runs/{name}-{resolved.method}-s{resolved.seed}")
    command = shlex.join(["python", "-m", "alignreg_jax.main", *arguments])
    results = experiment.run(resolved, folder, command, _STARTED)
    print(text_table(languages_table(results)))
    print()
    print(text_table(steps_table(results)))
    print(f"\n{results['wall_seconds']:.0f} s. Report: {folder / 'report.html'}")
    return 0


def _parse(arguments: Sequence[str]) -> tuple:
    """The ConfigDict of the flags, and the workdir or None; UserError for any mistake."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    flags.DEFINE_string("workdir", None, "where the run is kept", flag_values=values)
    try:
        rest = values(["alignreg_jax.main", *arguments])[1:]
        if rest:
            raise UserError(f"unexpected argument {rest[0]!r}; flags look like --name=value")
        if values.config is None:
            raise UserError("--config is needed, for example --config configs/xnli.py")
        return values.config, values.workdir
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"--config: no such file: {error.filename}") from error
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, SyntaxError,
            ImportError) as error:  # fmt: skip
        line = " ".join(str(error.args[0] if error.args else error).split())
        raise UserError(f"--config: {line}") from error


def _config_name(arguments: Sequence[str]) -> str:
    for index, argument in enumerate(arguments):
        match = re.fullmatch(r"--?config(?:=(.*))?", argument)
        if match:
            return match[1] if match[1] is not None else arguments[index + 1]
    return "run"


def run() -> None:
    """Entry point of the `alignreg` command."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
