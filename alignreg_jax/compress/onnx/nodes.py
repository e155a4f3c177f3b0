"""Nodes and constants of an ONNX graph as they are added."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
"""Domain of the operators that ONNX Runtime alone has."""


class Nodes:
    """What a graph is made of.

    Attributes:
        nodes: in the order in which they compute.
        constants: their arrays.
    """

    def __init__(self):
        """An empty graph."""
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._known: set[str] = set()

    def constant(self, name: str, value: Any) -> str:
        """Add an array under a name, once; returns the name."""
        if name not in self._known:
            self._known.add(name)
            # Not ascontiguousarray: that makes an array of a number
            self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def add(
        self, kind: str, inputs: Sequence[str], name: str, domain: str = "", **attributes: Any
    ) -> str:
        """Add a node of one output; returns the output's name, which is the node's."""
        return self.several(kind, inputs, [name], domain, **attributes)[0]

    def several(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        domain: str = "",
        **attributes: Any,
    ) -> list[str]:
        """Add a node; returns the names of its outputs, the first of which is the node's."""
        node = helper.make_node(
            kind, list(inputs), list(outputs), name=outputs[0], domain=domain, **attributes
        )
        self.nodes.append(node)
        return list(outputs)

    def cast(self, value: str, name: str, kind: int) -> str:
        """Add a conversion to one of `TensorProto`'s types."""
        return self.add("Cast", [value], name, to=kind)
