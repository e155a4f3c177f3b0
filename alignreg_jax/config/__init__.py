"""Configuration: a ConfigDict at the edge, frozen dataclasses inside.

A config file builds on `default_config()`; `resolve` lets the method's preset fill the fields that
are still placeholders (an explicit value wins), checks every field by name and returns values only.
That knows the tables of methods and so imports JAX: it is read when it is first asked for, and
`--help` does not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from alignreg_jax.config.fields import (
    CheckpointConfig,
    EvalConfig,
    ExperimentConfig,
    MeshConfig,
    ModelConfig,
    PruningConfig,
    RegularizerConfig,
    TaskConfig,
    TrackingConfig,
    TrainConfig,
)
from alignreg_jax.config.paths import field_paths
from alignreg_jax.config.starts import (
    DEMO_LANGUAGES,
    XGLUE_STRIPPED,
    default_config,
    demo_config,
    own_config,
    paper_config,
)

if TYPE_CHECKING:
    from alignreg_jax.config.resolving import (
        differences,
        merged,
        plain,
        resolve,
        to_dict,
        with_later_fields,
    )

_RESOLVING = frozenset(
    ("differences", "merged", "plain", "resolve", "to_dict", "with_later_fields")
)


def __getattr__(name: str) -> Any:
    if name not in _RESOLVING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.resolving"), name)


__all__ = [
    "DEMO_LANGUAGES",
    "XGLUE_STRIPPED",
    "CheckpointConfig",
    "EvalConfig",
    "ExperimentConfig",
    "MeshConfig",
    "ModelConfig",
    "PruningConfig",
    "RegularizerConfig",
    "TaskConfig",
    "TrackingConfig",
    "TrainConfig",
    "default_config",
    "demo_config",
    "differences",
    "field_paths",
    "merged",
    "own_config",
    "paper_config",
    "plain",
    "resolve",
    "to_dict",
    "with_later_fields",
]
