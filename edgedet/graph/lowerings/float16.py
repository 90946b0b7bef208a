"""Typed in float16: from TensorRT 11 on a graph's types alone say what it computes in.

Inputs and outputs stay float32, and so does what `float32_nodes` finds; casts lie where the two meet. A quantizer has
the type of what it reads and a dequantizer that of what reads it, so no cast comes between a convolution and either.

A step becomes the nearest float16 number: it changes by one part in 2048 at most, which moves the end of a grid by a
sixteenth of a step. That is the only change: the integers of the weights are the master's.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import ModelProto, version_converter

from edgedet.graph.lowerings.editing import (
    array_of,
    drop_unused_initializers,
    initializer,
    input_of,
    is_of_weight,
    quantizers,
)
from edgedet.graph.lowerings.float32_nodes import Ranges, float32_nodes
from edgedet.models.quantized.codes import HIGHEST, LOWEST

QUANTIZERS_OPSET, QUANTIZERS_IR_VERSION = 19, 9
"""The oldest in which QuantizeLinear and DequantizeLinear take float16, and its file format."""

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def to_float16(model: ModelProto, ranges: Ranges) -> ModelProto:
    """The graph in float16, as far as it is safe; the one given is left as it is.

    Args:
        model: float32, with symmetric int8 quantizers (then of opset 19 afterwards) or without.
        ranges: see `edgedet.graph.lowerings.float32_nodes.Ranges`; `edgedet.graph.scan` measures them.

    Raises:
        KeyError: a float tensor of the graph has no range.
    """
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        model = version_converter.convert_version(model, QUANTIZERS_OPSET)
        model.ir_version = QUANTIZERS_IR_VERSION
    lowered = ir.from_proto(model)
    graph = lowered.graph
    float32 = float32_nodes(graph, ranges)
    _type_quantizers(graph, float32)
    for quantizer in quantizers(graph):
        if quantizer not in float32 and is_of_weight(quantizer):
            _put_weights_on_float16(graph, quantizer)
    _retype(graph, float32)
    drop_unused_initializers(graph)
    _restore_names(graph)
    return ir.to_proto(lowered)


def _type_quantizers(graph: ir.Graph, float32: set[ir.Node]) -> None:
    """Adds to `float32` the dequantizers that only such nodes read, and the quantizers of weights before them.

    What both kinds read gets a dequantizer for each.
    """
    for dequantizer in [node for node in graph if node.op_type == "DequantizeLinear"]:
        float32.discard(dequantizer)
        uses = dequantizer.outputs[0].uses()
        of_float32 = [use for use in uses if use.node in float32]
        if not of_float32:
            continue
        quantizer = input_of(dequantizer, 0).producer()
        if quantizer is not None and is_of_weight(quantizer):
            float32.add(quantizer)
        own = dequantizer
        if len(of_float32) < len(uses):
            own = _twin(graph, dequantizer)
            for node, position in of_float32:
                node.replace_input_with(position, own.outputs[0])
        float32.add(own)


def _twin(graph: ir.Graph, node: ir.Node) -> ir.Node:
    """Another node that does the same."""
    twin = ir.node(node.op_type, node.inputs, attributes=dict(node.attributes), name=f"{node.name}/float32")
    old, new = node.outputs[0], twin.outputs[0]
    new.name, new.type, new.shape = f"{old.name}/float32", old.type, old.shape
    graph.insert_after(node, twin)
    return twin


def _put_weights_on_float16(graph: ir.Graph, quantizer: ir.Node) -> None:
    """Keeps the master's integers and rounds the scale: rounded anew on other steps, some would become others."""
    weight, scale = input_of(quantizer, 0), input_of(quantizer, 1)
    axes = (-1, *[1] * (array_of(weight).ndim - 1))
    codes = np.clip(np.rint(array_of(weight) / array_of(scale).reshape(axes)), LOWEST, HIGHEST)
    steps = array_of(scale).astype(np.float16)
    values = (codes * steps.astype(np.float32).reshape(axes)).astype(np.float16).astype(np.float32)
    if len(weight.uses()) == 1:
        weight.const_value = ir.tensor(values, name=weight.name)
    else:
        quantizer.replace_input_with(0, initializer(graph, f"{quantizer.name}/weight", values))


def _retype(graph: ir.Graph, float32: set[ir.Node]) -> None:
    """Gives every float tensor the type of the node that computes it, and casts it for readers of the other."""
    others = _Others(graph)
    for node in list(graph):
        dtype = ir.DataType.FLOAT if node in float32 else ir.DataType.FLOAT16
        for position in _typed_inputs(node, graph.opset_imports[""]):
            node.replace_input_with(position, others.as_type(input_of(node, position), dtype))
        for value in node.outputs:
            if value.dtype in FLOATS:
                value.type = ir.TensorType(dtype)
    for position, value in enumerate(graph.outputs):
        if value.dtype == ir.DataType.FLOAT16:
            name, value.name = value.name, f"{value.name}/float16"
            graph.outputs[position] = others.as_type(value, ir.DataType.FLOAT)
            graph.outputs[position].name = name


def _typed_inputs(node: ir.Node, opset: int) -> list[int]:
    """The float inputs whose type follows the node's: all but those that ONNX fixes, as the scales of Resize."""
    formals = onnx.defs.get_schema(node.op_type, opset, node.domain).inputs
    return [
        position
        for position, value in enumerate(node.inputs)
        if value is not None
        and value.dtype in FLOATS
        and not formals[min(position, len(formals) - 1)].type_str.startswith("tensor(")
    ]


class _Others:
    """Tensors in the other float type: one constant or one cast for each."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._made: dict[ir.Value, ir.Value] = {}

    def as_type(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """The tensor in `dtype`: itself if it has that type."""
        if value.dtype == dtype:
            return value
        if value not in self._made:
            self._made[value] = self._constant(value, dtype) if value.is_initializer() else self._cast(value, dtype)
        return self._made[value]

    def _constant(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        return initializer(self._graph, _renamed(value, dtype), array_of(value).astype(dtype.numpy()))

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        name = _renamed(value, dtype)
        cast = ir.node("Cast", [value], attributes={"to": dtype}, name=f"{name}/Cast")
        result = cast.outputs[0]
        result.name, result.type, result.shape = name, ir.TensorType(dtype), value.shape
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph[0], cast)
        else:
            self._graph.insert_after(producer, cast)
        return result


def _renamed(value: ir.Value, dtype: ir.DataType) -> str:
    return f"{value.name}/{'float16' if dtype == ir.DataType.FLOAT16 else 'float32'}"


def _restore_names(graph: ir.Graph) -> None:
    """Constants that are there in float16 alone take their names back."""
    for name, value in list(graph.initializers.items()):
        plain = name.removesuffix("/float16")
        if plain != name and plain not in graph.initializers:
            value.name = plain
