"""What costs nothing to check, before a run looks for an encoder or reads data."""

import os

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.data import sources, tasks
from alignreg_jax.reporting.tracking import Tracker
from alignreg_jax.support import processes


def check(config: ExperimentConfig) -> None:
    """Check that events can be told, and that a folder of one's own has the files that are needed.

    The module of a hook is imported.

    Args:
        config: resolved.

    Raises:
        UserError: names the field, or the file that is missing.
    """
    if processes.is_first():  # who is the only one to tell
        nowhere = os.devnull  # no history is read or written there
        Tracker(nowhere, config.tracking.tensorboard, config.tracking.hook)
    task = config.task
    if task.source == "folder":
        sources.check_files(
            tasks.get_task(task.name), task.data_dir, task.languages or None, config.eval.splits
        )
