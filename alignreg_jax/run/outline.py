"""What a run is about to do, in a few lines: at its start, and for --check."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from alignreg_jax.config import ExperimentConfig, differences, to_dict
from alignreg_jax.pruning.methods import LEARNED
from alignreg_jax.reporting.tables import count
from alignreg_jax.run import memory
from alignreg_jax.run.inputs import Inputs
from alignreg_jax.run.member import finished
from alignreg_jax.run.plan import Phases

_LABELS = 4  # shown of each end, where there are more than twice as many
_LOOKED_AT = 100  # runs beside this one, the newest first
_MANY_STEPS = 20_000  # movement pruning's authors had 55,000 and more
_ENOUGH_STEPS = 4_000  # with the penalty; docs/results/distillation_demo


def outline(
    config: ExperimentConfig, inputs: Inputs, phases: Phases, states: Mapping[Path, str]
) -> str:
    """Method, folders, encoder, data, schedule, devices, and how long it took before.

    Args:
        config: resolved; of which seed does not matter.
        inputs: of the run.
        phases: its time table.
        states: folder of every seed -> new or begun, and the like.
    """
    languages = sorted({language for _, language in inputs.evaluation})
    rows = sum(split.rows for split in inputs.evaluation.values())
    encoder, vocabulary = inputs.encoder.config, inputs.vocabulary
    used = f", {len(vocabulary.rows):,} of them in use" if vocabulary else ""
    lines = [
        f"method    {config.method} on {config.task.name}",
        *(
            f"seed {seed:<4} {folder} ({state})"
            for seed, (folder, state) in enumerate(states.items(), config.seed)
        ),
        f"encoder   {config.model.name_or_path}: {encoder.num_layers} layers of "
        f"{encoder.hidden_size}, {encoder.vocab_size:,} pieces{used}",
        f"data      {inputs.labelled:,} training rows of at most {inputs.max_length} pieces; "
        f"{rows:,} to evaluate in {count(len(languages), 'language')}: {', '.join(languages)}",
        f"labels    {_labels(inputs)}",
        f"schedule  {_words(phases, config.pruning.sizes or ())}",
        f"devices   {devices()}, {config.model.dtype}",
        f"memory    {memory.told(replace(config, seeds=len(states)), inputs)}",
        *_advice(config, phases.total_steps),
    ]
    if before := _last_time(config, list(states)):
        lines.append(f"before    {before}")
    return "\n".join(lines)


def _advice(config: ExperimentConfig, steps: int) -> list[str]:
    """What is known to go wrong with fields that are no mistake."""
    alone = config.pruning.criterion == "movement" and config.regularizer.name == "none"
    if alone and steps < _MANY_STEPS:
        return [
            "advice    movement without a penalty on scores ended at chance in so few steps; as"
            " movement-penalty, give --config.regularizer.name=scores --config.pruning.warmup=0"
        ]
    if config.pruning.criterion in LEARNED and steps < _ENOUGH_STEPS:
        return [
            "advice    learned masks were far behind magnitude in 640 steps; in 4,000"
            " movement-penalty was where it is (docs/methods.md)"
        ]
    return []


def _labels(inputs: Inputs) -> str:
    """How often each label is there in training, the most frequent first: a typo is the last."""
    names, numbers = inputs.dataset.labels, inputs.train.labels
    counts = np.bincount(numbers[numbers >= 0], minlength=len(names))
    order = [int(label) for label in np.argsort(-counts, kind="stable")]
    shown = [f"{names[label]} {counts[label]:,}" for label in order]
    if len(shown) > 2 * _LABELS:
        shown = [*shown[:_LABELS], "...", *shown[-_LABELS:]]
    return f"{len(names)}: {', '.join(shown)}"


def _words(phases: Phases, sizes: Sequence[float]) -> str:
    if not phases.last:
        return f"{phases.total_steps:,} steps, nothing is pruned"
    if sizes:
        return (
            f"{phases.total_steps:,} steps: {phases.steps(0):,} dense, then {phases.steps(1):,} in"
            f" which every row has a size of its own; evaluated at {', '.join(map(str, sizes))}"
        )
    left = ", ".join(f"{phases.remaining(phase):.1%}" for phase in range(1, phases.last + 1))
    if phases.restarts:
        cuts = count(phases.last, "cut")
        later = f", {phases.steps(2):,} for each later one" if phases.last > 1 else ""
        return (
            f"{phases.total_steps:,} steps: {phases.steps(0):,} dense, then, from the pretrained"
            f" weights again, {phases.steps(1):,} for the first of {cuts}{later},"
            f" to {left}"
        )
    return (
        f"{phases.total_steps:,} steps: {phases.steps(0):,} dense, then {phases.steps(1):,} after "
        f"{'the cut' if phases.last == 1 else f'each of {phases.last} cuts'}, to {left}"
    )


def devices() -> str:
    """How many devices of what kind there are."""
    found = jax.devices()
    return f"{len(found)} x {found[0].device_kind} ({found[0].platform})"


def _last_time(config: ExperimentConfig, folders: list[Path]) -> str | None:
    """How long the newest complete run beside these took that differs in nothing but the seed."""
    wanted = to_dict(config)
    beside = {path for folder in folders for path in folder.parent.glob("*/results.json")}
    stamped = sorted(((_time(path), path.parent) for path in beside), reverse=True)
    for _, folder in stamped[:_LOOKED_AT]:
        done = finished(folder)
        if done is None or "wall_seconds" not in done:
            continue
        try:
            made = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            apart = differences(made["config"], wanted)
        except (OSError, ValueError, KeyError, AttributeError):
            continue  # not as a run leaves it
        if all(line.startswith("seed (") for line in apart):
            kinds = made.get("devices") or ["unknown"]
            return f"{done['wall_seconds']:.0f} s on {len(kinds)} x {kinds[0]} ({folder})"
    return None


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # gone meanwhile
        return 0.0
