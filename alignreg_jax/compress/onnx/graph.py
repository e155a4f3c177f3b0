"""A model as an ONNX graph, written from its parameters: no tracing, no PyTorch.

What no config.json can say the graph says by its shapes: layers of different numbers of heads and
feed-forward units. Inputs are `input_ids` and `attention_mask`, int64 `[batch, length]`; the output
is `logits`, `[batch, labels]` or of words `[batch, length, labels]`; of a model without a head
`last_hidden_state`, `[batch, length, hidden]`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnx
from jaxtyping import Float
from onnx import ModelProto, TensorProto, helper

from alignreg_jax.compress.agreement import Network
from alignreg_jax.compress.onnx.nodes import MICROSOFT, Nodes
from alignreg_jax.compress.onnx.products import Form, Products
from alignreg_jax.models.architecture import LayerSizes
from alignreg_jax.support.progress import progress

OPSET, FUSED_OPSET = 20, 23
_FORMATS = {OPSET: 9, FUSED_OPSET: 11}  # the oldest that the opset allows: fewer read newer ones
_LARGEST = 2**31 - 2**24  # bytes of a file in protobuf's format; beyond them weights lie beside it
HIDDEN = "last_hidden_state"
_LOWEST = np.float32(np.finfo(np.float32).min)


def write(path: Path, network: Network, form: Form = Form()) -> None:  # noqa: B008 (frozen)
    """Write a graph, checked; weights of 2 GiB and more go into a file beside it."""
    model = build(network, form)
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) < _LARGEST:
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(path))
        return
    beside = f"{path.name}_data"
    path.with_name(beside).unlink(missing_ok=True)  # onnx would write behind what is there
    onnx.save(model, str(path), save_as_external_data=True, location=beside)
    onnx.checker.check_model(str(path), full_check=True)


def files(path: Path) -> list[Path]:
    """The file of a graph, and that of weights beside it if there is one."""
    beside = path.with_name(f"{path.name}_data")
    return [path, beside] if beside.exists() else [path]


def size(path: Path) -> int:
    """Bytes of a graph and its weights."""
    return sum(file.stat().st_size for file in files(path))


def build(network: Network, form: Form = Form()) -> ModelProto:  # noqa: B008 (frozen)
    """Build the graph of a model.

    Args:
        network: the model, with a head or without; layers may be uneven.
        form: how it stores and computes.
    """
    return _Builder(network, form).build()


class _Builder:
    """The graph, piece by piece."""

    def __init__(self, network: Network, form: Form):
        self._network, self._form = network, form
        self._config = network.config
        self._nodes = Nodes()
        self._products = Products(self._nodes, form)
        self._square: str | None = None

    def build(self) -> ModelProto:
        config, head = self._config, self._network.head
        of_all = head in ("token", None)  # pieces, not of the first one alone
        hidden, mask = self._embed(), self._mask()
        # A large matrix takes seconds to round to four bits
        with progress(config.num_layers, "layers of the graph", "layers", delay=2.0) as bar:
            for index, sizes in enumerate(config.layers):
                last = index == config.num_layers - 1
                first = last and not (of_all or self._form.whole)
                hidden = self._layer(hidden, mask, index, sizes, first)
                bar.update(1)
        nodes = self._nodes
        if not of_all:
            hidden = nodes.add(
                "Gather", [hidden, nodes.constant("zero", np.int64(0))], "first", axis=1
            )
        shape: list[Any] = ["batch", "length"]
        info = helper.make_tensor_value_info
        if head is None:
            nodes.add("Identity", [hidden], HIDDEN)
            output = info(HIDDEN, TensorProto.FLOAT, [*shape, config.hidden_size])
        else:
            labels = self._head(hidden)
            lead = shape if of_all else shape[:1]
            output = info("logits", TensorProto.FLOAT, [*lead, labels])
        graph = helper.make_graph(
            nodes.nodes,
            "xlm-roberta",
            [info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")],
            [output],
            nodes.constants,
        )
        opset = FUSED_OPSET if self._form.fused else OPSET
        domains = [helper.make_opsetid("", opset)]
        if any(node.domain == MICROSOFT for node in nodes.nodes):
            domains.append(helper.make_opsetid(MICROSOFT, 1))
        return helper.make_model(
            graph,
            opset_imports=domains,
            producer_name="alignreg_jax",
            ir_version=_FORMATS[opset],
        )

    def _embed(self) -> str:
        config = self._config
        tables = self._network.params["embeddings"]
        word, position, kind = (
            np.asarray(tables[name]["embedding"], np.float32)
            for name in ("word", "position", "token_type")
        )
        at = self._places() if config.family == "bert" else self._counted_places()
        ids, at = (self._first_for_padding(each) for each in ("input_ids", at))
        # Every piece is of the first type
        parts = [self._products.words(word, ids), self._products.positions(position + kind[0], at)]
        return self._norm(parts, tables["layer_norm"], "embedding_norm")

    def _first_for_padding(self, values: str) -> str:
        """What the first piece has, at every place that is not attended to.

        Such a place then computes what the first piece does, in every layer, and nobody reads it:
        left as it is, it would have a say in the scales of eight-bit activations.
        """
        nodes = self._nodes
        there = nodes.cast("attention_mask", f"{values}.there", TensorProto.BOOL)
        zero, one = (nodes.constant(f"at{place}", np.array([place])) for place in (0, 1))
        first = nodes.add("Slice", [values, zero, one, one], f"{values}.first")
        return nodes.add("Where", [there, values, first], f"{values}.filled")

    def _places(self) -> str:
        """Positions of the family of BERT, `[1, length]`: one after the other."""
        nodes, first = self._nodes, self._config.unused_positions
        length = nodes.add("Shape", ["input_ids"], "length", start=1, end=2)
        length = nodes.add("Squeeze", [length], "pieces")
        ends = [nodes.constant("first_position", np.int64(first)), length]
        end = nodes.add("Add", ends, "positions_end")
        row = nodes.add("Range", [ends[0], end, nodes.constant("step", np.int64(1))], "places")
        return nodes.add("Unsqueeze", [row, nodes.constant("at0", np.array([0]))], "positions")

    def _counted_places(self) -> str:
        """Positions of XLM-R, `[batch, length]`: counted by the id, whatever the mask says."""
        nodes = self._nodes
        pad = nodes.constant("pad", np.int64(self._config.pad_token_id))
        counted = nodes.add("Not", [nodes.add("Equal", ["input_ids", pad], "is_pad")], "counted")
        counted = nodes.cast(counted, "counts", TensorProto.INT64)
        count = nodes.add("CumSum", [counted, nodes.constant("axis", np.int64(1))], "sum")
        return nodes.add("Add", [nodes.add("Mul", [count, counted], "count"), pad], "positions")

    def _mask(self) -> str:
        """What is added to scores of attention; of the fused operator who may be attended to."""
        nodes = self._nodes
        axes = nodes.constant("axes", np.array([1, 2]))
        mask = nodes.add("Unsqueeze", ["attention_mask", axes], "attended")
        if self._form.fused:
            return nodes.cast(mask, "mask", TensorProto.BOOL)
        there = nodes.cast(mask, "there", TensorProto.FLOAT)
        absent = nodes.add("Sub", [nodes.constant("one", np.float32(1)), there], "absent")
        return nodes.add("Mul", [absent, nodes.constant("lowest", _LOWEST)], "mask")

    def _layer(self, hidden: str, mask: str, index: int, sizes: LayerSizes, first: bool) -> str:
        """Of one layer what all tokens need, or only the first one."""
        nodes, params, name = self._nodes, self._params(index), f"layer{index}"
        source = hidden
        if first:
            zero, one = (nodes.constant(f"at{place}", np.array([place])) for place in (0, 1))
            hidden = nodes.add("Slice", [hidden, zero, one, one], f"{name}.first")
        attention, part = params["attention"], f"{name}.attention"
        output = attention["output"]
        if sizes.heads:
            context = self._attend(hidden, source, mask, attention, part, sizes)
            added = self._dense(context, output, f"{part}.output")
        else:
            added = nodes.constant(f"{part}.output.bias", output["bias"])
        hidden = self._norm([added, hidden], attention["layer_norm"], f"{part}.norm")
        output, part = params["output"], f"{name}.ffn"
        if sizes.ffn:
            inner = self._dense(hidden, params["intermediate"], f"{part}.inner")
            inner = nodes.add("Gelu", [inner], f"{part}.gelu")
            added = self._dense(inner, output, f"{part}.output")
        else:
            added = nodes.constant(f"{part}.output.bias", output["bias"])
        return self._norm([added, hidden], params["layer_norm"], f"{part}.norm")

    def _attend(
        self, asking: str, source: str, mask: str, params: Mapping[str, Any], name: str,
        sizes: LayerSizes,
    ) -> str:  # fmt: skip
        nodes, (heads, size, _) = self._nodes, sizes
        query, key, value = self._projected(asking, source, params, name)
        if self._form.fused:
            seen = mask if asking != source else self._squared(mask)
            counts: dict[str, Any] = {"q_num_heads": heads, "kv_num_heads": heads}
            return nodes.add("Attention", [query, key, value, seen], f"{name}.context", **counts)
        apart = nodes.constant(f"apart{heads}", np.array([0, 0, heads, size]))

        def by_head(projected: str, order: list[int]) -> str:
            split = nodes.add("Reshape", [projected, apart], f"{projected}.heads")
            return nodes.add("Transpose", [split], f"{projected}.by_head", perm=order)

        keys = by_head(key, [0, 2, 3, 1])
        scores = nodes.add("MatMul", [by_head(query, [0, 2, 1, 3]), keys], f"{name}.products")
        root = nodes.constant(f"root{size}", np.float32(size**0.5))
        scores = nodes.add("Div", [scores, root], f"{name}.scores")
        scores = nodes.add("Add", [scores, mask], f"{name}.masked")
        share = nodes.add("Softmax", [scores], f"{name}.share", axis=-1)
        found = nodes.add("MatMul", [share, by_head(value, [0, 2, 1, 3])], f"{name}.found")
        found = nodes.add("Transpose", [found], f"{name}.joined", perm=[0, 2, 1, 3])
        together = nodes.constant(f"together{heads}", np.array([0, 0, heads * size]))
        return nodes.add("Reshape", [found, together], f"{name}.context")

    def _projected(
        self, asking: str, source: str, params: Mapping[str, Any], name: str
    ) -> list[str]:
        """Query, key and value: one product where all are of the same tokens, which is faster."""
        names = {part: f"{name}.{part}" for part in ("query", "key", "value")}
        if asking != source:
            read = (asking, source, source)
            return [
                self._dense(each, params[part], names[part])
                for each, part in zip(read, names, strict=True)
            ]
        together = {
            leaf: np.concatenate([params[part][leaf] for part in names], axis=-1)
            for leaf in ("kernel", "bias")
        }
        whole = self._dense(source, together, f"{name}.projected")
        parts = list(names.values())
        return self._nodes.several("Split", [whole], parts, axis=-1, num_outputs=len(parts))

    def _squared(self, mask: str) -> str:
        """The mask with a row for every query; ONNX Runtime 1.32 takes no other of Attention."""
        if self._square is None:
            nodes = self._nodes
            length = nodes.add("Shape", ["input_ids"], "columns", start=1, end=2)
            one, ones = (
                nodes.constant("at1", np.array([1])),
                nodes.constant("ones", np.array([1, 1])),
            )
            shape = nodes.add("Concat", [ones, length, one], "rows", axis=0)
            self._square = nodes.add("Expand", [mask, shape], "mask.squared")
        return self._square

    def _head(self, hidden: str) -> int:
        """Add the head; returns how many labels it has."""
        nodes, params, kind = self._nodes, self._network.params["head"], self._network.head
        weights = "fp32" if self._form.weights == "fp32" else "fp16"  # it says the answer
        if kind in ("dense-tanh-out", "label-words"):
            act = "Tanh" if kind == "dense-tanh-out" else "Gelu"
            hidden = self._dense(hidden, params["dense"], "head.dense", weights)
            hidden = nodes.add(act, [hidden], "head.act")
        if kind == "label-words":
            hidden = self._norm([hidden], params["layer_norm"], "head.norm")
        self._dense(hidden, params["out"], "logits", weights)
        return int(np.shape(params["out"]["bias"])[0])

    def _norm(self, parts: list[str], params: Mapping[str, Any], name: str) -> str:
        """LayerNorm of a sum.

        Sum, not Add: of Add and LayerNormalization ONNX Runtime makes its SkipLayerNormalization
        when a session loads, which takes a quarter of an int8 model's time on a CPU.
        """
        nodes = self._nodes
        inputs = [
            nodes.constant(f"{name}.{part}", np.asarray(params[part], np.float32))
            for part in ("scale", "bias")
        ]
        whole = parts[0] if len(parts) == 1 else nodes.add("Sum", parts, f"{name}.sum")
        epsilon = self._config.layer_norm_eps
        return nodes.add("LayerNormalization", [whole, *inputs], name, axis=-1, epsilon=epsilon)

    def _dense(self, source: str, params: Mapping[str, Any], name: str, weights: Any = None) -> str:
        kernel, bias = (np.asarray(params[part], np.float32) for part in ("kernel", "bias"))
        return self._products.dense(source, kernel, bias, name, weights)

    def _params(self, index: int) -> Mapping[str, Any]:
        encoder = self._network.params["encoder"]
        if not self._config.stacked:
            return jax.tree.map(_float32, dict(encoder[str(index)]))
        return jax.tree.map(lambda leaf: _float32(leaf[index]), dict(encoder))


def _float32(leaf: Any) -> Float[np.ndarray, "..."]:
    return np.asarray(leaf, np.float32)
