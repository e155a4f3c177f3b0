"""Every method on every task with every seed, and the table of them.

`python -m alignreg_jax.sweep --config FILE[:args] [--workdir DIR] [--shard I/N] [--list] [--check]
[--config.FIELD=VALUE ...]`
"""

import logging
import re
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags as absl_flags

from alignreg_jax.errors import UserError
from alignreg_jax.support import flags, terminal
from alignreg_jax.support.callable_module import make_callable

log = logging.getLogger(__name__)

_COLUMNS = 100
_USAGE = """\
usage: python -m alignreg_jax.sweep --config FILE[:args] [--workdir DIR] [--shard I/N] [--list]
                                    [--check] [--version] [--config.FIELD=VALUE ...]

Trains what is not done of a table's runs, or continues, and writes the table.
  --workdir DIR   where all runs are kept; runs/<config> without it
  --shard I/N     only the I-th of N parts, for N machines that see one folder
  --list          show the runs and how far they are; start nothing
  --check         read all input as well, say what would be done, write nothing
With --config, --help shows what that file sets. Fields (* differs from the default; a list is
a,b,c; base has the fields of every run):
"""


make_callable(__name__)


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, run what is left to do, print the table; returns the exit code.

    0 all done, 1 some runs failed, 2 the user's error, 130 interrupted, 143 terminated.
    """
    return flags.execute(arguments, lambda: _usage(arguments), _run)


def _usage(arguments: Sequence[str]) -> str:
    from alignreg_jax.config.help_text import help_text
    from alignreg_jax.sweeping.starts import default_config, field_meanings

    asked = flags.without_help(arguments)
    config = _parse(asked).config if flags.config_name(asked) else default_config()
    return f"{_USAGE}\n{help_text(config, default_config(), field_meanings(), 'base.')}"


def _run(arguments: Sequence[str]) -> int:
    values = _parse(arguments)
    from alignreg_jax.run.workdir import check_writable
    from alignreg_jax.support import runtime
    from alignreg_jax.sweeping import config as sweeps
    from alignreg_jax.sweeping import whole
    from alignreg_jax.sweeping.folder import Folder
    from alignreg_jax.sweeping.plan import check_given, parse_shard, plan, shard

    part = parse_shard(values.shard)
    sweep = sweeps.resolve(values.config)
    planned = plan(sweep)
    check_given(planned, flags.given(values), sweep)
    mine = shard(planned, *part)
    if not mine:
        raise UserError(
            f"--shard={values.shard}: the sweep has {len(planned)} runs, and none is left"
        )
    if note := _one_seed(sweep.seeds):
        log.info("%s", note)
    title = flags.config_title(arguments)
    folder = Folder(Path(values.workdir or f"runs/{title}"))
    folder.check(sweep)
    if values.list:
        terminal.show(_listing(planned, mine, folder))
        said = _outlook(sweep, planned, folder).rstrip("\n").split("\n")
        terminal.show("\n".join(textwrap.fill(line, _COLUMNS) for line in said))
        return 0
    if values.check:
        check_writable(folder.path)
        runtime.prepare()
        from alignreg_jax.sweeping.checking import check_sweep

        terminal.show(check_sweep(mine, folder))
        return 0
    command = shlex.join(["python", "-m", "alignreg_jax.sweep", *flags.without(arguments, "shard")])
    failed, page = whole.carry_out(sweep, planned, mine, folder, command, title)
    if failed:
        names = ", ".join(run.name for run in failed)
        print(f"failed: {names}; why is in {folder.path / 'failed'}", file=sys.stderr)
    if page is not None:
        terminal.show((folder.path / "table.md").read_text(encoding="utf-8"))
        terminal.show(f"Table: {page}")
    return 1 if failed else 0


def _one_seed(seeds: Sequence[int]) -> str:
    """What to say to who may have meant a number of seeds, as of a run; else nothing."""
    if len(seeds) > 1 or not seeds[0]:
        return ""
    return f"seeds={seeds[0]}: one seed, of that number; several are given as 0,1,2"


def _listing(planned: Sequence[Any], mine: Sequence[Any], folder: Any) -> str:
    """Every run: state, dense phase, which those of one number share, and folder.

    Where a folder is not simply the run's name, the end of its path follows.
    """
    phases = {dense: str(place) for place, dense in enumerate({run.dense: 0 for run in planned}, 1)}
    lines = [f"in {folder.path}", "state     dense  run"]
    for run in mine:
        head = f"{folder.state(run):<10}{phases[run.dense]:>5}  "
        words = run.words.replace(" ", "/")
        lines.append(head)
        for part in re.split("(?=@)", words):
            if len(lines[-1]) + len(part) > _COLUMNS:
                lines.append(" " * (len(head) + 2))
            lines[-1] += part
        if run.name != words:
            room = _COLUMNS - len(head) - 3
            lines.append(" " * (len(head) + 2) + "…" + run.name[-room:])
    return "\n".join(lines) + "\n"


def _outlook(sweep: Any, planned: Sequence[Any], folder: Any) -> str:
    """What the sweep will be able to detect, from the runs that are done if there are any."""
    from alignreg_jax.reporting.sweeps.runs import FinishedRun
    from alignreg_jax.sweeping.outlook import outlook
    from alignreg_jax.sweeping.table import sweep_facts

    done = [
        FinishedRun(run.row, run.task, run.seed, folder.workdir(run), {})
        for run in planned
        if folder.done(run)
    ]
    return outlook(sweep_facts(sweep), done)


def _parse(arguments: Sequence[str]) -> Any:
    """The flags' values; UserError for any mistake."""

    def fields() -> list[str]:
        from alignreg_jax.sweeping.starts import field_paths

        return field_paths()

    def define(values: Any) -> None:
        absl_flags.DEFINE_string("shard", "1/1", "which part to do", flag_values=values)
        absl_flags.DEFINE_bool("list", False, "show the runs, start nothing", flag_values=values)
        absl_flags.DEFINE_bool("check", False, "start nothing", flag_values=values)

    return flags.parse(
        arguments,
        program="alignreg_jax.sweep",
        example="configs/table1_demo.py",
        fields=fields,
        define=define,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
