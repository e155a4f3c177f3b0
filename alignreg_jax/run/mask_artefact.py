"""A task as a mask and a head, where the encoder's weights are those of a base and stay there.

A method that only learns which weights to leave out (Static Model Pruning) needs no copy of the
encoder for every task. The folder of a task holds

    mask.safetensors   of every kernel the packed bits of masks.pack, through zlib
    head.safetensors   the head's parameters under their paths ("out/kernel", [in, out]); of
                       label-words those of the words, where the others are the base's, too
    base.json          which base, by its digest; head, labels, counts, shapes of the kernels
    README.md          the export's card
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util
from jaxtyping import Bool, UInt8
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, heads, label_words
from alignreg_jax.models.architecture import CONFIG, read_json
from alignreg_jax.models.xlmr import Head, Params, XlmrConfig
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks as bits
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.run import digests
from alignreg_jax.run.export import read_card, write_export
from alignreg_jax.support.files import atomic_write, whole_folder

MASK, HEAD, BASE, CARD = "mask.safetensors", "head.safetensors", "base.json", "README.md"
_FORMAT = "alignreg mask 1"

HostMasks = dict[str, Bool[np.ndarray, "layers _ _"]]


@dataclass(frozen=True, eq=False)
class Artefact:
    """What is the task's own.

    Attributes:
        masks: True where the base's weight is in use.
        head: parameters of the head, the subtree `head`, without those that are the base's.
        form: of the head.
        labels: in the order of the head's rows.
        base: digest of the encoder that it belongs to (`digests.of_encoder`).
        tokenizer: digest of that encoder's tokenizer.json.
        card: text of README.md.
        shared: digest of the language model's head that the base brings (`Base.language_head`), if
            the rest of the head is its own.
    """

    masks: HostMasks
    head: Params
    form: Head
    labels: tuple[str, ...]
    base: str
    tokenizer: str
    card: str
    shared: str | None = None

    @property
    def kept(self) -> int:
        """Weights in use."""
        return sum(int(mask.sum()) for mask in self.masks.values())

    @property
    def prunable(self) -> int:
        """Weights that the mask is over."""
        return sum(mask.size for mask in self.masks.values())


class Sizes(NamedTuple):
    """Bytes of a task's folder: its two large files, and all of them."""

    mask: int
    head: int
    total: int


@dataclass(frozen=True, eq=False)
class Base:
    """An encoder in memory, which serves any number of tasks.

    `language_head` are leaves of the language model's head, flat; none if the checkpoint has none.
    """

    folder: Path
    params: Params
    config: XlmrConfig
    language_head: Mapping[str, np.ndarray]

    @classmethod
    def load(cls, folder: Path) -> "Base":
        """Read a checkpoint folder; a head that it has is left out.

        Raises:
            UserError: it cannot be read, or its layers are of uneven sizes.
        """
        if not checkpoints.read_config(folder).stacked:
            raise UserError(f"{folder}: its layers are of uneven sizes, which no mask is over")
        loaded = checkpoints.load(folder, head="linear", labels=("0",), seed=0, new_head=True)
        params = {name: tree for name, tree in loaded.params.items() if name != "head"}
        language_head = label_words.pretrained(folder, loaded.config)
        return cls(folder, params, loaded.config, language_head)

    @cached_property
    def digest(self) -> str:
        """Of architecture and weights."""
        return digests.of_encoder(self.params, self.config)

    @cached_property
    def tokenizer(self) -> str:
        """Digest of the tokenizer.

        Raises:
            UserError: there is none.
        """
        return _tokenizer(self.folder)

    def task(self, artefact: Artefact | Path) -> Params:
        """The parameters of a task's model; all but kernels and head are the base's own arrays.

        Raises:
            UserError: it belongs to another encoder, or is no folder of a task.
        """
        if isinstance(artefact, Path):
            artefact = read(artefact)
        if artefact.base != self.digest:
            raise UserError(
                f"{self.folder}: the mask is over the encoder with digest {artefact.base}, and this"
                f" one has {self.digest}; give the encoder that it was made from"
            )
        head = _flat(artefact.head)
        if artefact.shared:
            own = digests.of_arrays(self.language_head)
            if artefact.shared != own:
                raise UserError(
                    f"{self.folder}: the mask needs the language model's head with digest"
                    f" {artefact.shared}, and this one has {own}; give the encoder that it was made"
                    " from"
                )
            head |= self.language_head
        kernels, rest = prunable.split(self.params)
        params = prunable.merge(_masked(kernels, artefact.masks), rest)
        return {**params, "head": traverse_util.unflatten_dict(head, sep="/")}


def difference(base: Base, export: Path) -> Artefact:
    """What an export has beyond the base.

    A weight that is zero in the base and in the export counts as left out: no logit can tell.

    Args:
        base: the encoder that the run began with.
        export: the folder that it has written.

    Raises:
        UserError: an architecture, a tokenizer or a parameter outside of mask and head differs; it
            names the first one.
    """
    form = checkpoints.head_form(export)
    labels = heads.labels_of(read_json(export / CONFIG), export / CONFIG)
    found = checkpoints.load(export, head=form, labels=labels, seed=0)
    for field in fields(XlmrConfig):
        own, of_base = getattr(found.config, field.name), getattr(base.config, field.name)
        if own != of_base:
            raise UserError(f"{export}: {field.name} is {own} and that of {base.folder} {of_base}")
    tokenizer = _tokenizer(export)
    if tokenizer != base.tokenizer:
        raise UserError(f"{export}: its tokenizer is not that of {base.folder}")
    kernels, _ = prunable.split(found.params)
    masks = {name: np.asarray(kernels[name] != 0) for name in KERNELS}
    old, rest = prunable.split(base.params)
    expected = _flat(prunable.merge(_masked(old, masks), rest))
    params = dict(found.params)
    head = params.pop("head")
    for path, leaf in _flat(params).items():
        wrong = int(np.count_nonzero(leaf != expected[path]))
        if wrong:
            raise UserError(
                f"{export}: {path} is not that of {base.folder} ({wrong:,} of {leaf.size:,} values"
                " differ): a mask and a head are enough only where training has left all weights"
                " of the encoder as they were (train.freeze=embeddings,encoder; smp-l does so)"
            )
    leaves, shared = _flat(head), None
    same = (np.array_equal(leaves[path], leaf) for path, leaf in base.language_head.items())
    if form == "label-words" and base.language_head and all(same):
        # Its dense layer is a quarter of the mask's size, and frozen it is the base's
        leaves = {path: leaf for path, leaf in leaves.items() if path not in base.language_head}
        shared = digests.of_arrays(base.language_head)
    head = traverse_util.unflatten_dict(leaves, sep="/")
    card = read_card(export)
    return Artefact(masks, head, form, labels, base.digest, tokenizer, card, shared)


def write(folder: Path, artefact: Artefact) -> Sizes:
    """Write the folder of a task; one that is there is replaced.

    Raises:
        UserError: there is no room for it, or it may not be written.
    """
    about = {
        "format": _FORMAT,
        "base": artefact.base,
        "tokenizer": artefact.tokenizer,
        "head": artefact.form,
        "shared": artefact.shared,
        "labels": artefact.labels,
        "codec": "zlib",
        "shapes": {name: artefact.masks[name].shape for name in KERNELS},
        "kept": artefact.kept,
        "prunable": artefact.prunable,
    }
    tensors = {name: _squeeze(packed) for name, packed in _packed(artefact.masks).items()}
    head = {path: np.ascontiguousarray(leaf) for path, leaf in _flat(artefact.head).items()}
    size = sum(array.nbytes for array in (*tensors.values(), *head.values()))
    with whole_folder(folder, size) as partial:
        atomic_write(partial / BASE, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
        atomic_write(partial / CARD, artefact.card)
        for name, content in ((MASK, tensors), (HEAD, head)):
            save_file(content, partial / name)
            # safetensors makes files that only their owner can read
            (partial / name).chmod((partial / BASE).stat().st_mode)
    files = {file.name: file.stat().st_size for file in folder.iterdir()}
    return Sizes(files[MASK], files[HEAD], sum(files.values()))


def read(folder: Path) -> Artefact:
    """Read what `write` has written.

    Raises:
        UserError: it is something else, or damaged.
    """
    about = read_json(folder / BASE)
    if about.get("format") != _FORMAT:
        raise UserError(f"{folder / BASE}: format is {about.get('format')!r}, not {_FORMAT!r}")
    try:
        stored, head = load_file(folder / MASK), load_file(folder / HEAD)
        packed = {name: _unsqueeze(stored[name]) for name in KERNELS}
        shapes = {f"{name}/shape": np.asarray(about["shapes"][name], np.int64) for name in KERNELS}
        return Artefact(
            bits.unpack(packed | shapes),
            traverse_util.unflatten_dict(head, sep="/"),
            about["head"],
            tuple(about["labels"]),
            about["base"],
            about["tokenizer"],
            (folder / CARD).read_text(encoding="utf-8"),
            about["shared"],
        )
    except (OSError, SafetensorError, zlib.error, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}: not a whole folder of a mask and a head ({type(error).__name__}: {error});"
            " copy it again"
        ) from error


def write_model(folder: Path, base: Base, artefact: Artefact) -> None:
    """Write the full export of a task, as the run did that the mask is from.

    Raises:
        UserError: mask and base are not of one encoder, or there is no room.
    """
    params = base.task(artefact)
    if artefact.tokenizer != base.tokenizer:
        raise UserError(f"{base.folder}: its tokenizer is not the one that the mask was made with")
    write_export(
        folder,
        params=params,
        config=base.config,
        head=artefact.form,
        labels=artefact.labels,
        source=base.folder,
        card=artefact.card,
    )


def _masked(kernels: Mapping[str, np.ndarray], masks: HostMasks) -> dict[str, np.ndarray]:
    return {name: np.where(masks[name], kernels[name], np.float32(0)) for name in KERNELS}


def _packed(masks: HostMasks) -> dict[str, np.ndarray]:
    packed = bits.pack(masks)
    return {name: packed[name] for name in KERNELS}


def _squeeze(packed: UInt8[np.ndarray, " bytes"]) -> UInt8[np.ndarray, " squeezed"]:
    """By Huffman codes alone, made anew every few ten thousand bytes.

    Bits of a mask hardly repeat, so looking for repetitions costs time and bytes. At a tenth of the
    weights this takes 48 % of the packed size, where no code of independent bits takes less than
    47; where nothing is to be had, at a half, it stores bytes as they are. A checksum comes along.
    """
    coder = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    return np.frombuffer(coder.compress(packed.tobytes()) + coder.flush(), np.uint8)


def _unsqueeze(stored: UInt8[np.ndarray, " squeezed"]) -> UInt8[np.ndarray, " bytes"]:
    return np.frombuffer(zlib.decompress(stored.tobytes()), np.uint8)


def _tokenizer(folder: Path) -> str:
    path = folder / checkpoints.TOKENIZER
    try:
        return digests.of_tokenizer(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def _flat(params: Params) -> dict[str, Any]:
    leaves: Any = traverse_util.flatten_dict(dict(params), sep="/")
    return leaves
