"""Modules that are programs and can also be called as functions, as `alignreg_jax.trim(...)`.

`python -m alignreg_jax.trim` needs a module of that name, and the package can have one attribute
`trim` only: so the module itself is what is called.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

PROGRAMS = ("run", "sweep", "shrink", "trim", "deploy", "probe")


class _Program(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        package, _, name = self.__name__.partition(".")
        return getattr(import_module(f"{package}.api"), name)(*arguments, **options)


def make_callable(name: str) -> None:
    """Let calls of a module go to the function of its name in `alignreg_jax.api`."""
    sys.modules[name].__class__ = _Program
