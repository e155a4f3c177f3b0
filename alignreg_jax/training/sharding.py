"""Where every array lives: a mesh (data, fsdp, tensor) and a rule for every parameter path.

The rules are for layer-stacked kernels `[layers, in, out]`; layers of uneven sizes, each with
leaves of its own, go by the same ones. Optimizer moments, masks and the reference follow the kernel
they belong to.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from alignreg_jax.errors import UserError
from alignreg_jax.models.xlmr import Pins, XlmrConfig
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.support import processes
from alignreg_jax.training.optimizers import METHOD
from alignreg_jax.training.state import TrainState, flatten

AXES = ("data", "fsdp", "tensor")
BATCH = PartitionSpec(("data", "fsdp"))
SPREAD = PartitionSpec(AXES)  # each device has rows of its own
REPLICATED = PartitionSpec()

_INTO_HEADS = PartitionSpec(None, "fsdp", "tensor")
_OUT_OF_HEADS = PartitionSpec(None, "tensor", "fsdp")
# First match wins; a path that none matches is an error, so a new parameter cannot be forgotten.
RULES: tuple[tuple[str, PartitionSpec], ...] = (
    (r"embeddings/word/embedding", PartitionSpec(None, "fsdp")),  # 250,002 rows divide by no 4
    (r"embeddings/(position|token_type)/embedding", REPLICATED),
    (r"encoder/(attention/(query|key|value)|intermediate)/kernel", _INTO_HEADS),
    (r"encoder/(attention/output|output)/kernel", _OUT_OF_HEADS),
    (r"encoder/(attention/(query|key|value)|intermediate)/bias", PartitionSpec(None, "tensor")),
    (r"encoder/(attention/output|output)/bias", REPLICATED),
    (r"(embeddings|encoder|encoder/attention|head)/layer_norm/(scale|bias)", REPLICATED),
    (r"head/(dense|out)/(kernel|bias)", REPLICATED),
)


def make_mesh(data: int, fsdp: int, tensor: int, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over all devices; one axis may be -1, for all that are left.

    Raises:
        UserError: the axes do not multiply to the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    shape = [data, fsdp, tensor]
    fixed = int(np.prod([size for size in shape if size != -1]))
    if shape.count(-1) > 1:
        raise UserError("mesh: only one of mesh.data, mesh.fsdp, mesh.tensor may be -1")
    if -1 in shape and len(devices) % fixed == 0:
        shape[shape.index(-1)] = len(devices) // fixed
    if int(np.prod([abs(size) for size in shape])) != len(devices) or -1 in shape:
        raise UserError(
            f"mesh.data={data} x mesh.fsdp={fsdp} x mesh.tensor={tensor} does not make "
            f"{len(devices)} devices"
        )
    # Auto: XLA propagates. With explicit axes an embedding look-up of a sharded batch is an error.
    return jax.make_mesh(tuple(shape), AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)


def check(mesh: Mesh, config: XlmrConfig, batch_sizes: dict[str, int]) -> None:
    """Raise UserError unless the model and the batches divide over the mesh.

    Args:
        mesh: of `make_mesh`.
        config: the architecture.
        batch_sizes: field name -> rows in a batch (or microbatch).

    Raises:
        UserError: names the field, both numbers, and what would divide.
    """
    tensor, fsdp = mesh.shape["tensor"], mesh.shape["fsdp"]
    rows = mesh.shape["data"] * fsdp
    for field, size in batch_sizes.items():
        if size % rows:
            raise UserError(
                f"{field}={size} does not divide over mesh.data x mesh.fsdp = {rows} devices; "
                f"use a multiple of {rows}, or give mesh.tensor some of the devices"
            )
    needs = [("hidden units", config.hidden_size, "fsdp", fsdp)]
    for layer in config.layers:
        needs += [
            ("attention heads", layer.heads, "tensor", tensor),
            ("intermediate units", layer.ffn, "tensor", tensor),
            ("intermediate units", layer.ffn, "fsdp", fsdp),
        ]
    for what, size, axis, parts in needs:
        if size % parts:
            raise UserError(f"mesh.{axis}={parts} does not divide the model's {size} {what}")


def spec(path: str) -> PartitionSpec:
    """The rule for one parameter path.

    Raises:
        ValueError: no rule matches; a parameter was added without one.
    """
    stacked = re.sub(r"^encoder/\d+/", "encoder/", path)
    for pattern, rule in RULES:
        if re.fullmatch(pattern, stacked):
            # Of a layer alone there is no axis of layers
            return rule if stacked == path else PartitionSpec(*rule[1:])
    raise ValueError(f"no sharding rule matches the parameter {path!r}")


def pins(mesh: Mesh) -> Pins:
    """Where activations live: split by rows, whole in every other dimension.

    A look-up in the word table, whose columns lie over fsdp, yields columns; the change from
    columns to rows is then one all-to-all, not a copy of everything on every device.
    """
    return Pins(
        lookup=NamedSharding(mesh, PartitionSpec("data", None, "fsdp")),
        hidden=NamedSharding(mesh, BATCH),
    )


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Host values onto every device, explicitly: implicit transfers are bugs in the loop."""
    where = NamedSharding(mesh, REPLICATED)
    return processes.place(tree, jax.tree.map(lambda _: where, tree))


@dataclass(frozen=True)
class Places:
    """The shardings of a tree, as one value that can be compared and hashed."""

    structure: Any
    leaves: tuple[NamedSharding, ...]

    @classmethod
    def of(cls, tree: Any) -> "Places":
        """Of a tree of shardings."""
        leaves, structure = jax.tree.flatten(tree)
        return cls(structure, tuple(leaves))

    @property
    def tree(self) -> Any:
        """The shardings in their tree."""
        return jax.tree.unflatten(self.structure, self.leaves)


def for_params(tree: Any, mesh: Mesh) -> Any:
    """Shardings of a tree of parameters, nested or flat by path."""
    flat = {path: NamedSharding(mesh, spec(path)) for path in flatten(tree)}
    treedef = jax.tree.structure(tree)
    return jax.tree.unflatten(treedef, list(flat.values()))


def for_kernels(mesh: Mesh) -> dict[str, NamedSharding]:
    """Shardings of masks, scores or reference kernels."""
    return {name: NamedSharding(mesh, spec(f"encoder/{name}/kernel")) for name in KERNELS}


def for_state(state: TrainState, mesh: Mesh) -> TrainState:
    """Shardings of a whole train state; what belongs to no parameter is replicated.

    A leaf of the method's state that lies under a kernel's name follows that kernel.
    """
    replicated = NamedSharding(mesh, REPLICATED)
    kernels = for_kernels(mesh) if state.masks else {}

    def method_leaf(name: str, leaf: Any) -> NamedSharding:
        # The longest name: "attention/output" ends with "output", too
        owners = [kernel for kernel in kernels if name.endswith("/" + kernel)]
        return kernels[max(owners, key=len)] if owners and leaf.ndim == 3 else replicated

    def moments(flat: dict[str, Any]) -> dict[str, NamedSharding]:
        return {
            path: method_leaf(path, leaf)
            if path.startswith(METHOD)
            else NamedSharding(mesh, spec(path))
            for path, leaf in flat.items()
        }

    optimizer = {
        label: own._replace(count=replicated, mu=moments(own.mu), nu=moments(own.nu))
        for label, own in state.optimizer.items()
    }
    paths = flatten(state.method)
    method = {path: method_leaf(METHOD + path, leaf) for path, leaf in paths.items()}
    return TrainState(
        step=replicated,
        key=replicated,
        params=for_params(state.params, mesh),
        masks=kernels,
        method=jax.tree.unflatten(jax.tree.structure(state.method), list(method.values())),
        optimizer=optimizer,
    )
