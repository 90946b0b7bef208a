"""Gated convolutions between quantizers, as edgedet's operator that takes and gives bytes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgedet.graph.lowerings.editing import array_of, initializer, input_of
from edgedet.graph.lowerings.shared_grids import same_step
from edgedet.models.quantized.codes import HIGHEST, HIGHEST_UNSIGNED, LOWEST
from edgedet.ops.gated_conv.body import DOMAIN, OP_TYPE, QUANTIZED_OP_TYPE, quantized_body

CODES_OF_ZERO_POINT = {0: (0, HIGHEST_UNSIGNED), -LOWEST: (LOWEST, HIGHEST)}
"""The codes, lowest and highest, that bytes of a zero point are."""


def gate_bytes(model: ir.Model) -> None:
    """Lets gated convolutions read and give the integers on both sides of them.

    Those stay float whose codes are not those of the bytes, or whose result goes elsewhere than into one quantizer.
    """
    graph = model.graph
    found = [
        (node, dequantizer, quantizer)
        for node in graph
        if node.domain == DOMAIN and node.op_type == OP_TYPE
        if (dequantizer := _dequantizer_before(node)) is not None
        if (quantizer := _quantizer_behind(node)) is not None
    ]
    for node, dequantizer, quantizer in found:
        _take_bytes(graph, node, dequantizer, quantizer)
    if found:
        function = ir.serde.deserialize_function(quantized_body(graph.opset_imports[""]))
        model.functions[function.identifier()] = function


def _dequantizer_before(node: ir.Node) -> ir.Node | None:
    """What makes the operator's input of bytes that are its codes."""
    before = input_of(node, 0).producer()
    if before is None or before.op_type != "DequantizeLinear":
        return None
    scale, zero_point = (array_of(input_of(before, position)) for position in (1, 2))
    if zero_point.dtype != np.uint8 or zero_point.size != 1:
        return None
    codes = node.attributes.get_int("lowest"), node.attributes.get_int("highest")
    is_same = CODES_OF_ZERO_POINT.get(int(zero_point)) == codes and same_step(scale, array_of(input_of(node, 1)))
    return before if is_same else None


def _quantizer_behind(node: ir.Node) -> ir.Node | None:
    """What alone reads the operator's result, and makes bytes of it."""
    readers = [use.node for use in node.outputs[0].uses()]
    if [reader.op_type for reader in readers] != ["QuantizeLinear"] or node.outputs[0].is_graph_output():
        return None
    return readers[0] if array_of(input_of(readers[0], 2)).dtype == np.uint8 else None


def _take_bytes(graph: ir.Graph, node: ir.Node, dequantizer: ir.Node, quantizer: ir.Node) -> None:
    scale = input_of(dequantizer, 1)
    name = f"{(node.name or '').removesuffix(OP_TYPE)}{QUANTIZED_OP_TYPE}"
    step = np.float32(node.attributes.get_int("step", 0))
    high_scale = initializer(graph, f"{name}/high_scale", array_of(scale) * step)
    inputs = [input_of(dequantizer, 0), scale, high_scale, *node.inputs[3:], input_of(dequantizer, 2)]
    inputs += quantizer.inputs[1:]
    operator = ir.Node(DOMAIN, QUANTIZED_OP_TYPE, inputs, node.attributes.values(), name=name)
    made, result = operator.outputs[0], quantizer.outputs[0]
    made.name, made.type, made.shape = result.name, result.type, result.shape
    operator.metadata_props.update(quantizer.metadata_props)
    graph.insert_before(quantizer, operator)
    ir.convenience.replace_all_uses_with(result, made)
    graph.remove([quantizer, node], safe=True)
    if not dequantizer.outputs[0].uses():
        graph.remove(dequantizer, safe=True)
