"""Quantizers of one grid, of which one is enough.

A gated convolution has a quantizer of its own, whatever the others that read the same tensor have. Where all readers of
a map are gated, nothing else rounds it, nor the parts that it is joined of.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import onnx_ir as ir

from edgedet.graph.lowerings.editing import array_of, dequantizer_of, input_of, is_of_weight, producer_of, quantizers

CARRIERS = frozenset({"MaxPool", "Resize", "Split", "Slice", "Concat"})
"""Operators that only pick or repeat values: rounded before or behind them, these are the same."""

ROUNDING = 1e-6
"""Relative, of a step that was computed one way or another."""


def share_quantizers(graph: ir.Graph) -> None:
    """Removes quantizers of what lies on their grid already, and those that another one of the same tensor is like.

    Args:
        graph: whose quantizers have a dequantizer each.
    """
    kept: dict[ir.Value, list[ir.Node]] = {}
    for quantizer in quantizers(graph):
        if is_of_weight(quantizer):
            continue
        value = input_of(quantizer, 0)
        before = value.producer()
        if before is not None and before.op_type == "DequantizeLinear" and same_grid(before, quantizer):
            _replace(graph, quantizer, value)
            continue
        alike = [other for other in kept.setdefault(value, []) if same_grid(other, quantizer)]
        if alike:
            _replace(graph, quantizer, dequantizer_of(alike[0]).outputs[0])
        else:
            kept[value].append(quantizer)


def round_sources(graph: ir.Graph) -> None:
    """Rounds where they are made the values that are picked and joined in float, and then rounded to one grid alone.

    Then what makes them is an integer kernel, and bytes are picked and joined. Those that were rounded behind are
    rounded once more there, which `share_quantizers` mends.
    """
    done = set[ir.Value]()
    for quantizer in quantizers(graph):
        if is_of_weight(quantizer) or input_of(quantizer, 0) in done:
            continue
        values = _carried_with(input_of(quantizer, 0))
        done |= set(values)
        if len(values) > 1 and all(_is_for(quantizer, value) for value in values):
            for value in values:
                _round(graph, value, quantizer)


def _carried_with(value: ir.Value) -> list[ir.Value]:
    """A value, and all that carriers pick of it, and it of others."""
    found: dict[ir.Value, None] = {}
    reached = [value]
    while reached:
        value = reached.pop()
        if value in found or value.is_initializer():
            continue
        found[value] = None
        carriers = [node for node in (value.producer(), *(use.node for use in value.uses())) if _carries(node)]
        reached += [other for node in carriers for other in (*node.inputs, *node.outputs) if other is not None]
    return list(found)


def _carries(node: ir.Node | None) -> TypeGuard[ir.Node]:
    return node is not None and node.op_type in CARRIERS


def _is_for(quantizer: ir.Node, value: ir.Value) -> bool:
    """Whether a value is float, and nothing but carriers and quantizers of this grid read it."""
    maker = value.producer()
    if maker is None or maker.op_type == "DequantizeLinear" or value.is_graph_output():
        return False
    readers = [use.node for use in value.uses()]
    return all(_carries(node) or (node.op_type == "QuantizeLinear" and same_grid(node, quantizer)) for node in readers)


def _round(graph: ir.Graph, value: ir.Value, like: ir.Node) -> None:
    """Lets the readers of a value read it rounded as by a quantizer."""
    users = [(use.node, use.idx) for use in value.uses()]
    grid = like.inputs[1:]
    rounded = ir.node("QuantizeLinear", [value, *grid], name=f"{value.name}/QuantizeLinear")
    read = ir.node("DequantizeLinear", [rounded.outputs[0], *grid], name=f"{value.name}/DequantizeLinear")
    for node, old in ((rounded, like), (read, dequantizer_of(like))):
        made = node.outputs[0]
        made.name, made.type, made.shape = f"{node.name}_output", old.outputs[0].type, value.shape
    graph.insert_after(producer_of(value), [rounded, read])
    for user, position in users:
        user.replace_input_with(position, read.outputs[0])


def same_grid(one: ir.Node, other: ir.Node) -> bool:
    """Whether two nodes quantize to, or from, one grid of one step, but for rounding of the step."""
    scales, zero_points = ([array_of(input_of(node, position)) for node in (one, other)] for position in (1, 2))
    if scales[0].size != 1 or scales[1].size != 1:
        return False
    same_type = zero_points[0].dtype == zero_points[1].dtype
    return same_type and bool((zero_points[0] == zero_points[1]).all()) and same_step(scales[0], scales[1])


def same_step(one: float | np.ndarray, other: float | np.ndarray) -> bool:
    """Whether two steps differ by rounding alone."""
    return bool(np.isclose(one, other, rtol=ROUNDING, atol=0).all())


def _replace(graph: ir.Graph, quantizer: ir.Node, value: ir.Value) -> None:
    dequantizer = dequantizer_of(quantizer)
    ir.convenience.replace_all_uses_with(dequantizer.outputs[0], value)
    graph.remove([dequantizer, quantizer], safe=True)
