"""A graph with quantizers, and how rules look into it."""

from __future__ import annotations

import onnx_ir as ir

from edgedet.graph.comparison.points import constants_of
from edgedet.graph.integer_kernels import PRODUCTS
from edgedet.graph.lowerings.editing import Array, input_of, producer_of

ACTIVATIONS = frozenset({"Relu", "Clip"})
"""What integer kernels do along with a convolution or an addition."""

MOVES = frozenset({"MaxPool", "Split", "Slice", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Gather"})
"""Operators that pick values: integers go through them as they are."""


class QuantizedGraph:
    """A graph whose nodes are listed once.

    Attributes:
        nodes: in the order of computation.
        constant: values that do not depend on the network's input.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.nodes = list(graph)
        self.constant = constants_of(graph)

    def data(self, node: ir.Node) -> list[ir.Value]:
        """The inputs of a node that depend on the network's input."""
        return [value for value in node.inputs if value is not None and value not in self.constant]

    def computes(self, node: ir.Node) -> bool:
        """Whether a node computes of the network's input, in float."""
        return node.op_type not in ("QuantizeLinear", "DequantizeLinear") and bool(self.data(node))

    def quantized_products(self) -> list[ir.Node]:
        """The convolutions and matrix products that read integers, picked ones too, and have integer weights."""
        return [node for node in self.nodes if node.op_type in PRODUCTS and all(map(holds_integers, node.inputs[:2]))]


def is_dequantized(value: ir.Value | None) -> bool:
    """Whether a value was made of integers."""
    return value is not None and (node := value.producer()) is not None and node.op_type == "DequantizeLinear"


def holds_integers(value: ir.Value | None) -> bool:
    """Whether a value was made of integers, or picked from such."""
    return is_dequantized(_before_moves(value))


def dequantizer_behind(value: ir.Value) -> ir.Node:
    """Of a value for which `holds_integers`."""
    picked_from = _before_moves(value)
    assert picked_from is not None
    return producer_of(picked_from)


def _before_moves(value: ir.Value | None) -> ir.Value | None:
    while value is not None and (node := value.producer()) is not None and node.op_type in MOVES:
        value = node.inputs[0]
    return value


def readers(value: ir.Value) -> list[ir.Node]:
    """The nodes that read a value."""
    return [use.node for use in value.uses()]


def is_rounded(value: ir.Value) -> bool:
    """Whether quantizers alone read a value, if need be behind one activation."""
    if (activation := activation_of(value)) is not None:
        value = activation.outputs[0]
    nodes = readers(value)
    return bool(nodes) and not value.is_graph_output() and all(node.op_type == "QuantizeLinear" for node in nodes)


def activation_of(value: ir.Value) -> ir.Node | None:
    """The activation that alone reads a value."""
    nodes = readers(value)
    alone = len(nodes) == 1 and nodes[0].op_type in ACTIVATIONS and not value.is_graph_output()
    return nodes[0] if alone else None


def grid_constants(node: ir.Node) -> tuple[Array, Array] | None:
    """Scale and zero point of a quantizer or dequantizer; None where they are computed when running."""
    zero_point = node.inputs[2] if len(node.inputs) > 2 else None
    scale = input_of(node, 1).const_value
    zeros = scale if zero_point is None else zero_point.const_value
    if scale is None or zeros is None:
        return None
    steps: Array = scale.numpy()
    return steps, 0 * steps if zero_point is None else zeros.numpy()


def label(node: ir.Node) -> str:
    """A node's name, or where it has none what it gives."""
    return node.name or f"{node.op_type} of {node.outputs[0].name}"
