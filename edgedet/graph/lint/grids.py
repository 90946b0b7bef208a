"""Quantizers that do not fit one another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgedet.graph.lint.finding import CONCAT_SCALES, TWO_QUANTIZERS, Finding
from edgedet.graph.lint.quantized_graph import QuantizedGraph, grid_constants, is_dequantized, label, readers
from edgedet.graph.lowerings.editing import input_of, producer_of


def two_quantizers(graph: QuantizedGraph) -> Iterator[Finding]:
    """Tensors that several quantizers read, and quantized ones that are quantized again."""
    by_tensor: dict[ir.Value, list[ir.Node]] = {}
    for node in graph.nodes:
        if node.op_type == "QuantizeLinear" and graph.data(node):
            by_tensor.setdefault(input_of(node, 0), []).append(node)
    for tensor, quantizers in by_tensor.items():
        earlier = producer_of(tensor) if is_dequantized(tensor) else None
        same = all(_same_grid(quantizers[0], node) for node in quantizers[1:])
        grids = "one grid" if same else "different grids"
        if len(quantizers) > 1:
            what = f"{len(quantizers)} quantizers of {grids} read {tensor.name}"
            yield Finding(TWO_QUANTIZERS, tuple(map(label, quantizers)), what)
        elif earlier is not None:
            kind = "the same" if _same_grid(earlier, quantizers[0]) else "another"
            yield Finding(TWO_QUANTIZERS, (label(quantizers[0]),), f"{tensor.name} is quantized again, on {kind} grid")


def concat_scales(graph: QuantizedGraph) -> Iterator[Finding]:
    """Concatenations of integers whose parts and result do not share a grid."""
    for node in graph.nodes:
        inputs = graph.data(node)
        if node.op_type != "Concat" or not inputs or not all(map(is_dequantized, inputs)):
            continue
        parts = [producer_of(value) for value in inputs]
        results = [reader for reader in readers(node.outputs[0]) if reader.op_type == "QuantizeLinear"]
        different = [part for part in [*parts[1:], *results] if not _same_grid(parts[0], part)]
        if results and different:
            scales = ", ".join(_scale(part) for part in parts)
            what = f"scales {scales}, of the result {_scale(results[0])}"
            yield Finding(CONCAT_SCALES, (label(node),), what)


def _same_grid(one: ir.Node, other: ir.Node) -> bool:
    first, second = grid_constants(one), grid_constants(other)
    if first is None or second is None:
        return False
    return all(np.array_equal(mine, its) for mine, its in zip(first, second, strict=True))


def _scale(node: ir.Node) -> str:
    grid = grid_constants(node)
    return "computed" if grid is None else f"{float(np.max(grid[0])):.4g}"
