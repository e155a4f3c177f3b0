"""What can be pruned: six layer-stacked encoder kernels, taken out of the parameters and back.

Layers of uneven sizes cannot be stacked: of such an encoder nothing can be pruned, and what is a
dictionary of kernels elsewhere is an empty one.
"""

from collections.abc import Mapping
from typing import Any

from flax import traverse_util
from jaxtyping import Array, Bool, Float

# The order is a promise: it decides ties in a global cut, so results repeat on any machine. JAX
# sorts dictionary keys when it flattens a tree; whatever depends on the order iterates over this.
KERNELS = (
    "attention/query",
    "attention/key",
    "attention/value",
    "attention/output",
    "intermediate",
    "output",
)

Kernels = dict[str, Float[Array, "layers _ _"]]
"""`[layers, in, out]` for every name of `KERNELS`; column j of a matrix is unit j.

Criteria of single weights, masks and regularizers take stacks of any names and shapes."""

Masks = dict[str, Bool[Array, "layers _ _"]]
"""True where a weight is kept; the structure of `Kernels`."""


def kernel_path(name: str) -> str:
    """Where a kernel is in the parameters, and in their flat form."""
    return f"encoder/{name}/kernel"


def named(kernels: Mapping[str, Any]) -> list[str]:
    """The names of kernels, or of what belongs to them, in the order that decides ties.

    Those of `KERNELS` in its order, then others, of a model that is not ours, by the alphabet.
    """
    return [name for name in KERNELS if name in kernels] + sorted(kernels.keys() - set(KERNELS))


def split(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the prunable kernels out of a parameter tree.

    Works on any tree with `encoder/<name>/kernel` (gradients, optimizer moments, shardings), and
    copies no leaf.

    Args:
        params: nested dictionaries.

    Returns:
        The kernels as a flat dictionary in the order of `KERNELS`, and the tree without them. No
        kernels, and the whole tree, where every layer has leaves of its own.
    """
    flat: Any = traverse_util.flatten_dict(dict(params), keep_empty_nodes=True, sep="/")
    apart = any(path.startswith("encoder/0/") for path in flat)
    kernels = {} if apart else {name: flat.pop(kernel_path(name)) for name in KERNELS}
    return kernels, traverse_util.unflatten_dict(flat, sep="/")


def merge(kernels: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """Put the kernels back: the inverse of `split`."""
    flat: Any = traverse_util.flatten_dict(dict(rest), keep_empty_nodes=True, sep="/")
    flat |= {kernel_path(name): kernels[name] for name in named(kernels)}
    return traverse_util.unflatten_dict(flat, sep="/")


def sizes(kernels: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Say for every kernel how many matrices it stacks and how many weights each of them has."""
    return {
        name: (kernels[name].shape[0], _weights(kernels[name].shape)) for name in named(kernels)
    }


def _weights(shape: tuple[int, ...]) -> int:
    return shape[1] * shape[2]
