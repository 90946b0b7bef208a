"""For TensorRT 8.4 to 10.x, weakly typed: symmetric int8 quantizers where NVIDIA recommends them.

Source: TensorRT documentation, "Working with quantized types", explicit quantization, Q/DQ layer-placement
recommendations. The inputs of every convolution are quantized, weights for each output channel. Of a residual sum the
identity branch is quantized and the convolution's branch is not, so that convolution, sum and activation fuse.
Maximum pooling commutes with a quantizer, so only its input has one. What splits, joins or repeats values has
quantizers of one scale on both sides and runs in int8. An activation other than ReLU and ReLU6 reads what its
convolution gives without rounding, and so does a gated convolution, which rounds to its own codes. What is cut off for
a grid of few codes is no activation: it lies on a finer grid, and stays there.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx import ModelProto

from edgedet.graph.lowerings.cut_codes import is_cut
from edgedet.graph.lowerings.editing import (
    dequantizer_of,
    drop,
    drop_unused_initializers,
    input_of,
    is_of_weight,
    quantizers,
)
from edgedet.graph.lowerings.gated_plugin import read_before_rounding

READ_INTEGERS = frozenset({"Conv", "Add", "MaxPool", "Resize", "Split", "Slice", "Concat"})
"""Operators that run in int8 on quantized inputs."""


def lower_for_tensorrt(master: ModelProto) -> ModelProto:
    """The graph for TensorRT 8.4 to 10.x; the master is left as it is."""
    model = ir.from_proto(master)
    graph = model.graph
    read_before_rounding(graph)
    for quantizer in quantizers(graph):
        if not is_of_weight(quantizer) and _keeps_from_fusing(quantizer):
            drop(graph, quantizer)
    drop_unused_initializers(graph)
    return ir.to_proto(model)


def _keeps_from_fusing(quantizer: ir.Node) -> bool:
    return _follows_pooling(quantizer) or _is_convolution_branch(quantizer) or _precedes_activation(quantizer)


def _precedes_activation(quantizer: ir.Node) -> bool:
    """Whether an activation alone reads the values: TensorRT computes it unrounded, behind its convolution."""
    readers = [use.node for use in dequantizer_of(quantizer).outputs[0].uses()]
    return not any(node.op_type in READ_INTEGERS or is_cut(node) for node in readers)


def _follows_pooling(quantizer: ir.Node) -> bool:
    producer = input_of(quantizer, 0).producer()
    return producer is not None and producer.op_type == "MaxPool"


def _is_convolution_branch(quantizer: ir.Node) -> bool:
    """Whether a residual sum alone reads a convolution's result, and its other branch is quantized.

    An activation in between would keep TensorRT from fusing the sum into the convolution.
    """
    producer = input_of(quantizer, 0).producer()
    branch = dequantizer_of(quantizer).outputs[0]
    readers = [use.node for use in branch.uses()]
    if producer is None or producer.op_type != "Conv" or [node.op_type for node in readers] != ["Add"]:
        return False
    others = [value.producer() for value in readers[0].inputs if value is not None and value is not branch]
    return all(node is not None and node.op_type == "DequantizeLinear" for node in others)
