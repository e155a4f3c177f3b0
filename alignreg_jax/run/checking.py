"""--check: read and check everything that a run needs, and say what it would do.

Nothing is trained or written but the cache of tokenised data, which the run itself then finds.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.run import assembly
from alignreg_jax.run import workdir as workdirs
from alignreg_jax.run.inputs import load_inputs
from alignreg_jax.run.member import finished
from alignreg_jax.run.outline import outline
from alignreg_jax.run.plan import method_of
from alignreg_jax.support import processes


def check_runs(config: ExperimentConfig, folders: Mapping[int, Path]) -> str:
    """Check a run of one seed or of several; returns lines that say what would be done.

    Args:
        config: resolved; of which seed does not matter.
        folders: seed -> where its run is kept, or would be.

    Raises:
        UserError: what the run itself would stop with before it trains.
    """
    with processes.together():
        states = {
            seed: _state(folder, replace(config, seed=seed)) for seed, folder in folders.items()
        }
        inputs = load_inputs(replace(config, seed=min(folders)))
        for folder in folders.values():
            workdirs.check_inputs(folder, inputs.digests)
        assembly.build_model(config, inputs)  # refuses an attention that these devices lack
        phases = inputs.time_table(config)
        phases.check_learning(method_of(config).cut_at)
    said = {folders[seed]: state for seed, state in states.items()}
    return outline(replace(config, seed=min(folders)), inputs, phases, said)


def _state(folder: Path, config: ExperimentConfig) -> str:
    begun = workdirs.check_same(folder, config)
    if begun and finished(folder):
        return "complete, nothing to do"
    if processes.is_first():
        workdirs.check_free(folder)
    return "begun, would continue" if begun else "new"
