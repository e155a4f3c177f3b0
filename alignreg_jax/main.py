"""`python -m alignreg_jax.main --config FILE[:args] [--workdir DIR] [--config.FIELD=VALUE ...]`."""

import time

_STARTED = time.monotonic()  # before the imports: wall_seconds counts them

import logging  # noqa: E402
import re  # noqa: E402
import shlex  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from absl import flags as absl_flags  # noqa: E402

from alignreg_jax.errors import UserError  # noqa: E402
from alignreg_jax.support import flags, terminal  # noqa: E402

log = logging.getLogger(__name__)

_USAGE = """\
usage: python -m alignreg_jax.main --config FILE[:args] [--workdir DIR] [--check] [--version]
                                   [--distributed auto|on|off] [--config.FIELD=VALUE ...]

Fine-tunes, prunes, evaluates and exports, or continues a run that was stopped. Several seeds
(--config.seeds=5) are trained side by side; with --workdir DIR each has its DIR/s<seed>. On several
machines start it on every one, with the same workdir in a folder that all see; it finds the others
where Slurm, Open MPI or a TPU VM says who they are, or by JAX_COORDINATOR_ADDRESS=host:port,
JAX_NUM_PROCESSES and JAX_PROCESS_ID (--distributed on: or fails; off: runs alone).
--check reads the configuration and all input, says what would be done, and writes nothing.
With --config, --help shows what that file sets. Fields (* differs from the default; a list is
a,b,c):
"""


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, run, print the table; returns the exit code.

    0 done or already complete, 2 the user's error, 3 a loss or logits that are not finite, 130
    interrupted, 143 terminated, with what was trained saved.
    """
    return flags.execute(arguments, lambda: _usage(arguments), _run)


def _usage(arguments: Sequence[str]) -> str:
    from alignreg_jax.config import default_config
    from alignreg_jax.config.help_text import help_text
    from alignreg_jax.config.paths import meanings

    asked = flags.without_help(arguments)
    config = _parse(asked)[0] if flags.config_name(asked) else default_config()
    return f"{_USAGE}\n{help_text(config, default_config(), meanings())}"


def _run(arguments: Sequence[str]) -> int:
    config, values = _parse(arguments)
    from alignreg_jax.config import effects, resolve
    from alignreg_jax.run import launch
    from alignreg_jax.support import processes, runtime

    resolved = resolve(config)
    wishes = effects.values_at(config, flags.given(values))
    effects.check_given(wishes, resolved)
    runtime.prepare(values.distributed)
    for note in effects.notes(config, resolved):
        log.info("%s", note)
    if values.workdir:
        folders = launch.folders_of(resolved, Path(values.workdir))
    else:
        stem = f"runs/{flags.config_title(arguments)}-{resolved.method}-s"
        seeds = range(resolved.seed, resolved.seed + resolved.seeds)
        folders = {seed: Path(f"{stem}{seed}") for seed in seeds}
    of_a_seed = replace(resolved, seeds=1)
    if values.check:
        from alignreg_jax.run.checking import check_runs

        terminal.show(check_runs(of_a_seed, folders))
        return 0
    command = shlex.join(["python", "-m", "alignreg_jax.main", *arguments])
    found = launch.run(of_a_seed, folders, command, _STARTED)
    if processes.is_first():
        _show(found, list(folders.values()))
    return 0


def _show(found: Sequence[dict[str, Any]], folders: Sequence[Path]) -> None:
    """The tables of every seed, and of several the table over them."""
    from alignreg_jax.reporting.run_tables import languages_table, seeds_table, steps_table
    from alignreg_jax.reporting.tables import text_table

    for results, folder in zip(found, folders, strict=True):
        terminal.show(f"{text_table(languages_table(results))}\n")
        terminal.show(text_table(steps_table(results)))
        terminal.show(f"\n{results['wall_seconds']:.0f} s\n{_left_behind(folder)}")
    if len(found) > 1:
        terminal.show(f"\n{text_table(seeds_table(found))}")


def _left_behind(folder: Path) -> str:
    """Where things are, and what to do with the model."""
    lines = [f"report    {folder / 'report.html'}", f"scores    {folder / 'results.csv'}"]
    if (export := folder / "export").is_dir():
        lines += [
            f"model     {export}",
            f"to serve  alignreg deploy {shlex.quote(str(folder))} --out DIR",
        ]
    return "\n".join(lines)


def _parse(arguments: Sequence[str]) -> tuple[Any, absl_flags.FlagValues]:
    """The ConfigDict, and all flags; UserError for any mistake."""
    for argument in arguments:
        if re.match(r"--?config\.seeds=[^,]*,", argument):
            raise UserError(
                f"{argument}: of a run it is how many there are, such as 2; --config.seed is the"
                " number of the first"
            )

    def fields() -> list[str]:
        from alignreg_jax.config import field_paths

        return field_paths()

    def define(values: absl_flags.FlagValues) -> None:
        absl_flags.DEFINE_string("distributed", "auto", "join others", flag_values=values)
        absl_flags.DEFINE_bool("check", False, "start nothing", flag_values=values)

    values = flags.parse(
        arguments,
        program="alignreg_jax.main",
        example="configs/xnli.py",
        fields=fields,
        define=define,
    )
    return values.config, values


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
