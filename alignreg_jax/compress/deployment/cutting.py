"""A model at the size and with the pieces that are wanted, before it becomes a graph."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from alignreg_jax.compress import folders, trim
from alignreg_jax.compress.agreement import Network
from alignreg_jax.compress.budgets import Budget
from alignreg_jax.compress.coverage import Loss
from alignreg_jax.compress.empty_units import fold
from alignreg_jax.compress.shrink import shrink


class Cut(NamedTuple):
    """Where a model went.

    Attributes:
        folder: of the result, which may be the original's.
        sized: of the model at its size, with all its pieces.
        losses: what each language lost with pieces.
    """

    folder: Path
    sized: Path
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True)
class Cuts:
    """What goes.

    Attributes:
        size: of a model that serves every size; None: the whole.
        pieces: which stay; None: all.
    """

    size: float | None = None
    pieces: trim.Wanted | None = None


def cut(folder: Path, cuts: Cuts, scratch: Path) -> Cut:
    """Cut a model; heads and feed-forward units that are empty go in any case.

    Args:
        folder: of the model.
        cuts: what goes.
        scratch: an empty folder, for results.

    Raises:
        UserError: as `shrink` and `trim`.
    """
    sized = folder
    if cuts.size is not None and cuts.size < 1:
        sized = scratch / "sized"
        shrink(folder, sized, "free", budget=Budget("size", cuts.size))
    elif _has_empty(folders.read(folder).network):
        sized = scratch / "sized"
        shrink(folder, sized, "free")
    if cuts.pieces is None:
        return Cut(sized, sized)
    try:
        done = trim.trim(sized, scratch / "trimmed", cuts.pieces)
    except trim.AllWanted:
        return Cut(sized, sized)
    return Cut(scratch / "trimmed", sized, done.losses)


def _has_empty(network: Network) -> bool:
    if not network.config.stacked:
        return False
    return not all(kept.all() for kept in fold(network.params, network.config).kept.values())
