"""Mish as edgedet's operator, which has a kernel for it, and a function body where the kernel is not at hand."""

from __future__ import annotations

import onnx_ir as ir

from edgedet.graph.lowerings.editing import input_of
from edgedet.ops.mish.body import function_body
from edgedet.ops.mish.definition import DOMAIN, OP_TYPE


def use_mish_operator(model: ir.Model) -> None:
    """Replaces `x * tanh(softplus(x))`: three passes over memory by slow kernels become one by a fast one.

    Without edgedet's library of operators ONNX Runtime computes the same three nodes as before.
    """
    found = [(node, *parts) for node in model.graph if (parts := _parts(node)) is not None]
    for product, tanh, softplus in found:
        result = product.outputs[0]
        operator = ir.node(OP_TYPE, [input_of(softplus, 0)], domain=DOMAIN, name=product.name)
        operator.outputs[0].name, operator.outputs[0].type, operator.outputs[0].shape = (
            result.name,
            result.type,
            result.shape,
        )
        operator.metadata_props.update(product.metadata_props)
        model.graph.insert_before(product, operator)
        ir.convenience.replace_all_uses_with(result, operator.outputs[0], replace_graph_outputs=True)
        model.graph.remove([product, tanh, softplus], safe=True)
    if found:
        model.graph.opset_imports[DOMAIN] = 1
        function = ir.serde.deserialize_function(function_body(model.graph.opset_imports[""]))
        model.functions[function.identifier()] = function


def _parts(product: ir.Node) -> tuple[ir.Node, ir.Node] | None:
    """Tanh and Softplus of a product that is Mish; None where it is not, or where these are read elsewhere."""
    if product.op_type != "Mul":
        return None
    for tanh_at, source_at in ((1, 0), (0, 1)):
        tanh = _producer(product.inputs[tanh_at], "Tanh")
        softplus = None if tanh is None else _producer(tanh.inputs[0], "Softplus")
        if tanh is not None and softplus is not None and softplus.inputs[0] is product.inputs[source_at]:
            return tanh, softplus
    return None


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node that gives a value, if it is of the type and nothing else reads it."""
    node = None if value is None or len(value.uses()) != 1 or value.is_graph_output() else value.producer()
    return node if node is not None and node.op_type == op_type else None
