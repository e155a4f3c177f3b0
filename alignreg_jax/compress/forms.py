"""The sizes that a smaller model may have, and the parameters of that size.

"stock" is what unmodified transformers loads: all heads, and equally many feed-forward units in
every layer, where narrower layers are filled up with units of zeros. "free" is what is left.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from flax import traverse_util
from jaxtyping import Bool

from alignreg_jax.compress.empty_units import fold
from alignreg_jax.errors import UserError
from alignreg_jax.models.architecture import XlmrConfig
from alignreg_jax.models.slicing import sliced
from alignreg_jax.models.xlmr import Params
from alignreg_jax.pruning.units import UNITS

Form = Literal["stock", "free"]
ALIGN = 8
"""Feed-forward widths of the stock form are a multiple of it: what fast kernels like."""

_FFN = ("intermediate/kernel", "intermediate/bias", "output/kernel")


class Smaller(NamedTuple):
    """A model without its empty units.

    Attributes:
        params: of the smaller model.
        config: its architecture.
        empty: units that did nothing or added a constant, by kind.
        folded: those of them whose constant went into a bias, by kind.
        padding: parameters in feed-forward units of zeros.
    """

    params: Params
    config: XlmrConfig
    empty: dict[str, int]
    folded: dict[str, int]
    padding: int


def smaller(
    params: Mapping[str, Any],
    config: XlmrConfig,
    form: Form,
    align: int = ALIGN,
    layers: Bool[np.ndarray, " layers"] | None = None,
) -> Smaller:
    """Take the empty units out of a model; no output changes but by rounding.

    Args:
        params: with stacked encoder parameters.
        config: their architecture.
        form: "stock" or "free".
        align: what the stock form's feed-forward width is a multiple of.
        layers: which are kept; None: all. One that is left out does nothing, not even its biases.

    Raises:
        UserError: nothing is empty, or the stock form cannot have these sizes or saves nothing.
    """
    found = fold(params, config)
    layers = np.ones(config.num_layers, bool) if layers is None else layers
    empty = {kind: int(np.count_nonzero(~found.kept[kind])) for kind in UNITS}
    if not any(empty.values()) and layers.all():
        raise UserError(
            "nothing to remove: every attention head and feed-forward unit is in use (zeros of"
            " single weights take no less room and time)"
        )
    kept, whole = found.kept, found.params
    padding = 0
    if form == "stock":
        if missing := int(np.count_nonzero(~kept["heads"][layers])):
            raise UserError(
                f"--form stock: {missing} attention heads are empty, and transformers' XLM-R"
                " has all heads in every layer; --form free takes them out"
            )
        widest, before = _width(kept["ffn"], layers), kept["ffn"].shape[1]
        width = _aligned(widest, before, align)
        if width >= before and layers.all():
            raise UserError(
                f"--form stock: the widest layer has {widest} feed-forward units in use, which is"
                f" {width} in multiples of {align}, and the model has {before}: nothing smaller;"
                " --form free gives every layer its own width"
            )
        filled = fill(kept["ffn"], width)
        zeros = filled & ~kept["ffn"]
        padding = int(np.count_nonzero(zeros[layers])) * (2 * config.hidden_size + 1)
        whole = _emptied(whole, zeros)
        kept = {**kept, "ffn": filled}
    less, sizes = sliced(whole, config, {**kept, "layers": layers})
    return Smaller(less, sizes, empty, found.needed, padding)


def fill(kept: Bool[np.ndarray, "layers units"], width: int) -> Bool[np.ndarray, "layers units"]:
    """Keep the first of the other units, too, so that every layer has `width`."""
    missing = width - np.count_nonzero(kept, axis=1, keepdims=True)
    return kept | (~kept & (np.cumsum(~kept, axis=1) <= missing))


def filled_up(
    units: Mapping[str, Bool[np.ndarray, "layers ..."]], form: Form, align: int = ALIGN
) -> dict[str, Bool[np.ndarray, "layers ..."]]:
    """The units that a model in this form has, of those that are present at a size.

    Args:
        units: `heads`, `ffn` and perhaps `layers` (`pruning.elastic.units_at`).
        form: "stock" or "free".
        align: what the stock form's feed-forward width is a multiple of.
    """
    if form == "free":
        return dict(units)
    ffn = units["ffn"]
    layers = units.get("layers", np.ones(len(ffn), bool))
    return {**units, "ffn": fill(ffn, _aligned(_width(ffn, layers), ffn.shape[1], align))}


def encoder_weights(config: XlmrConfig) -> int:
    """Weights of the matrices that pruning is over: attention and feed-forward."""
    return sum(
        config.hidden_size * (4 * heads * head_size + 2 * ffn)
        for heads, head_size, ffn in config.layers
    )


def _width(kept: Bool[np.ndarray, "layers units"], layers: Bool[np.ndarray, " layers"]) -> int:
    """How many units the widest layer has."""
    return int(np.count_nonzero(kept[layers], axis=1).max())


def _aligned(widest: int, before: int, align: int) -> int:
    """The common number of feed-forward units."""
    return min(-(-max(widest, 1) // align) * align, before)


def _emptied(params: Mapping[str, Any], units: Bool[np.ndarray, "layers units"]) -> dict[str, Any]:
    """The parameters with all that belongs to some feed-forward units at zero."""
    leaves: Any = traverse_util.flatten_dict(dict(params["encoder"]), sep="/")
    shapes = dict(zip(_FFN, (units[:, None], units, units[:, :, None]), strict=True))
    leaves |= {
        path: np.where(chosen, np.zeros((), leaves[path].dtype), leaves[path])
        for path, chosen in shapes.items()
    }
    return {**params, "encoder": traverse_util.unflatten_dict(leaves, sep="/")}
