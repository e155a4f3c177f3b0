"""What the runs of one process read alike, so that it is read once."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Cache:
    """What the runs of one process read alike, so that it is read once.

    Of each kind of thing the latest is kept and no other: a sweep goes through its tasks one after
    the other, and an encoder takes a gigabyte.
    """

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self._kept: dict[str, tuple[Hashable, Any]] = {}

    def __call__(self, kind: str, key: Hashable, read: Callable[[], T]) -> T:
        """Return the thing of that kind if it was read for an equal key; else read it."""
        if kind not in self._kept or self._kept[kind][0] != key:
            self._kept.pop(kind, None)  # first, so that there are never two of them
            self._kept[kind] = key, read()
        return self._kept[kind][1]
