"""Prune cross-lingual encoders, keep the languages without labels (AlignReg, arXiv 2204.01385).

`alignreg_jax.run(config, workdir)`, `sweep`, `shrink`, `trim`, `deploy` and `probe` do what the
commands of these names do; what they take and return is in `alignreg_jax.api`.
"""

from importlib import import_module
from typing import Any

from alignreg_jax.support.callable_module import PROGRAMS

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in PROGRAMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
