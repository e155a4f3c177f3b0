"""--check: read and check everything that a run needs, and say what it would do.

Nothing is trained or written but the cache of tokenised data, which the run itself then finds.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import jax

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.run import workdir as workdirs
from alignreg_jax.run.inputs import load_inputs
from alignreg_jax.run.member import finished
from alignreg_jax.run.plan import Phases, method_of
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
        phases = inputs.time_table(config)
        phases.check_learning(method_of(config).cut_at)
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
            f"data      {inputs.labelled:,} training rows of at most {inputs.max_length} pieces; "
            f"{rows:,} to evaluate in {len(languages)} languages: {', '.join(languages)}",
            f"schedule  {_words(phases)}",
            f"devices   {devices()}",
        ]
    )


def _state(folder: Path, config: ExperimentConfig) -> str:
    begun = workdirs.check_same(folder, config)
    if begun and finished(folder):
        return "complete, nothing to do"
    if processes.is_first():
        workdirs.check_free(folder)
    return "begun, would continue" if begun else "new"


def _words(phases: Phases) -> str:
    if not phases.last:
        return f"{phases.total_steps:,} steps, nothing is pruned"
    left = ", ".join(f"{phases.remaining(phase):.1%}" for phase in range(1, phases.last + 1))
    return (
        f"{phases.total_steps:,} steps: {phases.steps(0):,} dense, then {phases.steps(1):,} after "
        f"each of {phases.last} cuts, to {left}"
    )


def devices() -> str:
    """How many devices of what kind there are."""
    found = jax.devices()
    return f"{len(found)} x {found[0].device_kind} ({found[0].platform})"
