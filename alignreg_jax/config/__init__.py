"""Configuration: a ConfigDict at the edge, frozen dataclasses inside.

A config file builds on `default_config()`; `resolve` lets the method's preset fill the fields that
are still placeholders (an explicit value wins), checks every field by name and returns values only.
"""

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
    field_paths,
)
from alignreg_jax.config.resolving import (
    differences,
    merged,
    plain,
    resolve,
    to_dict,
    with_later_fields,
)
from alignreg_jax.config.starts import (
    DEMO_LANGUAGES,
    XGLUE_STRIPPED,
    default_config,
    demo_config,
    paper_config,
)

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
    "paper_config",
    "plain",
    "resolve",
    "to_dict",
    "with_later_fields",
]
