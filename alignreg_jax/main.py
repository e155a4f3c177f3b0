"""`python -m alignreg_jax.main --config FILE[:args] [--workdir DIR] [--config.FIELD=VALUE ...]`."""

import time

_STARTED = time.monotonic()  # before the imports: wall_seconds counts them

import difflib  # noqa: E402
import logging  # noqa: E402
import re  # noqa: E402
import shlex  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from itertools import pairwise  # noqa: E402
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
        print("error:", " ".join(str(error).split("\n")), file=sys.stderr)
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
    path = Path(_config_name(arguments).partition(":")[0])
    if not path.name:
        raise UserError("--config is needed, for example --config configs/xnli.py")
    if not path.is_file():
        raise UserError(f"--config: no such file: {path}")
    _check_fields(arguments)
    program = ["alignreg_jax.main", *arguments]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=program)
    flags.DEFINE_string("workdir", None, "where the run is kept", flag_values=values)
    try:
        rest = values(program)[1:]
        config, workdir = values.config, values.workdir
        getattr(config, "method", None)  # where the library keeps a missing file for later
    except UserError:
        raise
    except flags.Error as error:
        raise UserError(str(error)) from error
    except Exception as error:  # a config file is the user's program, and may raise anything
        cause = error.__cause__ or error
        raise UserError(f"{_place(cause, path)}: {type(cause).__name__}: {cause}") from error
    if rest:
        raise UserError(f"unexpected argument {rest[0]!r}; flags look like --name=value")
    return config, workdir


def _check_fields(arguments: Sequence[str]) -> None:
    """Name a field that does not exist; of those the flags library only says KeyError."""
    from alignreg_jax.config import field_paths

    known = field_paths()
    for argument in arguments:
        flag = argument.partition("=")[0]
        match = re.fullmatch(r"--?(?:no)?config\.(.*)", flag)
        if match and match[1] not in known:
            near = difflib.get_close_matches(match[1], known, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else "; --help lists the fields"
            raise UserError(f"{flag}: there is no such field{hint}")


def _place(error: BaseException, path: Path) -> str:
    """File and line of the config file where the error came up."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == path.resolve()
    ]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno)
    return f"{path}:{lines[-1]}" if lines else f"--config={path}"


def _config_name(arguments: Sequence[str]) -> str:
    """What --config was given, or nothing."""
    for argument, following in pairwise([*arguments, ""]):
        match = re.fullmatch(r"--?config(?:=(.*))?", argument)
        if match:
            return following if match[1] is None else match[1]
    return ""


def run() -> None:
    """Entry point of the `alignreg` command."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
