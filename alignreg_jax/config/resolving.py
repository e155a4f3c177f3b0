"""From a config file to checked, frozen values; and values compared and written down."""

import dataclasses
import types
import typing
from typing import Any

from ml_collections import ConfigDict

from alignreg_jax.config.checks import convert, validate
from alignreg_jax.config.fields import ExperimentConfig
from alignreg_jax.config.starts import default_config
from alignreg_jax.errors import UserError
from alignreg_jax.pruning.methods import PRESETS, REGULARIZERS


def resolve(config: Any) -> ExperimentConfig:
    """Fill placeholders from the method's preset, check every field, return frozen values.

    Args:
        config: what a config file's `get_config` returned; not changed.

    Raises:
        UserError: names the first field that is wrong and what it may be.
    """
    default = default_config()
    sections = {name for name, value in default.items() if isinstance(value, ConfigDict)}
    if isinstance(config, ConfigDict) and {"base", "methods"} <= set(config):
        raise UserError(
            "--config: this is the config of a sweep; python -m alignreg_jax.sweep takes it"
        )
    if not isinstance(config, ConfigDict) or not sections | {"method"} <= set(config):
        raise UserError("--config: get_config() should change and return config.default_config()")
    if config.method not in PRESETS:
        raise UserError(f"method={config.method!r} is unknown; choose from {', '.join(PRESETS)}")
    values = config.to_dict()
    _read_none(ExperimentConfig, values)
    _fill(values)
    resolved = _from_dict(ExperimentConfig, values, "")
    validate(resolved)
    return resolved


def _read_none(section: type, values: dict[str, Any]) -> None:
    """What is typed as None, or as nothing where a text is wanted, is left to the method."""
    kinds = typing.get_type_hints(section)
    for name, value in values.items():
        kind = kinds.get(name)
        if isinstance(value, dict):
            if dataclasses.is_dataclass(kind):  # `_from_dict` says what is no section
                _read_none(typing.cast(type, kind), value)
        elif isinstance(kind, types.UnionType) and type(None) in typing.get_args(kind):
            if value in ("None", ("None",)) or (value == "" and str in typing.get_args(kind)):
                values[name] = None


def _fill(values: dict[str, Any]) -> None:
    """Let the method fill the fields that are still placeholders."""
    fallbacks = {
        "pruning.criterion": "magnitude",
        "pruning.scope": "layer",
        "pruning.steps": 12,
        "pruning.first_epochs": values["pruning"]["epochs_per_step"],
        "pruning.start": "dense",
        "pruning.freeze": (),
        "pruning.warmup": 0.0,
        "pruning.sizes": (),
        "regularizer.name": "none",
        "regularizer.reference": "pretrained",
        "regularizer.phases": "all",
        "train.score_learning_rate": 0.01,
    }
    for source in (PRESETS[values["method"]], fallbacks):
        for path, value in source.items():
            section, name = path.split(".")
            if values[section][name] is None:
                values[section][name] = value
    distill = values["distill"]
    if distill["teacher"] is None:
        distill["teacher"] = "none" if distill["text"] is None else "dense"
    if values["method"] == "none":  # whatever schedule the config file has for the others
        values["pruning"] |= {"steps": 0, "explicit": ()}
    elif values["pruning"]["sizes"]:  # trained in one phase, in which nothing is cut
        values["pruning"] |= {"steps": 1, "schedule": "explicit", "explicit": (1.0,)}
    regularizer = values["regularizer"]
    if regularizer["weight"] is None:
        regularizer["weight"] = REGULARIZERS.get(regularizer["name"])


def _from_dict(section: type, values: dict[str, Any], prefix: str) -> Any:
    known = {field.name: field for field in dataclasses.fields(section)}
    unknown = values.keys() - known.keys()
    if unknown:
        raise UserError(f"{prefix}{sorted(unknown)[0]} is not a field of the configuration")
    out = {}
    for name, value in values.items():
        annotation = known[name].type
        if dataclasses.is_dataclass(annotation):
            out[name] = _from_dict(typing.cast(type, annotation), value, f"{prefix}{name}.")
        else:
            out[name] = convert(value, annotation, prefix + name)
    return section(**out)


def to_dict(config: ExperimentConfig) -> dict[str, Any]:
    """Plain nested dict with lists for tuples, as config.json holds it."""
    return plain(dataclasses.asdict(config))


def plain(value: Any) -> Any:
    """Nested dicts with lists for tuples, as JSON has them."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def with_later_fields(old: dict[str, Any]) -> dict[str, Any]:
    """What an earlier version wrote with `to_dict`, with the fields that have come since.

    They are at their defaults, or at what the method fills in, or do what was done before them: as
    if that version had had them.
    """
    before = to_dict(ExperimentConfig())
    before["train"]["epoch_parts"] = 1
    values = merged(before, old)
    if values["method"] in PRESETS:
        _fill(values)
    return plain(values)


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over`, and what only `base` has."""
    found = dict(base)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(name), dict)
        found[name] = merged(base[name], value) if both else value
    return found


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Fields that differ, as `section.name (old -> new)`.

    A field that exists no longer counts if it was set to something, since it changed what was done.
    """
    found = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict | None):
            found += differences(before, after or {}, f"{prefix}{name}.")
        elif name not in new:
            if before:
                found.append(f"{prefix}{name} ({before!r} -> a field no longer)")
        elif before != after:
            found.append(f"{prefix}{name} ({before!r} -> {after!r})")
    return found
