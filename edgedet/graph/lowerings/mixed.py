"""Parts of a quantized graph computed in float, where INT8 does not pay."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir
from onnx import ModelProto

from edgedet.graph.lowerings.editing import drop_unused_initializers, input_of, is_of_weight, quantizers

BLOCK_PARTS = 3
"""A block is what the module's path begins with: `backbone.features.7` of `backbone.features.7.conv.0.0/Conv`."""

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def block_of(node_name: str) -> str:
    """The block that a node belongs to, by its name."""
    return ".".join(node_name.partition("/")[0].split(".")[:BLOCK_PARTS])


def quantized_blocks(model: ModelProto) -> tuple[str, ...]:
    """The blocks with a quantized convolution, in the graph's order."""
    graph = ir.from_proto(model).graph
    weights = [quantizer for quantizer in quantizers(graph) if is_of_weight(quantizer)]
    return tuple(dict.fromkeys(block_of(quantizer.name or "") for quantizer in weights))


def keep_blocks_float(model: ModelProto, blocks: Collection[str]) -> ModelProto:
    """A copy in which the nodes of these blocks read what was quantized instead of the rounded values.

    Quantizers that nobody reads any more are gone; the others are as they were.
    """
    result = ir.from_proto(model)
    graph = result.graph
    for node in [node for node in graph if node.op_type not in QUANTIZERS and block_of(node.name or "") in blocks]:
        for place, value in enumerate(node.inputs):
            dequantizer = None if value is None else value.producer()
            if dequantizer is not None and dequantizer.op_type == "DequantizeLinear":
                quantizer = input_of(dequantizer, 0).producer()
                if quantizer is not None and quantizer.op_type == "QuantizeLinear":
                    node.replace_input_with(place, input_of(quantizer, 0))
    for kind in reversed(QUANTIZERS):
        unread = [node for node in graph if node.op_type == kind and not node.outputs[0].uses()]
        graph.remove([node for node in unread if not node.outputs[0].is_graph_output()], safe=True)
    drop_unused_initializers(graph)
    return ir.to_proto(result)
