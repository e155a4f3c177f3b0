"""The networks that a trained state answers with: one, or one for every size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alignreg_jax.models.elastic import Tau
from alignreg_jax.pruning import elastic, masks
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning.kernels import Masks
from alignreg_jax.support import processes


@dataclass(frozen=True)
class Served:
    """A network to evaluate.

    Attributes:
        number: the prune_step that it is.
        params: with the weights that it does not have at zero.
        masks: of the weights that it has.
        at: thresholds and the size at which the whole model is this network; None: it has no size.
    """

    number: int
    params: Any
    masks: Masks
    at: tuple[Tau, float] | None = None

    @property
    def facts(self) -> dict[str, float]:
        """What an event says of it beside its scores."""
        return {} if self.at is None else {"size": self.at[1]}

    @property
    def name(self) -> str:
        """For a line about it; empty if it has no size."""
        return "" if self.at is None else f" at size {self.at[1]:g}"


def networks(state: Any, params: Any, first: int, sizes: Sequence[float]) -> Iterator[Served]:
    """Say what there is to evaluate of a state.

    Args:
        state: after training.
        params: as the state is served.
        first: number of the first one.
        sizes: to serve at; none: the model as it is.
    """
    if not sizes:
        yield Served(first, params, state.masks)
        return
    tau = processes.fetch(state.method["tau"])
    kernels, rest = prunable.split(params)
    for number, size in enumerate(sizes, first):
        kept = elastic.masks_at(tau, size, kernels)
        yield Served(number, prunable.merge(masks.apply(kernels, kept), rest), kept, (tau, size))
