"""Several seeds in one program: every function of one seed's state, mapped over a leading axis."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from alignreg_jax.pruning.method import Weights


@dataclass(frozen=True)
class Lift:
    """Vectorises single-seed functions over a leading seed axis.

    Attributes:
        seeds: how many; arrays that are a seed's own then have a leading axis of that length. None:
            there is one, without an axis, and the program is the same as ever.
        own_reference: every seed has reference kernels of its own.
    """

    seeds: int | None = None
    own_reference: bool = False

    @property
    def own(self) -> int | None:
        """For `in_axes`: the axis of arrays that are a seed's own."""
        return None if self.seeds is None else 0

    @property
    def weights(self) -> Weights:
        """For `in_axes`: the axes of what a penalty compares with."""
        kernels: Any = self.own if self.own_reference else None
        return Weights(kernels, None)  # pyright: ignore[reportArgumentType]

    def __call__(self, function: Callable, in_axes: tuple[Any, ...]) -> Callable:
        """Map over the arguments that `in_axes` marks."""
        return function if self.seeds is None else jax.vmap(function, in_axes)

    def shardings(self, tree: Any) -> Any:
        """Of one seed's arrays to those of all: the new axis is whole on every device."""
        if self.seeds is None:
            return tree
        return jax.tree.map(
            lambda where: NamedSharding(where.mesh, PartitionSpec(None, *where.spec)), tree
        )

    def join(self, trees: Sequence[Any]) -> Any:
        """The arrays of every seed to those of all."""
        if self.seeds is None:
            return trees[0]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

    def member(self, tree: Any, index: Any) -> Any:
        """The arrays of one seed; `index` may be traced."""
        return tree if self.seeds is None else jax.tree.map(lambda leaf: leaf[index], tree)
