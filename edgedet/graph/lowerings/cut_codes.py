"""Values cut off before they are rounded: grids of fewer codes in graphs whose quantizers have 8 bits.

Only gated convolutions without their gates have them. No grid of 8 bits ends beyond what its ReLU6 lets through, so
what ends before its grid does is such a cut, if need be with a ReLU in it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgedet.graph.lowerings.editing import Array, array_of, initializer, input_of, insert, quantizers
from edgedet.graph.lowerings.shared_grids import ROUNDING
from edgedet.models.quantized.codes import HIGHEST


def is_cut(node: ir.Node | None) -> bool:
    """Whether a node cuts values off before the end of an int8 grid that they are rounded to."""
    if node is None or not _has_known_ends(node):
        return False
    highest = array_of(input_of(node, 2)).item()
    readers = [use.node for use in node.outputs[0].uses() if use.node.op_type == "QuantizeLinear"]
    steps = [array_of(step) for reader in readers if (step := input_of(reader, 1)).const_value is not None]
    return any(ends_before_grid(highest, step.item()) for step in steps if step.size == 1)


def ends_before_grid(highest: float, step: float) -> bool:
    """Whether values end before the int8 grid of the step does."""
    return highest < HIGHEST * step * (1 - ROUNDING)


def cut_behind(quantizer: ir.Node) -> ir.Node | None:
    """What cuts a quantizer's codes off, at known ends."""
    readers = [use.node for use in quantizer.outputs[0].uses()]
    return readers[0] if len(readers) == 1 and _has_known_ends(readers[0]) else None


def rounder_of(codes: ir.Value) -> ir.Node | None:
    """The node that gives codes; where it cuts them off, the quantizer before it."""
    node = codes.producer()
    before = None if node is None or node.op_type != "Clip" else input_of(node, 0).producer()
    if before is not None and before.op_type == "QuantizeLinear" and cut_behind(before) is node:
        return before
    return node


def _has_known_ends(node: ir.Node) -> bool:
    ends = node.inputs[1:]
    return (
        node.op_type == "Clip"
        and len(ends) == 2
        and all(end is not None and end.const_value is not None for end in ends)
    )


def cut_codes(graph: ir.Graph) -> None:
    """Cuts codes off instead of values, which is the same: rounding keeps their order.

    Between a convolution and its quantizer a cut would keep ONNX Runtime from an integer kernel. What else bounds the
    values there goes with it.

    Args:
        graph: whose quantizers of activations are unsigned, those behind a cut on the grid that they had.
    """
    for quantizer in quantizers(graph):
        bounds = _bounds_before(quantizer)
        if not bounds or not is_cut(bounds[0]):
            continue
        lowest, highest = -np.inf, np.inf
        for low, high in [_ends(node) for node in reversed(bounds)]:
            lowest, highest = max(min(lowest, high), low), max(min(highest, high), low)
        quantizer.replace_input_with(0, bounds[-1].inputs[0])
        for node in bounds:
            graph.remove(node, safe=True)
        grid = [array_of(input_of(quantizer, position)) for position in (1, 2)]
        _cut(graph, quantizer, *(_code(end, *grid) for end in (lowest, highest)))


def _bounds_before(quantizer: ir.Node) -> list[ir.Node]:
    """What bounds the values of a quantizer, which nothing else reads, from the last to the first."""
    found: list[ir.Node] = []
    value = input_of(quantizer, 0)
    while (node := value.producer()) is not None and node.op_type in ("Relu", "Clip") and len(value.uses()) == 1:
        found.append(node)
        value = input_of(node, 0)
    return found


def _ends(node: ir.Node) -> tuple[float, float]:
    if node.op_type == "Relu":
        return 0.0, np.inf
    low, high = (float(array_of(input_of(node, position))) for position in (1, 2))
    return low, high


def _code(value: float, scale: Array, zero_point: Array) -> Array:
    """As the quantizer rounds it."""
    ends = np.iinfo(zero_point.dtype)
    steps = np.rint(np.float32(value) / scale.astype(np.float32))
    return np.clip(steps + zero_point, ends.min, ends.max).astype(zero_point.dtype)


def _cut(graph: ir.Graph, quantizer: ir.Node, lowest: Array, highest: Array) -> None:
    """Puts a cut of codes behind a quantizer."""
    codes = quantizer.outputs[0]
    (reader,) = [use.node for use in codes.uses()]
    ends = [initializer(graph, f"{quantizer.name}/{name}", end) for name, end in (("low", lowest), ("high", highest))]
    cut = ir.node("Clip", [codes, *ends], name=f"{quantizer.name}/Clip")
    result = insert(graph, reader, cut, ir.DataType.UINT8)
    result.shape = codes.shape
    reader.replace_input_with(0, result)
