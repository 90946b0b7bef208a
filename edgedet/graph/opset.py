"""An older operator set: TensorRT 8.4 to 8.6 read ONNX up to opset 17, the exporter writes no less than 18."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgedet.errors import EdgedetError

OPSET = 17
IR_VERSION = 8
"""The file format that belongs to opset 17: older runtimes refuse a later one whatever the graph holds."""

OLDEST_OPSET, OLDEST_IR_VERSION = 13, 7
"""The newest that TensorRT 8.2 reads, and its file format; the oldest with quantizers for each channel."""

REDUCTIONS = frozenset({"ReduceMax", "ReduceMean"})
"""Those whose axes became an input in opset 18."""

WIDENED = frozenset({"Add", "Sub", "Mul", "Div", "Relu", "Reshape", "Identity"})
"""Operators that took more types, and Reshape `allowzero`, between opsets 13 and 17."""


def to_opset_17(model: ModelProto) -> ModelProto:
    """A copy of an opset 18 model in opset 17 and IR version 8.

    Operators whose definition is the same in both stay as they are; the others must be in the table of this module.

    Raises:
        EdgedetError: an operator is not.
    """
    result = ModelProto()
    result.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [lowered for node in model.graph.node for lowered in _lower(_with_axes_inside(node, constants))]
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    del result.opset_import[:]
    result.opset_import.append(helper.make_opsetid("", OPSET))
    result.ir_version = IR_VERSION
    return result


def to_opset_13(model: ModelProto) -> ModelProto:
    """A copy of an opset 17 model in opset 13 and IR version 7; operators of other domains stay as they are.

    Raises:
        EdgedetError: an operator has no such form.
    """
    result = ModelProto()
    result.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in result.graph.node if node.domain == ""]:
        if not onnx.defs.has(node.op_type, OLDEST_OPSET):
            raise _unknown(node, OLDEST_OPSET)
        if node.op_type not in WIDENED and _since(node, OLDEST_OPSET) != _since(node, OPSET):
            raise _unknown(node, OLDEST_OPSET)
        if node.op_type == "Reshape":
            # Without a 0 in the shape it does not matter what a 0 would mean.
            zero = 0 in numpy_helper.to_array(constants[node.input[1]]) if node.input[1] in constants else True
            allowed = next((entry.i for entry in node.attribute if entry.name == "allowzero"), 0)
            node.CopyFrom(_without_attributes(node, {"allowzero": 0 if zero else allowed}))
    (entry,) = (entry for entry in result.opset_import if entry.domain == "")
    entry.version, result.ir_version = OLDEST_OPSET, OLDEST_IR_VERSION
    return result


def _with_axes_inside(node: NodeProto, constants: Mapping[str, TensorProto]) -> NodeProto:
    """Before opset 18 the axes of a reduction are an attribute; other nodes, and one without known axes, stay."""
    if node.op_type not in REDUCTIONS or len(node.input) < 2 or node.input[1] not in constants:
        return node
    result = NodeProto()
    result.CopyFrom(node)
    axes = numpy_helper.to_array(constants[result.input.pop()])
    result.attribute.append(helper.make_attribute("axes", axes.tolist()))
    return result


def _lower(node: NodeProto) -> list[NodeProto]:
    if node.op_type in _LOWERED:
        return _LOWERED[node.op_type](node)
    if not onnx.defs.has(node.op_type, OPSET, node.domain) or _since(node, OPSET) != _since(node, OPSET + 1):
        raise _unknown(node)
    return [node]


def _unknown(node: NodeProto, opset: int = OPSET) -> EdgedetError:
    return EdgedetError(
        f"the operator {node.op_type} has no known form in ONNX opset {opset}",
        where=node.name or None,
        fix="build the model of other operators, or add this one to edgedet/graph/opset.py",
    )


def _since(node: NodeProto, opset: int) -> int:
    return int(onnx.defs.get_schema(node.op_type, opset, node.domain).since_version)


def _split(node: NodeProto) -> list[NodeProto]:
    """Before opset 18 the number of outputs speaks for itself; parts are equal."""
    return [_without_attributes(node, {"num_outputs": len(node.output)})]


def _resize(node: NodeProto) -> list[NodeProto]:
    """Opset 18 added attributes; at these values they change nothing."""
    return [_without_attributes(node, {"antialias": 0, "keep_aspect_ratio_policy": b"stretch"})]


def _reduction(node: NodeProto) -> list[NodeProto]:
    """With its axes inside it is the same in both; without, opset 18 has an attribute that says what that means."""
    if not any(attribute.name == "axes" for attribute in node.attribute):
        raise _unknown(node)
    return [_without_attributes(node, {"noop_with_empty_axes": 0})]


def _mish(node: NodeProto) -> list[NodeProto]:
    """`x * tanh(softplus(x))`, its definition."""
    (source,), (output,) = node.input, node.output
    softplus, tanh = f"{output}_softplus", f"{output}_tanh"
    parts = [
        helper.make_node("Softplus", [source], [softplus]),
        helper.make_node("Tanh", [softplus], [tanh]),
        helper.make_node("Mul", [source, tanh], [output]),
    ]
    for part in parts:
        part.metadata_props.extend(node.metadata_props)
    return parts


_LOWERED: Mapping[str, Callable[[NodeProto], list[NodeProto]]] = {
    "Split": _split,
    "Resize": _resize,
    "Mish": _mish,
} | dict.fromkeys(REDUCTIONS, _reduction)


def _without_attributes(node: NodeProto, neutral: Mapping[str, int | bytes]) -> NodeProto:
    """A copy without the attributes in `neutral`; each must be unset or have the value there."""
    result = NodeProto()
    result.CopyFrom(node)
    del result.attribute[:]
    for attribute in node.attribute:
        if attribute.name not in neutral:
            result.attribute.append(attribute)
        elif helper.get_attribute_value(attribute) != neutral[attribute.name]:
            what = f"{node.op_type} with {attribute.name} {helper.get_attribute_value(attribute)!r}"
            raise EdgedetError(f"{what} has no form in ONNX opset {OPSET}", where=node.name or None)
    return result
