"""Compiled functions, shared by the runs of one process that need the same ones."""

from collections.abc import Callable, Hashable
from typing import Any


class Programs:
    """Keeps every function that was made, under what it depends on.

    A sweep gives one of these to all its runs: methods that differ only in how they score weights
    train with one program, and so do seeds and values of λ.
    """

    def __init__(self) -> None:
        """Nothing is made yet."""
        self._made: dict[Hashable, Any] = {}

    def __call__(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what `make` made when it was first called under an equal key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]
