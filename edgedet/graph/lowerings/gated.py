"""Convolutions with gates, as edgedet's operator, which has a kernel, and a function body where the kernel is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx import ModelProto

from edgedet.errors import CheckFailedError
from edgedet.graph.lowerings.cut_codes import is_cut
from edgedet.graph.lowerings.editing import (
    Array,
    array_of,
    drop_unused_initializers,
    initializer,
    input_of,
    insert,
    producer_of,
)
from edgedet.models.quantized.codes import HIGHEST_UNSIGNED
from edgedet.ops.gated_conv.body import DOMAIN, OP_TYPE, function_body, gate_attributes
from edgedet.ops.gated_conv.definition import GatedConv


@dataclass(frozen=True)
class LayerGate:
    """The gate of a convolution whose normalisation was folded into it.

    Attributes:
        definition: how codes are split and gates decided.
        x_scale: step of the input's codes.
        thresholds: `[O]` float32, in the units of the result without bias.
        signs: `[O]` float32, 1 or -1.
    """

    definition: GatedConv
    x_scale: float
    thresholds: Array
    signs: Array


def gate_convolutions(master: ModelProto, gates: Mapping[str, LayerGate]) -> ModelProto:
    """The master with gates; the master is left as it is.

    Args:
        master: of a quantized detector, in which the layers' convolutions have their whole inputs.
        gates: by the module path of the convolution; all of one granularity.

    Raises:
        CheckFailedError: the master has no such quantized convolution.
    """
    model = ir.from_proto(master)
    nodes = {node.name: node for node in model.graph}
    for layer, gate in gates.items():
        node = nodes.get(f"{layer}/Conv")
        if node is None or node.op_type != "Conv" or producer_of(input_of(node, 1)).op_type != "DequantizeLinear":
            raise CheckFailedError("the graph has no quantized convolution of this layer", where=layer)
        _gate(model.graph, node, layer, gate)
    for definition in {gate.definition for gate in gates.values()}:
        function = ir.serde.deserialize_function(function_body(definition, model.graph.opset_imports[""]))
        model.functions[function.identifier()] = function
    model.graph.opset_imports[DOMAIN] = 1
    _drop_unread(model.graph)
    return ir.to_proto(model)


def _gate(graph: ir.Graph, conv: ir.Node, layer: str, gate: LayerGate) -> None:
    """Replaces a convolution by the operator."""
    dequantizer = producer_of(input_of(conv, 1))
    quantizer = producer_of(input_of(dequantizer, 0))
    weight, scale = array_of(input_of(quantizer, 0)), array_of(input_of(quantizer, 1))
    codes = np.rint(weight / scale.reshape(-1, 1, 1, 1)).astype(np.int8)
    step = np.float32(gate.x_scale)
    constants = {
        "x_scale": step,
        "high_scale": step * np.float32(gate.definition.step),
        "codes": codes,
        "weight_scale": scale,
        "threshold": gate.thresholds.astype(np.float32).reshape(-1, 1, 1),
        "sign": gate.signs.astype(np.float32).reshape(-1, 1, 1),
        "bias": array_of(input_of(conv, 2)) if len(conv.inputs) == 3 else np.zeros(len(codes), np.float32),
    }
    inputs = [initializer(graph, f"{layer}.gate/{name}", np.asarray(value)) for name, value in constants.items()]
    convolution = {
        name: conv.attributes[name].value if name in conv.attributes else default
        for name, default in (("strides", [1, 1]), ("pads", [0, 0, 0, 0]), ("group", 1))
    }
    attributes = {**convolution, **gate_attributes(gate.definition)}
    operator = ir.node(
        OP_TYPE,
        [_source(conv, gate.definition), *inputs],
        domain=DOMAIN,
        attributes=attributes,
        name=f"{layer}/{OP_TYPE}",
    )
    result = insert(graph, conv, operator)
    result.shape = conv.outputs[0].shape
    ir.convenience.replace_all_uses_with(conv.outputs[0], result)
    graph.remove(conv, safe=True)


def _source(conv: ir.Node, gate: GatedConv) -> ir.Value:
    """What the operator reads: the convolution's input, before it was rounded to fewer codes than 8 bits have.

    The operator rounds and cuts off itself, and no integer kernel stands for a convolution with a cut behind it.
    """
    value = input_of(conv, 0)
    if gate.highest - gate.lowest >= HIGHEST_UNSIGNED:
        return value
    value = input_of(producer_of(input_of(producer_of(value), 0)), 0)
    return input_of(producer_of(value), 0) if is_cut(value.producer()) else value


def _drop_unread(graph: ir.Graph) -> None:
    """Removes what rounds weights and inputs that nothing reads any more."""
    for node in reversed(list(graph)):
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Clip") and not node.outputs[0].uses():
            graph.remove(node, safe=True)
    drop_unused_initializers(graph)
