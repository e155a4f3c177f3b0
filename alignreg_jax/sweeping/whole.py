"""All that is left of a sweep: its runs, one after the other, and the table."""

from collections.abc import Sequence
from pathlib import Path

from alignreg_jax.run.workdir import check_writable
from alignreg_jax.support import runtime
from alignreg_jax.sweeping.config import SweepConfig
from alignreg_jax.sweeping.folder import Folder
from alignreg_jax.sweeping.plan import Run
from alignreg_jax.sweeping.runner import Runner
from alignreg_jax.sweeping.table import write_table


def carry_out(
    sweep: SweepConfig,
    planned: Sequence[Run],
    mine: Sequence[Run],
    folder: Folder,
    command: str,
    title: str,
) -> tuple[list[Run], Path | None]:
    """Do the runs that are not done and write the table.

    Args:
        sweep: checked.
        planned: all of its runs.
        mine: those to do here.
        folder: where they are kept.
        command: for the table and the runs' own files.
        title: of the table.

    Returns:
        The runs that failed, and the table's page; None where no run is complete.

    Raises:
        UserError: bad input, before anything is trained.
    """
    check_writable(folder.path)
    runtime.prepare()
    runner = Runner(planned, mine, folder, command, sweep.together)
    runner.check()
    folder.write(sweep, command)
    runner.run()
    page = write_table(sweep, planned, folder, runner.shared.inputs, title=title, command=command)
    return list(runner.failed), page
