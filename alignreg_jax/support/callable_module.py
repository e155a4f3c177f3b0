"""Modules that are programs and can also be called as functions, as `alignreg_jax.trim(...)`.

`python -m alignreg_jax.trim` needs a module of that name, and the package can have one attribute
`trim` only: so the module itself is what is called.
"""

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

PROGRAMS = ("run", "sweep", "shrink", "trim", "deploy", "probe")


class _Program(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _function(self)(*arguments, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        """Who asks for it waits for JAX, and who imports the module does not."""
        return inspect.signature(_function(self))

    @property
    def __doc__(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        function = _function(self)
        called = f"alignreg_jax.{function.__name__}{inspect.signature(function)}"
        return f"{self.__dict__['__doc__']}\n\n{called}:\n\n{inspect.getdoc(function)}"


def _function(module: ModuleType) -> Callable[..., Any]:
    package, _, name = module.__name__.partition(".")
    return getattr(import_module(f"{package}.api"), name)


def make_callable(name: str) -> None:
    """Let calls of a module go to the function of its name in `alignreg_jax.api`."""
    if name != "__main__":  # which is started, and not called
        sys.modules[name].__class__ = _Program
