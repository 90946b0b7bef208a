"""Gated convolutions as TensorRT's plugin takes them: with all that is constant in attributes; and back.

TensorRT's parser hands a node's attributes to the plugin as fields, a tensor of int8 among them, from 8.2 on
(onnx-tensorrt, `loadFields`). Constant inputs would be tensors of the network instead, of types that a weakly typed
network has no int8 without ranges for, and known on the device alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.helper import get_attribute_value

from edgedet.graph.lowerings.editing import input_of
from edgedet.graph.nms import PLUGIN_ATTRIBUTES
from edgedet.ops.gated_conv.body import DOMAIN, OP_TYPE, function_body
from edgedet.ops.gated_conv.definition import GatedConv

CONSTANTS = ("x_scale", "high_scale", "weights", "weight_scale", "threshold", "sign", "bias")
"""The operator's inputs behind `x`."""

PER_CHANNEL = ("weight_scale", "threshold", "sign", "bias")


def read_before_rounding(graph: ir.Graph) -> None:
    """Lets gated convolutions read what is quantized for others too: they round to their own codes."""
    for node in graph:
        before = input_of(node, 0).producer() if is_gated(node) else None
        if before is not None and before.op_type == "DequantizeLinear":
            quantizer = input_of(before, 0).producer()
            if quantizer is not None and quantizer.op_type == "QuantizeLinear":
                node.replace_input_with(0, input_of(quantizer, 0))


def is_gated(node: ir.Node | NodeProto) -> bool:
    """Whether it is a gated convolution of float values."""
    return bool(node.domain == DOMAIN and node.op_type == OP_TYPE)


def has_gates(model: ModelProto) -> bool:
    """Whether a graph has gated convolutions of float values, in either form."""
    return any(is_gated(node) for node in model.graph.node)


def with_plugins(model: ModelProto) -> ModelProto:
    """The graph with the plugins' nodes in place of the operators, whose function it no longer has.

    ONNX Runtime runs it no more; `with_functions` undoes it. The model is left as it is.
    """
    result = _copied_without_function(model)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    for node in _gated(result):
        given = dict(zip(CONSTANTS, (numpy_helper.to_array(constants[name]) for name in node.input[1:]), strict=True))
        del node.input[1:]
        values: dict[str, Any] = {
            "x_scale": float(given["x_scale"]),
            "weights": numpy_helper.from_array(given["weights"].reshape(-1), "weights"),
            "weights_shape": list(given["weights"].shape),
            **{name: given[name].reshape(-1).tolist() for name in PER_CHANNEL},
            **PLUGIN_ATTRIBUTES,
        }
        node.attribute.extend(helper.make_attribute(name, value) for name, value in values.items())
    read = {name for node in result.graph.node for name in node.input}
    kept = [tensor for tensor in result.graph.initializer if tensor.name in read]
    del result.graph.initializer[:]
    result.graph.initializer.extend(kept)
    return result


def with_functions(model: ModelProto) -> ModelProto:
    """The graph with the operators, and the function that defines them, in place of the plugins' nodes.

    Where it has none nothing changes; the model is left as it is.
    """
    result = _copied_without_function(model)
    opset = next(one.version for one in result.opset_import if not one.domain)
    gate = None
    for node in _gated(result):
        attributes = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
        gate = _gate(attributes)
        kept = [one for one in node.attribute if one.name not in {*CONSTANTS, "weights_shape", *PLUGIN_ATTRIBUTES}]
        del node.attribute[:]
        node.attribute.extend(kept)
        for name, value in _constants(attributes).items():
            node.input.append(f"{node.name}/{name}")
            result.graph.initializer.append(numpy_helper.from_array(value, node.input[-1]))
    if gate is not None:
        result.functions.append(function_body(gate, opset))
    return result


def _constants(attributes: dict[str, Any]) -> dict[str, np.ndarray]:
    x_scale = np.float32(attributes["x_scale"])
    channels = {name: np.asarray(attributes[name], np.float32) for name in PER_CHANNEL}
    weights = numpy_helper.to_array(attributes["weights"]).reshape(attributes["weights_shape"])
    values = {"x_scale": np.asarray(x_scale), "high_scale": np.asarray(x_scale * np.float32(attributes["step"]))}
    values |= {"weights": weights, **channels}
    values |= {name: channels[name].reshape(-1, 1, 1) for name in ("threshold", "sign")}
    return {name: values[name] for name in CONSTANTS}


def _gate(attributes: dict[str, Any]) -> GatedConv:
    step = int(attributes["step"])
    lowest, highest, tile = (int(attributes[name]) for name in ("lowest", "highest", "tile"))
    return GatedConv(step.bit_length() - 1, lowest, highest, attributes["granularity"].decode(), tile)


def _gated(model: ModelProto) -> Iterator[NodeProto]:
    return (node for node in model.graph.node if is_gated(node))


def _copied_without_function(model: ModelProto) -> ModelProto:
    result = ModelProto()
    result.CopyFrom(model)
    others = [function for function in result.functions if function.name != OP_TYPE]
    del result.functions[:]
    result.functions.extend(others)
    return result
