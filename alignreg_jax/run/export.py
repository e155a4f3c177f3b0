"""The folder that a run hands on: a model that transformers loads, with its card."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import jax
import numpy as np
from tokenizers import Tokenizer

from alignreg_jax.models import checkpoints
from alignreg_jax.models.xlmr import Head, Params, XlmrConfig
from alignreg_jax.support.files import atomic_write, whole_folder

FINAL = "export"
STEPS = "steps"
"""Folders of a run: its model at the end, and by number those of the steps before."""


def write_export(
    folder: str | Path,
    *,
    params: Params,
    config: XlmrConfig,
    head: Head,
    labels: tuple[str, ...],
    source: Path,
    card: str,
    beside: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Write the model, the tokenizer of `source`, the card as README.md, and files `beside` it.

    Everything is written beside `folder` and renamed into place, so that a kill leaves no half of a
    model. An export that is already there is replaced.

    Raises:
        UserError: there is no room for it; one that is already there stays.
    """
    size = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(dict(params)))
    with whole_folder(Path(folder), size) as partial:
        checkpoints.save(partial, params, config, head=head, labels=labels, source=source)
        for name, content in {"README.md": card.encode(), **beside}.items():
            atomic_write(partial / name, content)


def read_card(folder: Path, otherwise: str = "") -> str:
    """The text of README.md, or `otherwise` if there is none.

    It may be of whatever encoding, which is no reason to leave a model unwritten: bytes that are
    not UTF-8 are replaced.
    """
    path = folder / "README.md"
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else otherwise


def check_stock_tokenizer(folder: Path, texts: Sequence[str]) -> None:
    """Load the export's configuration and tokenizer as a user of transformers does, and compare.

    transformers may rebuild a tokenizer's pipeline from its class; ids that differ from
    tokenizer.json's would be read from other rows of the embedding without a word.

    Raises:
        RuntimeError: the ids of a text differ, which is a defect of the export.
    """
    # Here, not at the top: the import takes seconds and says that PyTorch is missing
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers import AutoConfig, AutoTokenizer

    if checkpoints.read_config(folder).stock:
        AutoConfig.from_pretrained(folder)
    # An export in the free form names code, which needs PyTorch; its tokenizer does not
    stock = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    own.no_truncation()
    own.no_padding()
    for text, ids in zip(texts, stock(list(texts))["input_ids"], strict=True):
        if own.encode(text).ids != ids:
            raise RuntimeError(f"{folder}: transformers tokenises {text!r} in another way")
