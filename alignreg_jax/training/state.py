"""What a training step reads and writes, as one tree."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from alignreg_jax.data.encoding import Encoded
from alignreg_jax.pruning.kernels import Masks

Tree = Mapping[str, Any]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything that changes during a run, and the key that all randomness is folded from.

    `params` is the nested dict of models/xlmr.py; `optimizer` holds Adam's moments for the
    trainable leaves only, as flat dicts from path to moment.
    """

    step: Int[Array, ""]
    key: Key[Array, ""]
    params: Tree
    masks: Masks
    method: dict[str, Any]  # learned state of the pruning method
    optimizer: Any

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return replace(self, **changes)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DeviceData:
    """A tokenised split on the device: ids laid end to end, rows gathered inside the step."""

    ids: Int[Array, " tokens"]
    offsets: Int[Array, " rows"]
    lengths: Int[Array, " rows"]
    labels: Int[Array, " rows"]

    @classmethod
    def from_encoded(cls, encoded: Encoded) -> Self:
        """The same arrays, as host arrays ready to be placed."""
        return cls(encoded.ids, encoded.offsets, encoded.lengths, encoded.labels)  # pyright: ignore

    def batch(
        self, rows: Int[Array, " batch"], length: int, pad_token_id: int
    ) -> tuple[Int[Array, "batch length"], Int[Array, " batch"], Array]:
        """Ids padded on the right, labels, and weights: 1 for a row, 0 for padding (row -1)."""
        present = rows >= 0
        rows = jnp.maximum(rows, 0)
        columns = jnp.arange(length)
        within = (columns < self.lengths[rows][:, None]) & present[:, None]
        ids = jnp.where(within, self.ids[self.offsets[rows][:, None] + columns], pad_token_id)
        return ids, self.labels[rows], present.astype(jnp.float32)


def flatten(tree: Tree) -> dict[str, Any]:
    """Nested dicts to one dict from path ("encoder/attention/query/kernel") to leaf."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten` for a tree of dicts."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def partition(params: Tree, freeze: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Flat (trainable, frozen) leaves; `freeze` holds path prefixes such as "embeddings"."""
    flat = flatten(params)
    frozen = {
        path
        for path in flat
        if any(path == prefix or path.startswith(prefix + "/") for prefix in freeze)
    }
    return (
        {path: leaf for path, leaf in flat.items() if path not in frozen},
        {path: leaf for path, leaf in flat.items() if path in frozen},
    )


def count(tree: Any) -> int:
    """Number of elements over all leaves."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))
