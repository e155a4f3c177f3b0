"""--check: read and check everything that a run or a sweep needs, and say what it would do.

Nothing is trained or written but the cache of tokenised data, which the run itself then finds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import jax

from alignreg_jax import processes
from alignreg_jax import workdir as workdirs
from alignreg_jax.config import ExperimentConfig, PruningConfig
from alignreg_jax.inputs import Cache, check_inputs, load_inputs
from alignreg_jax.member import finished
from alignreg_jax.pruning.penalties import GATED
from alignreg_jax.sweeping.folder import Folder
from alignreg_jax.sweeping.plan import Run
from alignreg_jax.training.phases import Phases


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
        phases = _phases(config, inputs.train.rows)
    languages = sorted({language for _, language in inputs.evaluation})
    rows = sum(split.rows for split in inputs.evaluation.values())
    encoder, vocabulary = inputs.encoder.config, inputs.vocabulary
    used = f", {len(vocabulary.rows):,} of them in use" if vocabulary else ""
    return "\n".join(
        [
            f"method    {config.method} on {config.task.name}",
            *(f"seed {seed:<4} {folders[seed]} ({state})" for seed, state in states.items()),
            f"encoder   {config.model.name_or_path}: {encoder.num_layers} layers of "
            f"{encoder.hidden_size}, {encoder.vocab_size:,} pieces{used}",
            f"data      {inputs.train.rows:,} training rows of at most {inputs.max_length} pieces; "
            f"{rows:,} to evaluate in {len(languages)} languages: {', '.join(languages)}",
            f"schedule  {_words(phases)}",
            f"devices   {_devices()}",
        ]
    )


def check_sweep(mine: Sequence[Run], folder: Folder) -> str:
    """Check the runs of a sweep that are not done; returns a line that says what would be done.

    Raises:
        UserError: what the sweep itself would stop with before it trains.
    """
    waiting = [run for run in mine if not folder.done(run)]
    cache, steps, dense, known = Cache(), 0, set(), {}
    for run in waiting:
        rows = check_inputs(run.config, cache)
        own = replace(run.config, method="", seed=0, pruning=PruningConfig())
        if own not in known:  # neither seed nor schedule changes what is read
            known[own] = load_inputs(run.config, cache).digests
        workdirs.check_inputs(folder.workdir(run), known[own])
        phases = _phases(run.config, rows)
        steps += phases.total_steps - (phases.steps(0) if run.dense in dense else 0)
        dense.add(run.dense)
    return (
        f"{len(mine) - len(waiting)} of {len(mine)} runs are done; the others have at most "
        f"{steps:,} training steps, on {_devices()}, in {folder.path}"
    )


def _state(folder: Path, config: ExperimentConfig) -> str:
    begun = workdirs.check_same(folder, config)
    if begun and finished(folder):
        return "complete, nothing to do"
    if processes.is_first():
        workdirs.check_free(folder)
    return "begun, would continue" if begun else "new"


def _phases(config: ExperimentConfig, rows: int) -> Phases:
    phases = Phases.from_config(config.pruning, -(-rows // config.train.batch_size))
    if config.regularizer.name in GATED:
        phases.check_halves()
    return phases


def _words(phases: Phases) -> str:
    if not phases.last:
        return f"{phases.total_steps:,} steps, nothing is pruned"
    left = ", ".join(f"{phases.remaining(phase):.1%}" for phase in range(1, phases.last + 1))
    return (
        f"{phases.total_steps:,} steps: {phases.steps(0):,} dense, then {phases.steps(1):,} after "
        f"each of {phases.last} cuts, to {left}"
    )


def _devices() -> str:
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"
