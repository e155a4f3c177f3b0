"""What can be pruned: six layer-stacked encoder kernels, taken out of the parameters and back."""

from collections.abc import Mapping
from typing import Any

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
"""`[layers, in, out]` for every name of `KERNELS`; column j of a matrix is unit j."""

Masks = dict[str, Bool[Array, "layers _ _"]]
"""True where a weight is kept; the structure of `Kernels`."""


def split(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the prunable kernels out of a parameter tree.

    Works on any tree with `encoder/<name>/kernel` (gradients, optimizer moments, shardings), and
    copies no leaf.

    Args:
        params: nested dictionaries.

    Returns:
        The kernels as a flat dictionary in the order of `KERNELS`, and the tree without them.
    """
    rest: dict[str, Any] = dict(params)
    kernels = {}
    for name in KERNELS:
        rest, kernels[name] = _pop(rest, _path(name))
    return kernels, rest


def merge(kernels: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """Put the kernels back: the inverse of `split`."""
    params: dict[str, Any] = dict(rest)
    for name in KERNELS:
        params = _put(params, _path(name), kernels[name])
    return params


def sizes(kernels: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Say for every kernel how many matrices it stacks and how many weights each of them has."""
    return {name: (kernels[name].shape[0], _weights(kernels[name].shape)) for name in KERNELS}


def _weights(shape: tuple[int, ...]) -> int:
    return shape[1] * shape[2]


def _path(name: str) -> tuple[str, ...]:
    return ("encoder", *name.split("/"), "kernel")


def _pop(tree: Mapping[str, Any], path: tuple[str, ...]) -> tuple[dict[str, Any], Any]:
    key, *deeper = path
    copy = dict(tree)
    if not deeper:
        return copy, copy.pop(key)
    copy[key], leaf = _pop(copy[key], tuple(deeper))
    return copy, leaf


def _put(tree: Mapping[str, Any], path: tuple[str, ...], leaf: Any) -> dict[str, Any]:
    key, *deeper = path
    return {**tree, key: _put(tree.get(key, {}), tuple(deeper), leaf) if deeper else leaf}
