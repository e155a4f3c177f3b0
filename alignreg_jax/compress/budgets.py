"""The largest size of a model that a budget allows."""

import bisect
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool

from alignreg_jax.compress.agreement import Network
from alignreg_jax.compress.forms import ALIGN, Form, filled_up
from alignreg_jax.errors import UserError
from alignreg_jax.models import xlmr
from alignreg_jax.models.slicing import absent_parameters, parameters, sliced
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


Units = Mapping[str, Bool[np.ndarray, "layers ..."]]


def within(
    budget: Budget,
    tau: Tau,
    smallest: float,
    network: Network,
    form: Form = "free",
    align: int = ALIGN,
) -> float:
    """The largest size that a budget allows; prints what it measured, if it measured.

    Args:
        budget: how large the model may be.
        tau: thresholds of sizes.
        smallest: size that was trained.
        network: the whole model.
        form: that it will have, with what "stock" fills layers up with.
        align: of that form.

    Raises:
        UserError: the smallest size is larger, or the budget is no size.
    """
    if budget.kind == "size":
        if not 0 < budget.value <= 1:
            raise UserError(f"{budget.flag}: should be above 0 and at most 1")
        if np.float32(budget.value) < np.float32(smallest):
            raise UserError(f"{budget.flag}: the smallest size that was trained is {smallest:g}")
        return budget.value
    if not budget.value > 0:  # NaN fails too
        raise UserError(f"{budget.flag}: should be above 0")

    def units(size: float) -> Units:
        return filled_up(elastic.units_at(tau, size), form, align)

    def cost(size: float) -> float:
        return measured[size] if measured else _COSTS[budget.kind](network, units(size))

    measured: dict[float, float] = {}
    if budget.kind == "latency-ms":
        sizes = np.linspace(smallest, 1, _POINTS).tolist()
        times = np.maximum.accumulate(_latencies(sizes, units, network)).tolist()
        measured = dict(zip(sizes, times, strict=True))
    else:
        every = np.unique(np.concatenate([np.ravel(leaf) for leaf in tau.values()])).tolist()
        sizes = [smallest, *(size for size in every if size > smallest)]
    place = bisect.bisect_right(sizes, budget.value, key=cost)
    if not place:
        raise UserError(
            f"{budget.flag}: the smallest size that was trained, {smallest:g}, has"
            f" {cost(smallest):,.6g}"
        )
    return sizes[place - 1]


def _parameters(network: Network, units: Units) -> float:
    return float(parameters(network.params) - absent_parameters(network.config, units))


def _megabytes(network: Network, units: Units) -> float:
    return 4e-6 * _parameters(network, units)


def _macs(network: Network, units: Units) -> float:
    """Multiplications of an encoder's matrices and of its attention, for `PIECES` pieces."""
    config = network.config
    layers = units.get("layers", np.ones(config.num_layers, bool))
    heads, ffn = (int(np.count_nonzero(units[kind][layers])) for kind in ("heads", "ffn"))
    columns = heads * config.layers[0].head_size
    weights = config.hidden_size * (4 * columns + 2 * ffn)
    return float(PIECES * weights + 2 * PIECES**2 * columns)


_COSTS = {"parameters": _parameters, "macs": _macs, "max-mb": _megabytes}


def _latencies(
    sizes: list[float], units: Callable[[float], Units], network: Network
) -> list[float]:
    """Median milliseconds for one text at each size, in turns, so that all meet the same load."""
    ids = np.full((1, min(PIECES, network.config.max_length)), 5, np.int32)
    lengths = np.array([ids.shape[1]], np.int32)
    runs, times = [], [[] for _ in sizes]
    with progress(len(sizes), "compiling", "sizes") as bar:
        for size in sizes:
            params, config = sliced(network.params, network.config, units(size))
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
