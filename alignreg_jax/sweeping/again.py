"""The table of a sweep again, from the results.csv that is left of it.

`python -m alignreg_jax.sweeping.again --config FILE[:args] --workdir DIR [--config.FIELD=VALUE]`
reads DIR/results.csv and writes the other files beside it, with the tests of today. The runs are
not needed; what was not kept in results.csv (predictions, and so the test over examples) is left
out. So are runs that are no part of the sweep: --config.methods makes a table of some of its rows.
"""

import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import scoring
from alignreg_jax.reporting.sweeps.report import write_tables
from alignreg_jax.reporting.sweeps.runs import (
    PLACE,
    RESULTS_COLUMNS,
    FinishedRun,
    Kind,
    Sweep,
    SweepFacts,
    make_sweep,
    read_table,
)
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.rows import load_data
from alignreg_jax.support import flags
from alignreg_jax.sweeping import config as sweeps
from alignreg_jax.sweeping.config import SweepConfig
from alignreg_jax.sweeping.starts import field_paths
from alignreg_jax.sweeping.table import sweep_facts

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Write the tables and print the path of the page; the exit code is 0 or 2."""
    return flags.execute(arguments, lambda: str(__doc__), _run)


def parse(arguments: Sequence[str], program: str, example: str) -> tuple[Path, SweepConfig]:
    """The folder and the sweep of a command that reads results.csv.

    Args:
        arguments: of the command line.
        program: what follows `python -m`.
        example: a config that its --help names.

    Raises:
        UserError: a mistake, or no --workdir.
    """
    values = flags.parse(arguments, program=program, example=example, fields=field_paths)
    if not values.workdir:
        raise UserError("--workdir is needed: the folder with the results.csv of a sweep")
    return Path(values.workdir), sweeps.resolve(values.config)


def _run(arguments: Sequence[str]) -> int:
    folder, sweep = parse(arguments, "alignreg_jax.sweeping.again", "configs/table1_demo.py")
    title = flags.config_title(arguments)
    command = ["python", "-m", "alignreg_jax.sweep", *flags.without(arguments, "workdir")]
    facts = sweep_facts(sweep, title=title, command=shlex.join(command))
    print(write_tables(folder, read(folder / "results.csv", facts, _chances(sweep))))
    return 0


def read(path: Path, facts: SweepFacts, chances: Mapping[str, float]) -> Sweep:
    """The sweep of a results.csv; runs that are no part of it are left out, which is said.

    Raises:
        UserError: the file is missing or has other columns, or no run of the sweep.
    """
    every = read_table(path, RESULTS_COLUMNS)
    asked = {"method": facts.rows, "task": facts.tasks, "seed": [*map(str, facts.seeds)]}
    ours = every[[*asked]].isin(asked).all(axis=1)
    records, others = every.loc[ours], every.loc[~ours]
    if records.empty:
        raise UserError(f"{path}: has no scores of this sweep; another --config?")
    for column, known in asked.items():
        if strangers := sorted({*others[column]} - {*known}):
            log.info("%s: left out, no %s of this sweep: %s", path, column, ", ".join(strangers))
    kinds, sources = {}, {}
    for row, task, seed in records[[*PLACE]].drop_duplicates().to_numpy():
        place = (row, task, int(seed))
        sources[place] = FinishedRun(*place, path.parent / "runs", {})
        splits = {*records.split[records.task == task]}
        metric, split = get_task(task.partition("@")[0]).metric, "test"
        kinds[task] = Kind(metric, split if split in splits else "dev", chances[task])
    planned = len(facts.rows) * len(facts.tasks) * len(facts.seeds)
    return make_sweep(replace(facts, missing=planned - len(sources)), records, kinds, sources)


def _chances(sweep: SweepConfig) -> dict[str, float]:
    """By task the score of guessing, which figures draw; 0, no line, without its data here."""
    found = {}
    for task in sweep.tasks:
        config = sweeps.run_config(sweep, sweep.methods[0], task, sweep.seeds[0])
        try:
            data = load_data(config, Cache())
        except UserError:
            found[task] = 0.0
            continue
        # Of test rows where there are some, as a run says it
        rows = {name: gold for (_, name), gold in sorted(data.evaluation.items())}
        found[task] = scoring.chance(data.dataset.task, data.dataset.labels, rows)
    return found


def run() -> None:
    """Entry point of the program."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
