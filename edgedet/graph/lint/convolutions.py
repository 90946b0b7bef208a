"""Convolutions that integer kernels do not take, or not well, or not everywhere alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx_ir as ir

from edgedet.graph.lint.finding import DEPTHWISE_WIDTH, FLOAT_CONVOLUTION, SATURATING_SUMS, Finding
from edgedet.graph.lint.quantized_graph import (
    QuantizedGraph,
    activation_of,
    dequantizer_behind,
    is_dequantized,
    is_rounded,
    label,
)
from edgedet.graph.lowerings.editing import Array, input_of

CHANNELS_AT_A_TIME = 8
LARGEST_PAIR = 128
"""Of two weights that one result adds: 128 x 255 fits into 16 bits."""


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


def saturating_sums(graph: QuantizedGraph) -> Iterator[Finding]:
    """Products of uint8 activations and int8 weights of which two may not fit into 16 bits.

    Which two are added is a matter of the kernel, so any two weights of one sign are taken that one result adds.
    Depthwise convolutions have kernels of their own, which add in 32 bits.
    """
    for node in graph.quantized_products():
        weights = _summed_weights(node)
        if weights is None or weights.dtype != np.int8 or not _reads_unsigned(node):
            continue
        ordered = np.sort(weights.astype(np.int32), axis=1)
        pairs = np.maximum(ordered[:, -2:].clip(min=0).sum(axis=1), -ordered[:, :2].clip(max=0).sum(axis=1))
        if (pairs > LARGEST_PAIR).any():
            share = f"{int((pairs > LARGEST_PAIR).sum())} of its {len(pairs)} channels"
            yield Finding(SATURATING_SUMS, (label(node),), f"two weights of {share} add up to {pairs.max()}")


def _reads_unsigned(node: ir.Node) -> bool:
    zero_point = dequantizer_behind(input_of(node, 0)).inputs[2:3]
    return bool(zero_point) and zero_point[0] is not None and zero_point[0].dtype == ir.DataType.UINT8


def _summed_weights(node: ir.Node) -> Array | None:
    """The integers that each result adds products of, `[results, summands]`; None where they are not stored."""
    stored = dequantizer_behind(input_of(node, 1)).inputs[0]
    codes: Array | None = None if stored is None or stored.const_value is None else stored.const_value.numpy()
    if codes is None:
        return None
    if node.op_type == "Gemm":
        return codes if node.attributes.get_int("transB", 0) else codes.T
    depthwise = codes.shape[1] == 1 and node.attributes.get_int("group", 1) > 1
    return None if depthwise else codes.reshape(len(codes), -1)
