"""Convolutions that integer kernels do not take, or not well."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx_ir as ir

from edgedet.graph.lint.finding import DEPTHWISE_WIDTH, FLOAT_CONVOLUTION, Finding
from edgedet.graph.lint.quantized_graph import QuantizedGraph, activation_of, is_dequantized, is_rounded, label
from edgedet.graph.lowerings.editing import input_of

CHANNELS_AT_A_TIME = 8


def float_convolutions(graph: QuantizedGraph, ran_in_integer: Collection[ir.Node]) -> Iterator[Finding]:
    """Quantized convolutions and matrix products that ONNX Runtime ran in float.

    Args:
        graph: the graph.
        ran_in_integer: those that did not.
    """
    for conv in graph.quantized_products():
        if conv not in ran_in_integer:
            yield Finding(FLOAT_CONVOLUTION, (label(conv),), f"ran in float: {_reason(conv)}")


def _reason(conv: ir.Node) -> str:
    if conv.op_type == "Conv" and not is_rounded(conv.outputs[0]):
        return "no quantizer takes its result"
    if (activation := activation_of(conv.outputs[0])) is not None:
        return f"{activation.op_type} stands between it and a quantizer whose grid ends elsewhere"
    if not is_dequantized(conv.inputs[0]):
        return "what it reads was picked in float: no quantizer stands behind"
    return "this version has no integer kernel for it"


def depthwise_widths(graph: QuantizedGraph) -> Iterator[Finding]:
    """Quantized depthwise convolutions of a width that 8 does not divide."""
    for conv in graph.quantized_products():
        groups, weight = conv.attributes.get_int("group", 1), input_of(conv, 1).shape
        if groups > 1 and groups % CHANNELS_AT_A_TIME and weight is not None and weight[1] == 1:
            yield Finding(DEPTHWISE_WIDTH, (label(conv),), f"{groups} channels")
