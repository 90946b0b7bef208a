"""Which nodes of a graph stay float32 where the rest becomes float16.

float16 holds normal numbers from 2**-14 to 65504. Nodes stay float32 that decode boxes and scores, that read or give
values near either end, or whose quantizers have steps beyond it; and what quantizes an input of the graph, which is
float32 itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir
from onnx import ModelProto

from edgedet.graph.lowerings.editing import Array, array_of, input_of, is_of_weight, quantizers
from edgedet.models.quantized.codes import LOWEST
from edgedet.ops.gated_conv.body import OP_TYPE as GATED

SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)
HIGHEST_FINITE = float(np.finfo(np.float16).max)

MARGIN = 4.0
"""For images that were not scanned, and for partial sums that exceed a convolution's result."""

SMALLEST_PEAK, LARGEST_PEAK = SMALLEST_NORMAL * MARGIN, 2.0**16 / MARGIN
"""A tensor's largest absolute value must lie between. Values below 2**-14 are rounded to multiples of 2**-24, which is
no worse for the tensor than the rounding of its largest value as long as that is above 2**-14 itself."""

MOVES = frozenset({"Reshape", "Transpose", "Slice", "Concat", "Split", "Flatten", "Squeeze", "Unsqueeze"})
"""Operators that give values as they are."""

CONVOLUTIONS = frozenset({"Conv", GATED})

FUSED = frozenset({"Relu", "Clip", "Add", "QuantizeLinear"})
"""Operators that run as part of what they read, if they alone read it: a cast between would keep them apart."""

Ranges = Mapping[str, float]
"""The largest absolute value of each float tensor between nodes, graph inputs and outputs included, by name."""


def float32_nodes(graph: ir.Graph, ranges: Ranges) -> set[ir.Node]:
    """The nodes that stay float32; dequantizers aside, which go with what reads them.

    Raises:
        KeyError: a float tensor has no range.
    """
    of_inputs = {node for node in quantizers(graph) if input_of(node, 0).is_graph_input()}
    return of_inputs | decoding_nodes(graph) | unsafe_nodes(graph, ranges)


def decoding_nodes(graph: ir.Graph) -> set[ir.Node]:
    """What computes on the logits, and all behind: softmax, distances, boxes, sigmoid.

    That is what no convolution follows, but for the nodes before it that only move values. In float16 a box beyond 256
    pixels lies on quarters of a pixel.
    """
    before_convolutions: set[ir.Node] = set()
    decoding: set[ir.Node] = set()
    for node in reversed(graph):
        if node.op_type in CONVOLUTIONS or any(reader in before_convolutions for reader in node.successors()):
            before_convolutions.add(node)
    for node in [node for node in graph if node not in before_convolutions]:
        if node.op_type not in MOVES or any(producer in decoding for producer in node.predecessors()):
            decoding.add(node)
    return decoding


def unsafe_nodes(graph: ir.Graph, ranges: Ranges) -> set[ir.Node]:
    """Nodes before the decoding that float16 would spoil, with those that run as one with them.

    Raises:
        KeyError: a float tensor has no range.
    """
    decoding = decoding_nodes(graph)
    ignored = decoding | {node for node in graph if node.op_type == "DequantizeLinear"}
    ignored |= {node for node in quantizers(graph) if is_of_weight(node)}
    unsafe = {node for node in graph if node not in ignored and _is_unsafe(node, ranges)}
    waiting = deque(unsafe)
    while waiting:
        for node in _fused_with(waiting.popleft()):
            if node not in unsafe | ignored:
                unsafe.add(node)
                waiting.append(node)
    return unsafe


def names_of_unsafe(model: ModelProto, ranges: Ranges) -> tuple[str, ...]:
    """The names of `unsafe_nodes` in the graph's order, without quantizers."""
    graph = ir.from_proto(model).graph
    unsafe = unsafe_nodes(graph, ranges)
    return tuple(node.name or "" for node in graph if node in unsafe and node.op_type != "QuantizeLinear")


def suits_float16(scale: Array) -> bool:
    """Whether all steps are normal numbers in float16 and the grids' ends finite."""
    steps = scale.astype(np.float64)
    return bool((steps >= SMALLEST_NORMAL).all() and (steps * -LOWEST <= HIGHEST_FINITE).all())


def _is_unsafe(node: ir.Node, ranges: Ranges) -> bool:
    return (
        any(_is_near_an_end(ranges[str(value.name)]) for value in _tensors(node))
        or any(not suits_float16(scale) for scale in _scales(node))
        or any(np.abs(array_of(value)).max(initial=0) > HIGHEST_FINITE for value in _constants(node))
        or _has_tiny_weights(node)
    )


def _is_near_an_end(peak: float) -> bool:
    return peak != 0 and not SMALLEST_PEAK <= peak <= LARGEST_PEAK


def _tensors(node: ir.Node) -> Iterator[ir.Value]:
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.dtype == ir.DataType.FLOAT and not value.is_initializer():
            yield value


def _constants(node: ir.Node) -> Iterator[ir.Value]:
    for value in node.inputs:
        if value is not None and value.is_initializer() and value.dtype == ir.DataType.FLOAT:
            yield value


def _scales(node: ir.Node) -> Iterator[Array]:
    """Of the quantizer that the node is, or of those whose values it reads."""
    for quantizer in (node, *node.predecessors()):
        if quantizer.op_type == ("QuantizeLinear" if quantizer is node else "DequantizeLinear"):
            yield array_of(input_of(quantizer, 1))


def _has_tiny_weights(node: ir.Node) -> bool:
    """Whether even the largest weight of a convolution is no normal number."""
    if node.op_type != "Conv" or not input_of(node, 1).is_initializer():
        return False
    return 0 < np.abs(array_of(input_of(node, 1))).max() < SMALLEST_NORMAL


def _fused_with(node: ir.Node) -> Iterator[ir.Node]:
    for output in node.outputs:
        reader = _fused_reader(output)
        if reader is not None:
            yield reader
    for value in node.inputs:
        producer = None if value is None else value.producer()
        if value is not None and producer is not None and _fused_reader(value) is node:
            yield producer


def _fused_reader(value: ir.Value) -> ir.Node | None:
    """The node that runs as one with what gives the value.

    Pooling of quantized values goes with what reads it: a cast between would part that from its quantizer.
    """
    uses, producer = list(value.uses()), value.producer()
    if len(uses) != 1 or producer is None:
        return None
    reader = uses[0].node
    return reader if reader.op_type in FUSED or _pools_quantized(producer) else None


def _pools_quantized(node: ir.Node) -> bool:
    return node.op_type == "MaxPool" and any(source.op_type == "DequantizeLinear" for source in node.predecessors())
