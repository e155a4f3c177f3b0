"""The fields of a run by their paths, such as train.batch_size: what they mean, their types."""

import dataclasses
import types
import typing
from typing import Any

from alignreg_jax.config.fields import MEANING, ExperimentConfig


def field_paths(section: type = ExperimentConfig, prefix: str = "") -> list[str]:
    """Every field by its path, such as "train.batch_size"."""
    return list(meanings(section, prefix))


def meanings(section: type = ExperimentConfig, prefix: str = "") -> dict[str, str]:
    """Path -> what the field means, as `field_paths` orders them."""
    found: dict[str, str] = {}
    for field in dataclasses.fields(section):
        if dataclasses.is_dataclass(field.type):
            found |= meanings(typing.cast(type, field.type), f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = field.metadata[MEANING]
    return found


def plain_type(annotation: Any) -> type:
    """The type of a field without its None and its items: `tuple[int, ...] | None` is a tuple.

    `object` if it may be of several.
    """
    if isinstance(annotation, types.UnionType):
        kinds = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        annotation = kinds[0] if len(kinds) == 1 else object
    return typing.get_origin(annotation) or annotation
