"""The largest size of a model that a budget allows."""

import bisect
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from alignreg_jax.compress.agreement import Network
from alignreg_jax.compress.forms import parameters
from alignreg_jax.errors import UserError
from alignreg_jax.models import xlmr
from alignreg_jax.models.slicing import Units, absent_parameters, sliced
from alignreg_jax.models.xlmr import Params, XlmrConfig
from alignreg_jax.pruning import elastic
from alignreg_jax.pruning.elastic import Tau
from alignreg_jax.support import terminal
from alignreg_jax.support.progress import progress

Kind = Literal["size", "parameters", "macs", "max-mb", "latency-ms"]
PIECES = 128
"""Length of the text that multiplications and times are told for."""

_POINTS, _REPEATS = 6, 9


class Budget(NamedTuple):
    """How large a model may be.

    Attributes:
        kind: of what; "macs" are multiplications of the encoder for one text of `PIECES` pieces,
            "max-mb" are megabytes (10^6) of weights in float32, "latency-ms" is the median time for
            one such text on this machine.
        value: how much.
    """

    kind: Kind
    value: float

    @property
    def flag(self) -> str:
        """As on the command line."""
        return f"--{self.kind}={self.value:g}"


def within(budget: Budget, tau: Tau, smallest: float, network: Network) -> float:
    """The largest size that a budget allows; prints what it measured, if it measured.

    Args:
        budget: how large the model may be.
        tau: thresholds of sizes.
        smallest: size that was trained.
        network: the whole model.

    Raises:
        UserError: the smallest size is larger, or the budget is no size.
    """
    if budget.kind == "size":
        if not 0 < budget.value <= 1:
            raise UserError(f"{budget.flag}: should be above 0 and at most 1")
        if np.float32(budget.value) < np.float32(smallest):
            raise UserError(f"{budget.flag}: the smallest size that was trained is {smallest:g}")
        return budget.value
    sizes, costs = _table(budget.kind, tau, smallest, network)
    place = bisect.bisect_right(costs, budget.value)
    if not place:
        raise UserError(
            f"{budget.flag}: the smallest size that was trained, {smallest:g}, has {costs[0]:,.6g}"
        )
    return sizes[place - 1]


def _table(
    kind: Kind, tau: Tau, smallest: float, network: Network
) -> tuple[list[float], list[float]]:
    """Sizes, rising, and what each costs, which does not fall."""
    if kind == "latency-ms":
        sizes = np.linspace(smallest, 1, _POINTS).tolist()
        return sizes, _never_falling(_latencies(sizes, tau, network))
    every = np.unique(np.concatenate([np.ravel(leaf) for leaf in tau.values()])).tolist()
    sizes = [smallest, *(size for size in every if size > smallest)]
    config, whole = network.config, parameters(network.params)
    cost: Callable[[Units], float] = partial(_macs, config)
    if kind != "macs":
        unit = 1.0 if kind == "parameters" else 4e-6

        def cost(units: Units) -> float:
            return (whole - absent_parameters(config, units)) * unit

    return sizes, [cost(elastic.units_at(tau, size)) for size in sizes]


def _macs(config: XlmrConfig, units: Units) -> float:
    """Multiplications of an encoder's matrices and of its attention, for `PIECES` pieces."""
    layers = units.get("layers", np.ones(config.num_layers, bool))
    heads, ffn = (int(np.count_nonzero(units[kind][layers])) for kind in ("heads", "ffn"))
    size, hidden = config.layers[0].head_size, config.hidden_size
    weights = hidden * (4 * heads * size + 2 * ffn)
    return float(PIECES * weights + 2 * PIECES**2 * heads * size)


def _latencies(sizes: list[float], tau: Tau, network: Network) -> list[float]:
    """Median milliseconds for one text at each size, in turns, so that all meet the same load."""
    ids = np.full((1, PIECES), 5, np.int32)
    ids = ids[:, : network.config.max_length]
    lengths = np.array([ids.shape[1]], np.int32)
    runs, times = [], [[] for _ in sizes]
    with progress(len(sizes), "compiling", "sizes") as bar:
        for size in sizes:
            params, config = sliced(network.params, network.config, elastic.units_at(tau, size))
            run = partial(_run, config, jax.device_put(_without_head(params)), ids, lengths)
            run()
            runs.append(run)
            bar.update(1)
    for _ in range(_REPEATS):
        for run, found in zip(runs, times, strict=True):
            started = time.perf_counter()
            run()
            found.append(1000 * (time.perf_counter() - started))
    medians = [float(np.median(found)) for found in times]
    for size, milliseconds in zip(sizes, medians, strict=True):
        terminal.show(f"size {size:.2f}: {milliseconds:.2f} ms for {ids.shape[1]} pieces")
    return medians


def _without_head(params: Params) -> Mapping[str, Any]:
    return {name: tree for name, tree in params.items() if name != "head"}


def _run(config: XlmrConfig, params: Any, ids: np.ndarray, lengths: np.ndarray) -> None:
    jax.block_until_ready(_encode(xlmr.XlmrModel(config, "linear", 1), params, ids, lengths))


@partial(jax.jit, static_argnums=0)
def _encode(model: xlmr.XlmrModel, params: Any, ids: jax.Array, lengths: jax.Array) -> jax.Array:
    return xlmr.hidden_states(model, params, ids, lengths)[-1]


def _never_falling(costs: list[float]) -> list[float]:
    """Times with what a larger size measured shorter by chance raised to the smaller one's."""
    return np.maximum.accumulate(costs).tolist()
