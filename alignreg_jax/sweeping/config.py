"""The configuration of a sweep: rows, tasks and seeds, and what all runs have in common.

A row of the table is a preset, a column a task, each with overrides behind it if need be:
`frobenius-mbp@regularizer.weight=0.01@pruning.scope=global`, `xnli@train.learning_rate=2e-5`. The
task's are done first, the row's after them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from alignreg_jax import config as configuration
from alignreg_jax.config import ExperimentConfig, effects
from alignreg_jax.config.checks import BOUNDS, REMAINING, Bounds, convert
from alignreg_jax.data import tasks as data_tasks
from alignreg_jax.errors import UserError
from alignreg_jax.pruning import schedules
from alignreg_jax.pruning.elastic import LEAST_DEPTH
from alignreg_jax.pruning.methods import PRESETS
from alignreg_jax.reporting.sweeps.paper import TOLERANCE
from alignreg_jax.support import flags
from alignreg_jax.sweeping.starts import SET, TABLE, default_config


@dataclass(frozen=True)
class SweepConfig:
    """A sweep, checked; what its fields mean is in `starts.TABLE`.

    `base` has every run's fields as nested dicts, None where a preset is to fill one.
    """

    base: Mapping[str, Any]
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    remaining: tuple[float, ...]
    baseline: str
    comparisons: tuple[str, ...]
    tested_at: float
    together: int


def resolve(config: Any) -> SweepConfig:
    """Check a sweep's own fields; those of its runs are checked by `run_config`.

    Raises:
        UserError: names the field.
    """
    default = default_config()
    if _alike(config, default.base):
        raise UserError(
            "--config: this is the config of a single run; python -m alignreg_jax.main takes it (a "
            "sweep's changes and returns sweeping.starts.default_config())"
        )
    if not _alike(config, default) or not _alike(config.base, default.base):
        raise UserError(
            "--config: get_config() should change and return sweeping.starts.default_config()"
        )
    values: dict[str, Any] = {}
    for name, (kind, _) in TABLE.items():
        if name in ("methods", "tasks", "comparisons"):
            values[name] = _labels(config[name], name)
        else:
            values[name] = convert(config[name], kind, name)
        if name in ("together", "tested_at"):
            continue
        if not values[name] and name != "comparisons":
            raise UserError(f"{name} is empty")
        if kind is not str and len(set(values[name])) < len(values[name]):
            double = next(item for item in values[name] if values[name].count(item) > 1)
            raise UserError(f"{name}: {double!r} is there twice")
    for label in values["methods"]:
        if _parts(label)[0] not in PRESETS:
            raise UserError(
                f"methods: {_parts(label)[0]!r} is unknown; choose from {', '.join(PRESETS)}"
            )
        _override(configuration.default_config(), "methods", label)
    REMAINING.check("remaining", values["remaining"])
    BOUNDS["seed"].check("seeds", values["seeds"])
    Bounds(0, 1000).check("together", values["together"])
    if values["baseline"] not in values["methods"]:
        listed = ", ".join(values["methods"])
        raise UserError(f"baseline={values['baseline']!r} is not among methods: {listed}")
    for name, labels in (
        ("baseline", [values["baseline"]]),
        ("comparisons", values["comparisons"]),
    ):
        if dense := [label for label in labels if _parts(label)[0] == "none"]:
            raise UserError(f"{name}: {dense[0]!r} is not pruned, so nothing is compared with it")
    for label in values["comparisons"]:
        if label not in values["methods"] or label == values["baseline"]:
            listed = ", ".join(m for m in values["methods"] if m != values["baseline"])
            raise UserError(f"comparisons: {label!r} is not one of the rows to compare: {listed}")
    at = values["tested_at"]
    if at and min(abs(at - reading) for reading in values["remaining"]) > TOLERANCE:
        listed = ", ".join(map(str, values["remaining"]))
        raise UserError(f"tested_at={at!r} is not where the table is read: {listed}; 0 chooses")
    return SweepConfig(base=config.base.to_dict(), **values)


def run_config(sweep: SweepConfig, method: str, task: str, seed: int) -> ExperimentConfig:
    """The resolved configuration of one run.

    Raises:
        UserError: names the label, and the field behind it or in `base`.
    """
    preset, task_name = _parts(method)[0], _parts(task)[0]
    try:
        data_tasks.get_task(task_name)
    except UserError as error:
        raise UserError(f"tasks: {error}") from None
    _check_base(sweep, preset)
    config: Any = configuration.default_config()
    _fill(config, sweep.base)
    _override(config, "tasks", task)
    _override(config, "methods", method)
    config.method, config.seed, config.task.name = preset, seed, task_name
    try:
        resolved = configuration.resolve(config)
        schedules.validate(**_schedule(resolved))
        own = effects.values_at(config, overridden(method))
        effects.check_given(own, resolved)
    except UserError as error:
        raise UserError(f"{method} on {task}: {error}") from None
    return resolved


def check_readings(sweep: SweepConfig, method: str, task: str, config: ExperimentConfig) -> None:
    """Check that a row's schedule passes where the table is read; a row never pruned does.

    Raises:
        UserError: names the reading, and what the schedule leaves.
    """
    fields, pruning = _schedule(config), config.pruning
    left = list(pruning.sizes or ())
    if pruning.depth and pruning.scope != "layers":  # about: a size is then its share of both
        left = [size * max(size, LEAST_DEPTH) for size in left]
    left = left or [
        schedules.remaining(step=step, **fields) for step in range(1, fields["steps"] + 1)
    ]
    for reading in sweep.remaining:
        if left and min(abs(fraction - reading) for fraction in left) > TOLERANCE:
            listed = ", ".join(f"{fraction:.4g}" for fraction in left)
            raise UserError(
                f"remaining={reading!r}: no pruning step of {method} on {task} leaves about that "
                f"much, but {listed}"
            )


def overridden(label: str) -> set[str]:
    """The fields that the label of a row or task changes."""
    return {text.partition("=")[0] for text in _parts(label)[1:]}


def to_dict(sweep: SweepConfig) -> dict[str, Any]:
    """Plain values with lists for tuples, as sweep.json holds them."""
    base = {name: value for name, value in sweep.base.items() if name not in SET}
    base["task"] = {name: value for name, value in base["task"].items() if name != "name"}
    return json.loads(json.dumps({"base": base, **{name: getattr(sweep, name) for name in TABLE}}))


def _alike(config: Any, default: Any) -> bool:
    return isinstance(config, ConfigDict) and set(config) == set(default)


def _labels(value: Any, name: str) -> tuple[str, ...]:
    """Labels of rows or tasks; "l2-mbp,random" is two, a comma in parentheses is a value's."""
    items = [value] if isinstance(value, str) else value
    if not all(isinstance(item, str) for item in items):
        raise UserError(f"{name}={value!r} should be labels, which are strings")
    parts = (re.split(r",(?![^(]*\))", item) for item in items)
    labels = tuple(label.strip() for found in parts for label in found if label.strip())
    for label in labels:
        if label.count("(") > label.count(")"):
            raise UserError(f"{name}: {label}: a bracket is opened and not closed")
    return labels


def _parts(label: str) -> list[str]:
    """Name and overrides; a list is in parentheses, which flags do without."""
    return [re.sub(r"=\((.*)\)$", r"=\1", part) for part in label.split("@")]


def _check_base(sweep: SweepConfig, preset: str) -> None:
    """A base must not change what a row is named after; a row may, behind its name."""
    for path, value in PRESETS[preset].items():
        section, name = path.split(".")
        given = sweep.base[section][name]
        named_after = section in ("pruning", "regularizer") and path != "pruning.steps"
        if named_after and given is not None and given != value:
            raise UserError(
                f"base.{path}={given!r}: {preset} stands for {value!r}; if a row is to have "
                f"another, write it behind its name: {preset}@{path}={given}"
            )
    for section, name in (
        ("regularizer", "weight"),
        ("regularizer", "phases"),
        ("train", "score_learning_rate"),
    ):
        if (given := sweep.base[section][name]) is not None:
            raise UserError(
                f"base.{section}.{name}={given!r} would be one number for penalties of different "
                f"scales; write it behind a row's name: {preset}@{section}.{name}={given}"
            )


def _override(config: Any, field: str, label: str) -> None:
    """Do to a run's ConfigDict what stands behind the name of a row or task.

    Raises:
        UserError: names `field`, the label, and what is wrong in it.
    """
    overrides = _parts(label)[1:]
    try:
        for text in overrides:
            if (name := text.partition("=")[0]) in SET:
                raise UserError(f"{name} is what the sweep takes from its {SET[name]}")
        flags.override(config, overrides, configuration.field_paths())
    except UserError as error:
        raise UserError(f"{field}: {label}: {error}") from None


def _fill(config: Any, values: Mapping[str, Any]) -> None:
    """Set every field that has a value; the others stay open for the preset."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            _fill(config[name], value)
        elif value is not None:
            config[name] = value


def _schedule(config: ExperimentConfig) -> dict[str, Any]:
    pruning = config.pruning
    return {
        "schedule": pruning.schedule,
        "steps": pruning.steps or 0,
        "fraction": pruning.fraction,
        "final": pruning.final,
        "explicit": pruning.explicit,
    }
