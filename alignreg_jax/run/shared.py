"""What the runs of one process have in common; a run alone has one of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field

from alignreg_jax.run.cache import Cache
from alignreg_jax.run.dense import DensePhases


def _nothing(count: int) -> None:
    return None


@dataclass
class Shared:
    """Handed from run to run.

    Attributes:
        inputs: data sets, pieces and encoders that were read.
        dense: dense phases; None: every run trains its own.
        stepped: told the number of steps whenever some have been trained.
    """

    inputs: Cache = field(default_factory=Cache)
    dense: DensePhases | None = None
    stepped: Callable[[int], object] = _nothing
