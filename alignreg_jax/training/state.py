"""What a training step reads and writes, as one tree."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import traverse_util
from jaxtyping import Array, Int

from alignreg_jax.data.encoding import Encoded
from alignreg_jax.errors import UserError
from alignreg_jax.training import optimizers

Tree = Mapping[str, Any]
# Folded into the root key, far from any step
_PRUNE = 2**31 - 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything that changes during a run, and the key that all randomness is folded from.

    Fields are Any because JAX builds the same structure of shapes and of shardings, too.

    Attributes:
        step: int32 scalar, counted over the whole run.
        key: the root key.
        params: the nested dict of models/xlmr.py.
        masks: Boolean, one for every prunable kernel.
        method: learned state of the pruning method.
        optimizer: label -> Adam's state of the leaves trained under it, flat dicts from path to
            moment: "weights", and the labels of what the method learns, under "method/".
    """

    step: Any
    key: Any
    params: Any
    masks: Any
    method: Any
    optimizer: Any

    def replace(self, **changes: Any) -> "TrainState":
        """A copy with some fields changed."""
        return replace(self, **changes)


def as_layout_1(state: TrainState) -> TrainState:
    """A state as earlier versions saved it: one state of Adam, that of the weights.

    Raises:
        UserError: the method learns; its own moments were then among those of the weights.
    """
    if set(state.optimizer) != {optimizers.WEIGHTS}:
        raise UserError(
            "--workdir: an earlier version began this run, and its checkpoints keep what the method"
            " learns in another form; finish it with that version, or give another --workdir"
        )
    return state.replace(optimizer=state.optimizer[optimizers.WEIGHTS])


def from_layout_1(state: TrainState) -> TrainState:
    """The inverse of `as_layout_1`."""
    return state.replace(optimizer={optimizers.WEIGHTS: state.optimizer})


def pruning_key(state: TrainState, phase: Any) -> Array:
    """The key of what a phase's cut draws."""
    return jax.random.fold_in(jax.random.fold_in(state.key, _PRUNE), phase)


class Batch(NamedTuple):
    """Rows padded on the right to one length.

    Attributes:
        ids: pieces, `[batch, length]`.
        lengths: pieces of each row, `[batch]`; 0 for a row that only fills up the batch.
        labels: of rows, `[batch]`, or of tokens, `[batch, length]`.
        weights: as labels: 1 where there is a label to learn, 0 in padding and at pieces without
            one.
        targets: as labels: 1 where there is something to predict, with a label or without.
    """

    ids: Any
    lengths: Any
    labels: Any
    weights: Any
    targets: Any


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("ids", "offsets", "lengths", "labels"),
    meta_fields=("per_token",),
)
@dataclass(frozen=True)
class DeviceData:
    """A tokenised split on the device: ids laid end to end, rows gathered inside the step.

    All int32: ids `[tokens]`; offsets and lengths `[rows]`; labels `[rows]`, or with `per_token`
    `[tokens]`, -1 where a piece begins no word. `UNLABELLED` where only a teacher knows one.
    """

    ids: Any
    offsets: Any
    lengths: Any
    labels: Any
    per_token: bool = False

    @classmethod
    def from_encoded(cls, encoded: Encoded) -> "DeviceData":
        """The same arrays, as host arrays ready to be placed."""
        return cls(encoded.ids, encoded.offsets, encoded.lengths, encoded.labels, encoded.per_token)

    @property
    def targets(self) -> int:
        """How many predictions there are to make: one a row, or one a token."""
        return self.labels.shape[0]

    def batch(self, rows: Int[Array, " batch"], length: int, pad_token_id: int) -> Batch:
        """The given rows; -1 fills up the batch."""
        places, within = self._places(rows, length)
        ids = jnp.where(within, self.ids[places], pad_token_id)
        lengths = jnp.where(rows >= 0, self.lengths[jnp.maximum(rows, 0)], 0)
        if not self.per_token:
            labels, targets = self.labels[jnp.maximum(rows, 0)], rows >= 0
        else:
            labels = self.labels[places]
            targets = within & (labels != -1)
        weights = targets & (labels >= 0)
        numbers = (part.astype(jnp.float32) for part in (weights, targets))
        return Batch(ids, lengths, jnp.maximum(labels, 0), *numbers)

    def places(self, rows: Int[Array, " batch"], length: int) -> Int[Array, "batch *length"]:
        """Where among all targets those of a batch are, -1 for padding."""
        if not self.per_token:
            return rows
        places, within = self._places(rows, length)
        return jnp.where(within, places, -1)

    def _places(self, rows: Array, length: int) -> tuple[Array, Array]:
        """Indices into `ids` `[batch, length]`, and which of them are of the row."""
        present = rows >= 0
        rows = jnp.maximum(rows, 0)
        columns = jnp.arange(length)[None, :]
        within = (columns < self.lengths[rows][:, None]) & present[:, None]
        return self.offsets[rows][:, None] + columns, within


def flatten(tree: Tree) -> dict[str, Any]:
    """Nested dicts to one dict from path ("encoder/attention/query/kernel") to leaf."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten` for a tree of dicts."""
    return traverse_util.unflatten_dict(dict(flat), sep="/")


def is_frozen(path: str, freeze: tuple[str, ...]) -> bool:
    """Whether one of the prefixes `freeze` names a leaf or a folder that it is in."""
    return any(path == prefix or path.startswith(prefix + "/") for prefix in freeze)


def check_freeze(
    freeze: Sequence[str],
    paths: Collection[str],
    field: str = "train.freeze",
    *,
    learns: bool = False,
) -> None:
    """Check that every prefix names something, and that something is left to train.

    With `learns` that may be what the method learns: masks over weights that all stand still.

    Raises:
        UserError: a prefix that is neither a leaf nor a folder of `paths`; what there is.
    """
    folders = sorted({path[:end] for path in paths for end in _ends(path)})
    for prefix in freeze:
        if prefix in folders:
            continue
        # As PyTorch, a checkpoint or a shell spell it; layers have numbers only if they are uneven
        spelt = re.sub(r"/+", "/", prefix.replace(".", "/")).strip("/").removeprefix("roberta/")
        numbered = re.sub(r"(^|/)layers?/(\d+)(?=/|$)", r"\1\2", spelt)
        near = [name for name in (spelt, numbered) if name in folders][:1]
        near = near or difflib.get_close_matches(spelt, folders, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? There are " if near else "there are "
        if numbered not in (spelt, *folders):
            hint = "layers are stacked, so that one alone cannot be frozen; there are "
        known = [name for name in folders if name not in paths and name.count("/") < 2]
        raise UserError(f"{field}={prefix!r} names no parameters; {hint}{', '.join(known)}")
    if not learns and all(is_frozen(path, tuple(freeze)) for path in paths):
        raise UserError(f"{field}={','.join(freeze)} leaves nothing to train")


def _ends(path: str) -> list[int]:
    """Where the folders that a leaf is in end in its path, and where it does itself."""
    return [match.start() for match in re.finditer("/|$", path)]


def frozen_counts(params: Tree, freeze: Sequence[str]) -> dict[str, int]:
    """Numbers of parameters that each prefix freezes."""
    flat = flatten(params)
    return {
        prefix: sum(leaf.size for path, leaf in flat.items() if is_frozen(path, (prefix,)))
        for prefix in freeze
    }


def partition(params: Tree, freeze: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Flat (trainable, frozen) leaves; `freeze` holds path prefixes such as "embeddings"."""
    flat = flatten(params)
    frozen = {path for path in flat if is_frozen(path, freeze)}
    return (
        {path: leaf for path, leaf in flat.items() if path not in frozen},
        {path: leaf for path, leaf in flat.items() if path in frozen},
    )


def by_label(method_state: Tree, labels: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """The leaves of a method's state that are trained, by label, then by path as in `learned`."""
    found: dict[str, dict[str, Any]] = {}
    for name, label in labels:
        if name in method_state:
            found.setdefault(label, {}).update(learned(method_state, [(name, label)]))
    return found


def learned(method_state: Tree, labels: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The leaves of a method's state that are trained, by paths that start with "method/"."""
    names = {name for name, _ in labels}
    chosen = {name: tree for name, tree in method_state.items() if name in names}
    return {optimizers.METHOD + path: leaf for path, leaf in flatten(chosen).items()}


def relearned(method_state: Tree, leaves: Mapping[str, Any]) -> Any:
    """The method's state with the leaves that `learned` named replaced."""

    def choose(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return leaves.get(optimizers.METHOD + name, leaf)

    return jax.tree_util.tree_map_with_path(choose, method_state)
