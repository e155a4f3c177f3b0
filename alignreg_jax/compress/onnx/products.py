"""Products with a model's matrices, and rows of its word table, as each form computes them.

fp32, fp16 (stored so, and made float32 when a session loads), int8 and int4 (stored so, and made
int8 when a session loads) need standard operators alone, q8 needs MatMulNBits of ONNX Runtime.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int
from onnx import TensorProto

from alignreg_jax.compress.onnx import gptq, quantize
from alignreg_jax.compress.onnx.nodes import MICROSOFT, Nodes
from alignreg_jax.compress.onnx.quantize import BLOCK, STEPS

Weights = Literal["fp32", "fp16", "int8", "q8", "int4"]

_MOST_TIMES = 20.0
"""How many times the limit a unit may go to be made smaller; beyond it, its weights would take too
many steps from the others that share their scale."""

_EIGHT_BIT_INPUTS = 4  # accuracy_level of MatMulNBits: blocks of inputs in int8


class Outlying(NamedTuple):
    """Units of an activation that go far beyond all others, how far they go, and the others."""

    units: Int[np.ndarray, " units"]
    largest: Float[np.ndarray, " units"]
    limit: float

    @property
    def far(self) -> bool:
        """Whether they go so far that they are computed apart, whatever the form says."""
        return bool(self.largest.max() > _MOST_TIMES * self.limit)


@dataclass(frozen=True)
class Form:
    """How a graph stores and computes a model.

    Attributes:
        weights: of the encoder's matrices. The head is stored in 16 bits where these are smaller.
        words: of the word table; in int8 every row has a scale, in int4 every 32 values of one.
            With another form than fp32 positions are float16.
        steps: of int8 weights on either side of zero; int4 is computed so.
        grams: of int4: name of an activation -> XᵀX, by which its matrices are rounded (`gptq`).
        outlying: of int8, int4: name of an activation -> its units that go far beyond all others.
        apart: whether what goes beyond the limit is computed apart, in float32, to which its size
            does not matter. If not such units are divided down to the others' size and their
            weights multiplied (SmoothQuant, Xiao et al. 2023, Eq. 3, with all of the difficulty
            moved to the weights): one operator in place of five, but a column of weights shares its
            scale with them. Where one goes further than 20 times the limit they are apart anyway.
        wide: beginnings of names of matrices that are stored as `wide_as` says.
        wide_as: how.
        whole: whether the last layer is computed for all tokens, although a head over texts reads
            the first one only.
        fused: whether attention is one operator, which exists from opset 23 on.
    """

    weights: Weights = "fp32"
    words: Literal["fp32", "fp16", "int8", "int4"] = "fp32"
    steps: int = STEPS
    grams: Mapping[str, Float32[np.ndarray, "units units"]] = field(default_factory=dict)
    outlying: Mapping[str, Outlying] = field(default_factory=dict)
    apart: bool = False
    wide: tuple[str, ...] = ()
    wide_as: Weights = "fp32"
    whole: bool = False
    fused: bool = False


class _Narrow(NamedTuple):
    """An activation in eight bits: steps, scale, zero point; and what lies beyond their limits."""

    steps: str
    scale: str
    zero: str
    beyond: str | None = None
    units: Int[np.ndarray, " units"] | None = None


class Products:
    """Adds products to a graph; an activation that several matrices read is quantised once."""

    def __init__(self, nodes: Nodes, form: Form):
        """Nothing is added yet."""
        self._nodes, self._form = nodes, form
        self._narrow: dict[str, _Narrow] = {}

    def dense(
        self,
        source: str,
        kernel: Float[np.ndarray, "inputs outputs"],
        bias: Float[np.ndarray, " outputs"],
        name: str,
        weights: Weights | None = None,
    ) -> str:
        """Add `source @ kernel + bias`; `weights` overrides the form's."""
        form = self._form
        kind = weights or (form.wide_as if name.startswith(form.wide) else form.weights)
        if kind == "q8":
            return self._in_blocks(source, kernel, bias, name)
        nodes = self._nodes
        if kind in ("int8", "int4"):
            found = self._in_columns(source, kernel, name, kind)
        else:
            found = nodes.add(
                "MatMul", [source, self._stored(kernel, name, kind)], f"{name}.product"
            )
        return nodes.add("Add", [found, nodes.constant(f"{name}.bias", bias)], name)

    def words(self, table: Float[np.ndarray, "pieces hidden"], ids: str) -> str:
        """Add the rows of the word table."""
        nodes, form = self._nodes, self._form
        if form.words == "fp32":
            return nodes.add("Gather", [nodes.constant("word.weight", table), ids], "word")
        if form.words == "fp16":
            halves = nodes.constant("word.weight", table.astype(np.float16))
            found = nodes.add("Gather", [halves, ids], "word.rows")
            return nodes.cast(found, "word", TensorProto.FLOAT)
        if form.words == "int4":
            return self._unpacked_words(table, ids)
        rows = quantize.columns(np.ascontiguousarray(table.T))
        steps = nodes.constant("word.weight", rows.steps.T)
        scale = nodes.constant("word.scale", rows.scale[:, None])
        found = nodes.cast(
            nodes.add("Gather", [steps, ids], "word.rows"), "word.steps", TensorProto.FLOAT
        )
        return nodes.add("Mul", [found, nodes.add("Gather", [scale, ids], "word.scales")], "word")

    def positions(self, table: Float[np.ndarray, "positions hidden"], at: str) -> str:
        """Add rows of the position table."""
        nodes = self._nodes
        if self._form.words == "fp32":
            return nodes.add("Gather", [nodes.constant("position.weight", table), at], "position")
        halves = nodes.constant("position.weight", table.astype(np.float16))
        found = nodes.add("Gather", [halves, at], "position.rows")
        return nodes.cast(found, "position", TensorProto.FLOAT)

    def _stored(self, kernel: np.ndarray, name: str, kind: Weights) -> str:
        if kind == "fp32":
            return self._nodes.constant(f"{name}.weight", kernel)
        halves = self._nodes.constant(f"{name}.halves", kernel.astype(np.float16))
        return self._nodes.cast(halves, f"{name}.weight", TensorProto.FLOAT)

    def _in_blocks(self, source: str, kernel: np.ndarray, bias: np.ndarray, name: str) -> str:
        steps, scale = quantize.blocks(kernel)
        arrays = {"weight": steps, "scale": scale, "bias": bias}
        weight, scales, biases = (
            self._nodes.constant(f"{name}.{part}", value) for part, value in arrays.items()
        )
        return self._nodes.add(
            "MatMulNBits",
            [source, weight, scales, "", "", biases],
            name,
            MICROSOFT,
            K=kernel.shape[0],
            N=kernel.shape[1],
            bits=8,
            block_size=BLOCK,
            accuracy_level=_EIGHT_BIT_INPUTS,
        )

    def _in_columns(self, source: str, kernel: np.ndarray, name: str, kind: Weights) -> str:
        """Without the bias. ONNX Runtime makes one operator of these when a session loads."""
        nodes = self._nodes
        if source not in self._narrow:
            self._narrow[source] = self._quantized(source, len(kernel))
        narrow = self._narrow[source]
        times = np.ones((1, 1), np.float32)
        if (outlying := self._form.outlying.get(source)) and not self._apart(outlying):
            times = _times(outlying, len(kernel))[:, None]
        if kind == "int4":
            weight, scale = self._unpacked_kernel(source, kernel, times, name)
        else:
            steps, scale = quantize.columns(kernel * times, self._form.steps)
            weight = nodes.constant(f"{name}.weight", steps)
        product = nodes.add("MatMulInteger", [narrow.steps, weight, narrow.zero], f"{name}.steps")
        product = nodes.cast(product, f"{name}.float", TensorProto.FLOAT)
        scales = [narrow.scale, nodes.constant(f"{name}.scale", scale)]
        factor = nodes.add("Mul", scales, f"{name}.factor")
        product = nodes.add("Mul", [product, factor], f"{name}.product")
        if narrow.beyond is None:
            return product
        apart = nodes.constant(f"{name}.outlying", kernel[narrow.units])
        beyond = nodes.add("MatMul", [narrow.beyond, apart], f"{name}.beyond")
        return nodes.add("Add", [product, beyond], f"{name}.whole")

    def _unpacked_kernel(
        self, source: str, kernel: np.ndarray, times: np.ndarray, name: str
    ) -> tuple[str, Float32[np.ndarray, " outputs"]]:
        """A matrix in int8 out of one in four bits, and its scales.

        Nothing here depends on what a session is asked, so ONNX Runtime does it when it loads. It
        keeps all that comes between until then: few of these, and most in one byte.
        """
        nodes, (inputs, outputs), size = self._nodes, kernel.shape, gptq.BLOCK
        found = gptq.rounded(kernel, self._form.grams.get(source))
        scale = quantize.columns(found.kernel() * times, self._form.steps).scale
        more = ((0, -inputs % size), (0, 0))
        steps = np.pad(found.steps, more).reshape(-1, size, outputs)
        halves = nodes.constant(f"{name}.nibbles", quantize.packed(*np.split(steps, 2, axis=1)))
        # Each in the upper half of a byte, whose sign is then its own: 16 times the step
        four, upper = (nodes.constant(f"byte{value}", np.uint8(value)) for value in (4, 240))
        low = nodes.add("BitShift", [halves, four], f"{name}.low", direction="LEFT")
        high = nodes.add("BitwiseAnd", [halves, upper], f"{name}.high")
        both = nodes.add("Concat", [low, high], f"{name}.both", axis=1)
        both = nodes.cast(both, f"{name}.signed", TensorProto.INT8)
        wide = nodes.cast(both, f"{name}.unscaled", TensorProto.FLOAT)
        scales = nodes.constant(f"{name}.blocks", found.scale[:, None])
        scales = nodes.cast(scales, f"{name}.blocks_wide", TensorProto.FLOAT)
        share = nodes.constant(f"{name}.share", found.unit / scale / 16)
        wide = nodes.add(
            "Mul", [wide, nodes.add("Mul", [scales, share], f"{name}.shares")], f"{name}.wide"
        )
        if times.size > 1:
            even = nodes.constant(f"{name}.times", np.pad(times, more).reshape(-1, size, 1))
            wide = nodes.add("Mul", [wide, even], f"{name}.even")
        whole = [nodes.constant("one", np.float32(1)), nodes.constant("none", np.int8(0))]
        narrow = nodes.add("QuantizeLinear", [wide, *whole], f"{name}.eight")
        shape = nodes.constant(f"rows{outputs}", np.array([-1, outputs]))
        if not inputs % size:
            return nodes.add("Reshape", [narrow, shape], f"{name}.weight"), scale
        narrow = nodes.add("Reshape", [narrow, shape], f"{name}.filled")
        ends = [nodes.constant(f"at{place}", np.array([place])) for place in (0, inputs)]
        return nodes.add("Slice", [narrow, *ends], f"{name}.weight"), scale

    def _unpacked_words(self, table: np.ndarray, ids: str) -> str:
        """Rows out of a table in four bits: each byte's two steps are looked up."""
        nodes, found = self._nodes, quantize.rows(table)
        pieces, blocks, size = found.steps.shape
        bytes_of = quantize.packed(found.steps[..., ::2], found.steps[..., 1::2])
        halves = nodes.constant("word.nibbles", bytes_of.reshape(pieces, -1))
        halves = nodes.add("Gather", [halves, ids], "word.halves")
        halves = nodes.cast(halves, "word.places", TensorProto.INT32)
        byte = np.arange(256)
        pairs = (np.stack([byte & 15, byte >> 4], axis=1) + 8) % 16 - 8
        pairs = pairs.astype(np.float32)
        steps = nodes.add("Gather", [nodes.constant("pairs", pairs), halves], "word.pairs")
        shape = nodes.constant("in_blocks", np.array([0, 0, blocks, size]))
        steps = nodes.add("Reshape", [steps, shape], "word.steps")
        scales = nodes.constant("word.blocks", found.scale[..., None])
        scales = nodes.add("Gather", [scales, ids], "word.scales")
        scales = nodes.cast(scales, "word.scales_wide", TensorProto.FLOAT)
        rows = nodes.add("Mul", [steps, scales], "word.blocks_of")
        shape = nodes.constant("in_rows", np.array([0, 0, blocks * size]))
        rows = nodes.add("Reshape", [rows, shape], "word.rows")
        if (width := table.shape[1]) == blocks * size:
            return rows
        ends = [nodes.constant(f"at{place}", np.array([place])) for place in (0, width, -1)]
        return nodes.add("Slice", [rows, *ends], "word")

    def _quantized(self, source: str, width: int) -> _Narrow:
        """An activation with one scale for all of it, which adapts to every batch.

        With outlying units y = Q(t W) Q(x / t), where t is how many times the limit each goes, or
        apart y = Q(W) Q(clip(x)) + W[units] (x - clip(x))[units].
        """
        nodes = self._nodes
        outlying = self._form.outlying.get(source)
        parts = [f"{source}.{part}" for part in ("narrow", "narrow_scale", "narrow_zero")]
        if outlying is None or not self._apart(outlying):
            if outlying is not None:
                share = nodes.constant(f"{source}.share", 1 / _times(outlying, width))
                source = nodes.add("Mul", [source, share], f"{source}.even")
            steps, scale, zero = nodes.several("DynamicQuantizeLinear", [source], parts)
            return _Narrow(steps, scale, zero)
        ends = [
            nodes.constant(f"{source}.{end}", np.float32(sign * outlying.limit))
            for end, sign in (("low", -1), ("high", 1))
        ]
        inside = nodes.add("Clip", [source, *ends], f"{source}.inside")
        at = nodes.constant(f"{source}.units", np.asarray(outlying.units, np.int64))
        few = nodes.add("Gather", [source, at], f"{source}.few", axis=-1)
        # Shrink is what Clip takes away
        taken: dict[str, Any] = {"lambd": outlying.limit, "bias": outlying.limit}
        beyond = nodes.add("Shrink", [few], f"{source}.beyond", **taken)
        steps, scale, zero = nodes.several("DynamicQuantizeLinear", [inside], parts)
        return _Narrow(steps, scale, zero, beyond, outlying.units)

    def _apart(self, outlying: Outlying) -> bool:
        return self._form.apart or outlying.far


def _times(outlying: Outlying, width: int) -> Float32[np.ndarray, " width"]:
    """How many times the limit each unit of an activation goes; 1 where it stays within."""
    times = np.ones(width, np.float32)
    times[outlying.units] = np.maximum(1, outlying.largest / outlying.limit)
    return times
