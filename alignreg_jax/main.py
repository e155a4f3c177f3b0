"""`python -m alignreg_jax.main --config FILE[:args] [--workdir DIR] [--config.FIELD=VALUE ...]`."""

import time

_STARTED = time.monotonic()  # before the imports: wall_seconds counts them

import shlex  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

from alignreg_jax import flags  # noqa: E402

_USAGE = """\
usage: python -m alignreg_jax.main --config FILE[:args] [--workdir DIR] [--config.FIELD=VALUE ...]

Fine-tunes, prunes, evaluates and exports, or continues a run that was stopped.
Fields (defaults; a config file changes some):"""


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, run, print the table; returns the exit code.

    0 done or already complete, 2 the user's error, 3 a loss that is not finite, 130 interrupted.
    """
    return flags.execute(arguments, _usage, _run)


def _usage() -> str:
    from alignreg_jax.config import default_config

    return f"{_USAGE}\n{default_config()}"


def _run(arguments: Sequence[str]) -> int:
    config, workdir = _parse(arguments)
    from alignreg_jax import experiment, runtime
    from alignreg_jax.config import resolve
    from alignreg_jax.reporting.tables import languages_table, steps_table, text_table

    runtime.prepare()
    resolved = resolve(config)
    name = flags.config_title(arguments)
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

    def fields() -> list[str]:
        from alignreg_jax.config import field_paths

        return field_paths()

    values = flags.parse(
        arguments, program="alignreg_jax.main", example="configs/xnli.py", fields=fields
    )
    return values.config, values.workdir


def run() -> None:
    """Entry point of the `alignreg` command."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
