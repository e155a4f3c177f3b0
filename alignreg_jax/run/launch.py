"""Run or continue an experiment: which folders are complete, and experiments for the others."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.run import memory
from alignreg_jax.run import workdir as workdirs
from alignreg_jax.run.experiment import Experiment
from alignreg_jax.run.inputs import identify, load_inputs
from alignreg_jax.run.member import CHECKPOINTS, finished
from alignreg_jax.run.outline import outline
from alignreg_jax.run.shared import Shared
from alignreg_jax.support import processes
from alignreg_jax.training.checkpointing import Checkpoints
from alignreg_jax.training.companions import companions

log = logging.getLogger(__name__)


def folders_of(config: ExperimentConfig, workdir: Path) -> dict[int, Path]:
    """Seed -> where its run is kept: in `workdir`, or of several seeds in folders of it."""
    seeds = range(config.seed, config.seed + config.seeds)
    if config.seeds == 1:
        return {config.seed: workdir}
    return {seed: workdir / f"s{seed}" for seed in seeds}


def run(
    config: ExperimentConfig,
    folders: Mapping[int, Path],
    command: str,
    started: float,
    shared: Shared | None = None,
) -> list[dict[str, Any]]:
    """Run or continue an experiment, for one seed or for several side by side.

    Args:
        config: resolved; of which seed does not matter.
        folders: seed -> where what its run leaves behind goes; untouched until all input has been
            checked. Those that hold a complete run are left alone.
        command: for config.json, the report and the card.
        started: time.monotonic() at process start, for wall_seconds.
        shared: what earlier runs of this process have left for it.

    Returns:
        What results.json holds, for every seed; of a run that several processes make that is for
        the first one to say, and empty in the others.

    Raises:
        UserError: bad input, or others than a folder was begun with, before a folder is touched;
            or another process had a mistake.
        NonFiniteLoss: training diverged.
    """
    alone, shared = shared is None, shared or Shared()
    found: dict[int, dict[str, Any]] = {}
    with processes.together():
        for seed, folder in folders.items():
            same = workdirs.check_same(folder, replace(config, seed=seed))
            if same and (done := finished(folder)):
                found[seed] = done
            elif processes.is_first():  # whose the folder is; others would find it in their way
                workdirs.check_free(folder)
    # Where only some see the folder, all have to go the same way until that is told
    complete = processes.decide(lambda: [seed in found for seed in folders], size=len(folders))
    found = {
        seed: found.get(seed, {}) for seed, done in zip(folders, complete, strict=True) if done
    }
    left = {seed: folder for seed, folder in folders.items() if seed not in found}
    with processes.together():
        inputs = load_inputs(replace(config, seed=min(left)), shared.inputs) if left else None
        known = inputs.digests if inputs else identify(config, shared.inputs)
        for folder in folders.values():
            workdirs.check_inputs(folder, known)
    processes.check_alike(known)
    for seed in found:
        log.info("%s is already complete", folders[seed])
        if not workdirs.knows_inputs(folders[seed]):
            log.info("an earlier version made it, without digests: its inputs cannot be checked")
    if inputs:
        if alone:  # a sweep says by itself what it does
            states = {
                folder: "continues" if (folder / "config.json").exists() else "new"
                for folder in left.values()
            }
            of_first, phases = replace(config, seed=min(left)), inputs.time_table(config)
            log.info("%s", outline(of_first, inputs, phases, states))
        groups = companions({
            seed: Checkpoints(folder / CHECKPOINTS, config.checkpoint.keep)
            for seed, folder in left.items()
        })  # fmt: skip
        if len(groups) > 1:
            told = ", then ".join(" and ".join(map(str, group)) for group in groups)
            log.info("these seeds have no checkpoint in common, so seed %s", told)
        for number, group in enumerate(groups):
            own = {seed: left[seed] for seed in group}
            begun = time.monotonic() if number else started
            with memory.explained(replace(config, seeds=len(own)), inputs):
                experiment = Experiment(config, inputs, own, command, begun, shared)
                found |= dict(zip(group, experiment.run(), strict=True))
            del experiment  # and what it has on the device
    return [found[seed] for seed in folders]
