"""How the hidden states of a text become one vector, for a model without a head."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64

from alignreg_jax.errors import UserError
from alignreg_jax.models.architecture import read_json

Pooling = Literal["mean", "first"]
"""Their mean, or what the first piece became."""

POOLING = "1_Pooling/config.json"
_HARMLESS = ("Pooling", "Normalize")  # a cosine does not ask for the length
_KNOWN: Mapping[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
    "mean": "mean",
    "cls": "first",
}


def read(folder: Path) -> Pooling:
    """What the files that sentence-transformers keeps say; without them the mean.

    Raises:
        UserError: they say another way than these two, or there is a step after it.
    """
    for step in sorted(folder.glob("[0-9]_*")):
        if step.name[2:] not in _HARMLESS:
            raise UserError(f"{step}: this step of the model is not computed here")
    path = folder / POOLING
    said = read_json(path) if path.exists() else {"pooling_mode": "mean"}
    # Newer files have a name, older ones a switch for every way
    named = said.get("pooling_mode")
    switched = [way for way, on in said.items() if way.startswith("pooling_mode_") and on]
    ways = [named] if named else switched
    if len(ways) != 1 or ways[0] not in _KNOWN:
        made = " and ".join(map(str, ways)) or "nothing that it names"
        raise UserError(f"{path}: a text's vector is made by {made}; here it is by mean or cls")
    return _KNOWN[ways[0]]


def pool(
    hidden: Float32[np.ndarray, "batch length hidden"],
    mask: Int64[np.ndarray, "batch length"],
    pooling: Pooling,
) -> Float32[np.ndarray, "batch hidden"]:
    """One vector of every text."""
    if pooling == "first":
        return hidden[:, 0]
    there = mask[:, :, None].astype(np.float32)
    return (hidden * there).sum(axis=1) / there.sum(axis=1)
