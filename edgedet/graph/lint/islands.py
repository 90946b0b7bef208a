"""Nodes that compute in float between integers."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from edgedet.graph.comparison.grid import grid_of
from edgedet.graph.lint.finding import FLOAT_ISLAND, Finding
from edgedet.graph.lint.quantized_graph import (
    ACTIVATIONS,
    MOVES,
    QuantizedGraph,
    holds_integers,
    is_dequantized,
    is_rounded,
    label,
    readers,
)
from edgedet.graph.lowerings.editing import input_of, producer_of

HAVE_INTEGER_KERNELS = (
    frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Concat", "Resize", "AveragePool"})
    | frozenset({"GlobalAveragePool", "Sigmoid", "LeakyRelu", "Softmax", "DepthToSpace", "Expand"})
    | MOVES
)

UNSIGNED = frozenset({"Add", "Mul", "Concat"})
"""Those of them for which ONNX Runtime has integer kernels on x86 for uint8 alone."""

SHOWN = 3


def float_islands(graph: QuantizedGraph, *, sums_fuse: bool) -> Iterator[Finding]:
    """Connected nodes that integers go into and come out of, and that no integer kernel stands for.

    Args:
        graph: any.
        sums_fuse: whether the runtime computes a sum along with the convolution that gives one of its inputs, and
            moves quantizers through what picks values, as TensorRT does.
    """
    behind, before = _behind_integers(graph), _before_integers(graph)
    covered = {node for node in graph.nodes if _is_covered(node, graph, sums_fuse)}
    island = [node for node in graph.nodes if node in behind and node in before and node not in covered]
    for group in _connected(island):
        kinds = ", ".join(node.op_type for node in group[:SHOWN])
        more = f" and {len(group) - SHOWN} more" if len(group) > SHOWN else ""
        yield Finding(FLOAT_ISLAND, tuple(map(label, group)), f"float between integers: {kinds}{more}")


def _behind_integers(graph: QuantizedGraph) -> set[ir.Node]:
    found = set[ir.Node]()
    for node in graph.nodes:
        if graph.computes(node):
            inputs = graph.data(node)
            if any(is_dequantized(value) or value.producer() in found for value in inputs):
                found.add(node)
    return found


def _before_integers(graph: QuantizedGraph) -> set[ir.Node]:
    found = set[ir.Node]()
    for node in reversed(graph.nodes):
        if graph.computes(node):
            nodes = [reader for value in node.outputs for reader in readers(value)]
            if any(reader.op_type == "QuantizeLinear" or reader in found for reader in nodes):
                found.add(node)
    return found


def _is_covered(node: ir.Node, graph: QuantizedGraph, sums_fuse: bool) -> bool:
    """Whether a node is, or is part of, what an integer kernel computes."""
    if node.op_type in ACTIVATIONS and (before := _read_alone(node)) is not None:
        node = before
    if node.op_type == "Relu":
        return sums_fuse or _ends_at_zero(node.outputs[0])
    if node.op_type not in HAVE_INTEGER_KERNELS or (not sums_fuse and _is_signed(node, graph)):
        return False
    if all(holds_integers(value) if sums_fuse else is_dequantized(value) for value in graph.data(node)):
        moved = sums_fuse and node.op_type in MOVES
        return moved or all(map(is_rounded, node.outputs)) or (sums_fuse and _goes_into_a_sum(node, graph))
    return sums_fuse and _sums_a_convolution(node, graph) and all(map(is_rounded, node.outputs))


def _is_signed(node: ir.Node, graph: QuantizedGraph) -> bool:
    """Whether a node that wants unsigned integers has signed ones."""
    makers = [producer_of(value) for value in graph.data(node) if is_dequantized(value)]
    return node.op_type in UNSIGNED and any(input_of(maker, 0).dtype == ir.DataType.INT8 for maker in makers)


def _ends_at_zero(value: ir.Value) -> bool:
    """Whether quantizers whose smallest value is 0 alone read a value: a ReLU before them does nothing."""
    nodes = readers(value)
    grids = [grid_of(node) for node in nodes if node.op_type == "QuantizeLinear"]
    return len(grids) == len(nodes) > 0 and all(grid is not None and not grid.ends[0].any() for grid in grids)


def _read_alone(activation: ir.Node) -> ir.Node | None:
    """The float node that gives what an activation, and nobody else, reads."""
    value = activation.inputs[0]
    if value is None or is_dequantized(value) or len(value.uses()) > 1 or value.is_graph_output():
        return None
    return value.producer()


def _sums_a_convolution(node: ir.Node, graph: QuantizedGraph) -> bool:
    """Whether a node adds a convolution's result to integers."""
    producers = [value.producer() for value in graph.data(node) if not is_dequantized(value)]
    return node.op_type == "Add" and len(producers) == 1 and producers[0] is not None and producers[0].op_type == "Conv"


def _goes_into_a_sum(node: ir.Node, graph: QuantizedGraph) -> bool:
    nodes = readers(node.outputs[0])
    sums = node.op_type == "Conv" and len(nodes) == 1 and _sums_a_convolution(nodes[0], graph)
    return sums and all(map(is_rounded, nodes[0].outputs))


def _connected(nodes: list[ir.Node]) -> Iterator[list[ir.Node]]:
    """Groups of nodes that read one another, each in the order of computation."""
    place = {node: index for index, node in enumerate(nodes)}
    open_nodes = set(nodes)
    for first in nodes:
        group, reached = list[ir.Node](), [first]
        while reached:
            node = reached.pop()
            if node in open_nodes:
                open_nodes.remove(node)
                group.append(node)
                reached += [before for value in node.inputs if value is not None and (before := value.producer())]
                reached += [reader for value in node.outputs for reader in readers(value)]
        if group:
            yield sorted(group, key=place.__getitem__)
