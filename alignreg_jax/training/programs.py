"""Compiled functions are made once in a process for what they depend on."""

from collections.abc import Callable
from functools import cache
from typing import Any

_factories: list[Any] = []


def made_once(factory: Callable[..., Any]) -> Any:
    """Cache what a factory of jitted functions returns by all of its arguments.

    A factory closes over nothing else, so methods that differ only in how they score weights train
    with one program, and so do seeds and values of λ.
    """
    cached = cache(factory)
    _factories.append(cached)
    return cached


def forget() -> None:
    """Let all of them be made, and compiled, again."""
    for factory in _factories:
        factory.cache_clear()
