"""--check: read and check everything that the runs of a sweep need, and say what it would do."""

from collections.abc import Sequence
from dataclasses import replace

from alignreg_jax.config import PruningConfig
from alignreg_jax.run import assembly
from alignreg_jax.run import workdir as workdirs
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.inputs import check_inputs, load_inputs
from alignreg_jax.run.outline import devices
from alignreg_jax.run.plan import method_of
from alignreg_jax.sweeping.folder import Folder
from alignreg_jax.sweeping.plan import Run


def check_sweep(mine: Sequence[Run], folder: Folder) -> str:
    """Check the runs of a sweep that are not done; returns a line that says what would be done.

    Raises:
        UserError: what the sweep itself would stop with before it trains.
    """
    waiting = [run for run in mine if not folder.done(run)]
    cache, steps, dense, known = Cache(), 0, set(), {}
    for run in waiting:
        phases = check_inputs(run.config, cache)
        phases.check_learning(method_of(run.config).cut_at)
        own = replace(run.config, method="", seed=0, pruning=PruningConfig())
        if own not in known:  # neither seed nor schedule changes what is read
            inputs = load_inputs(run.config, cache)
            assembly.build_model(run.config, inputs)  # refuses an attention that devices lack
            known[own] = inputs.digests
        workdirs.check_inputs(folder.workdir(run), known[own])
        steps += phases.total_steps - (phases.steps(0) if run.dense in dense else 0)
        dense.add(run.dense)
    return (
        f"{len(mine) - len(waiting)} of {len(mine)} runs are done; the others have at most "
        f"{steps:,} training steps, on {devices()}, in {folder.path}"
    )
