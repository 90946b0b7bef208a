"""What lowerings do to a graph's quantizers."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[Any]


def input_of(node: ir.Node, position: int) -> ir.Value:
    """An input that is there."""
    value = node.inputs[position]
    assert value is not None
    return value


def array_of(value: ir.Value) -> Array:
    """A constant's numbers."""
    assert value.const_value is not None
    return value.const_value.numpy()


def producer_of(value: ir.Value) -> ir.Node:
    """The node that gives a value."""
    node = value.producer()
    assert node is not None
    return node


def sizes_of(value: ir.Value) -> tuple[int, ...]:
    """All sizes but that of the batch, which may be free."""
    assert value.shape is not None
    sizes = value.shape[1:]
    assert all(isinstance(size, int) for size in sizes), value.name
    return tuple(size for size in sizes if isinstance(size, int))


def quantizers(graph: ir.Graph) -> list[ir.Node]:
    """The QuantizeLinear nodes of activations and weights."""
    return [node for node in graph if node.op_type == "QuantizeLinear"]


def is_of_weight(quantizer: ir.Node) -> bool:
    """Whether a constant is quantized."""
    return input_of(quantizer, 0).is_initializer()


def dequantizer_of(quantizer: ir.Node) -> ir.Node:
    """The one node that reads a quantizer."""
    (use,) = quantizer.outputs[0].uses()
    return use.node


def drop(graph: ir.Graph, quantizer: ir.Node) -> None:
    """Removes a quantizer with its dequantizer: their readers read what was quantized."""
    dequantizer = dequantizer_of(quantizer)
    ir.convenience.replace_all_uses_with(dequantizer.outputs[0], input_of(quantizer, 0))
    graph.remove([dequantizer, quantizer], safe=True)


def drop_unused_initializers(graph: ir.Graph) -> None:
    """Removes the constants that nobody reads any more."""
    for name in [name for name, value in graph.initializers.items() if not value.uses()]:
        del graph.initializers[name]


def initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """A new constant; its name must not be taken."""
    assert name not in graph.initializers, name
    value = ir.Value(
        name=name,
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        shape=ir.Shape(array.shape),
        const_value=ir.tensor(array, name=name),
    )
    graph.register_initializer(value)
    return value


def insert(graph: ir.Graph, before: ir.Node, node: ir.Node, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
    """Puts a new node of one output before another one.

    Returns:
        its output, named by the node.
    """
    output = node.outputs[0]
    output.name, output.type = f"{node.name}_output", ir.TensorType(dtype)
    graph.insert_before(before, node)
    return output
