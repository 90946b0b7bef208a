"""The tensors of a graph that can be looked at without changing how a runtime computes it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgedet.graph.comparison.grid import Array, Grid, grid_of
from edgedet.graph.lowerings.cut_codes import cut_behind, is_cut, rounder_of
from edgedet.graph.lowerings.editing import array_of, input_of

ACTIVATIONS = frozenset({"Relu", "Clip", "LeakyRelu", "PRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu"})
"""What runtimes compute together with the convolution before: the tensor in between is then never there."""

PASSED = ACTIVATIONS | {"Cast"}
"""What may stand between a tensor and the operator that it is told by."""

MOVES = frozenset({"Transpose", "Reshape", "Tile"})
"""What a lowering may send integers through on their way to a dequantizer."""

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})


@dataclass(frozen=True, eq=False)
class Point:
    """A tensor that can be looked at.

    Attributes:
        name: of the values that its readers see; where it is quantized, of the dequantized ones, or where those are in
            another order, of the integers.
        source: of the values before they are rounded; `name` where they are not.
        aliases: `name`, `source`, and what activations and casts alone stand between.
        kind: the operator that gives it, before any activation or cast.
        sizes: None where one is not known, or all are not.
        grid: what it is rounded to; None where it stays float.
        codes: name of its integers, None where it stays float.
        half: whether it is of 16 bits, or was before a cast.
        moved: whether its integers go through `MOVES`. Its readers then cannot be given other values.
        bias_step: `[C, 1, ...]`, the grid of the sums that an integer convolution adds its bias to; None where it has
            no bias, or is none.
    """

    name: str
    source: str
    aliases: frozenset[str]
    kind: str
    sizes: tuple[int | None, ...] | None
    grid: Grid | None
    codes: str | None
    half: bool
    bias_step: Array | None
    moved: bool = False


def points_of(graph: ir.Graph) -> tuple[Point, ...]:
    """The points of a graph, in the order of its computation.

    Left out are constants, integers that no float stands behind, and what fused kernels never give: a tensor that only
    a quantizer or an activation reads.
    """
    constant = constants_of(graph)
    return tuple(
        point for node in graph for value in node.outputs if value not in constant and (point := _point(value, node))
    )


def constants_of(graph: ir.Graph) -> set[ir.Value]:
    """The values that follow from constants alone."""
    found = set(graph.initializers.values()) - set(graph.inputs)
    for node in graph:
        if all(value is None or value in found for value in node.inputs) and not _varies(node):
            found.update(node.outputs)
    return found


def _varies(node: ir.Node) -> bool:
    """Whether a node of constants need not be constant: it is random, or holds graphs that read what is around it."""
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return node.op_type.startswith("Random") or any(value.type in graphs for value in node.attributes.values())


def dequantizers_of(quantizer: ir.Node) -> list[ir.Node]:
    """The nodes that make floats of a quantizer's integers again, if need be of those that are cut off."""
    if (cut := cut_behind(quantizer)) is not None:
        quantizer = cut
    return [use.node for use in quantizer.outputs[0].uses() if use.node.op_type == "DequantizeLinear" and use.idx == 0]


def dequantizers_behind(node: ir.Node) -> list[ir.Node]:
    """The nodes that make floats of a node's integers again: directly, or where none does, through `MOVES`."""
    if direct := dequantizers_of(node):
        return direct
    moves = [use.node for use in node.outputs[0].uses() if use.node.op_type in MOVES]
    return [found for move in moves for found in dequantizers_behind(move)]


def _point(value: ir.Value, node: ir.Node) -> Point | None:
    if node.op_type == "QuantizeLinear":
        return _quantized(value, node)
    if value.dtype not in FLOATS or _is_never_there(value):
        return None
    if node.op_type == "DequantizeLinear":
        moves, rounder = _moves_before(node)
        if rounder is not None and grid_of(rounder) is not None:
            # Otherwise its quantizer stands for it.
            return _moved(node, rounder, moves) if moves and not input_of(rounder, 0).is_graph_input() else None
    return _made(value, value, None, None)


def _quantized(value: ir.Value, quantizer: ir.Node) -> Point | None:
    grid, readers = _cut_grid(quantizer), dequantizers_of(quantizer)
    source = input_of(quantizer, 0)
    moved = not readers
    if moved:
        readers = dequantizers_behind(quantizer)
    if grid is None or not readers:
        return None
    codes = value if (cut := cut_behind(quantizer)) is None else cut.outputs[0]
    point = _made(readers[0].outputs[0], source, grid, codes.name)
    return replace(point, name=value.name or "", moved=True) if moved else point


def _cut_grid(quantizer: ir.Node) -> Grid | None:
    """A quantizer's grid, as far as values before it or its codes are not cut off."""
    grid, before, behind = grid_of(quantizer), input_of(quantizer, 0).producer(), cut_behind(quantizer)
    if grid is None:
        return None
    if before is not None and is_cut(before) and grid.scale.size == 1:
        steps = float(array_of(input_of(before, 2))) / float(grid.scale)
        grid = replace(grid, highest=min(grid.highest, round(steps) + int(grid.zero_point)))
    if behind is not None:
        lowest, highest = (int(array_of(input_of(behind, position))) for position in (1, 2))
        grid = replace(grid, lowest=lowest, highest=highest)
    return grid


def _moves_before(dequantizer: ir.Node) -> tuple[set[str], ir.Node | None]:
    """What the integers went through, and the quantizer that gave them if there is one."""
    moves, codes = set[str](), input_of(dequantizer, 0)
    while (node := codes.producer()) is not None and node.op_type in MOVES:
        moves.add(node.op_type)
        codes = input_of(node, 0)
    node = rounder_of(codes)
    return moves, node if node is not None and node.op_type == "QuantizeLinear" else None


def _moved(dequantizer: ir.Node, rounder: ir.Node, moves: set[str]) -> Point | None:
    """The point of integers that a quantizer gave in another order, or each of which is there several times."""
    value, grid = dequantizer.outputs[0], grid_of(dequantizer)
    if grid is None:
        return None
    codes, sizes = input_of(dequantizer, 0).name, _sizes(value)
    if "Tile" in moves:
        tiled = _made(value, value, grid, codes)
        return replace(tiled, kind="Resize", moved=True)
    point = _made(value, input_of(rounder, 0), grid, codes)
    step = point.bias_step
    if step is not None and sizes is not None and sizes[1] is not None:
        step = step[: sizes[1]]  # of several pixels at once the channels come again
    return replace(point, sizes=sizes, bias_step=step, moved=True)


def _made(value: ir.Value, source: ir.Value, grid: Grid | None, codes: str | None) -> Point:
    before, names = source, [value.name, source.name]
    half = source.dtype == ir.DataType.FLOAT16
    while (node := before.producer()) is not None and node.op_type in PASSED and _reads_alone(node):
        before = input_of(node, 0)
        half = half or before.dtype == ir.DataType.FLOAT16
        names.append(before.name)
    return Point(
        name=value.name or "",
        source=source.name or "",
        aliases=frozenset(name for name in names if name),
        kind="" if node is None else node.op_type,
        sizes=_sizes(source),
        grid=grid,
        codes=codes,
        half=half,
        bias_step=None if node is None or grid is None else _bias_step(node),
    )


def _reads_alone(activation: ir.Node) -> bool:
    before = activation.inputs[0]
    return before is not None and len(before.uses()) == 1 and not before.is_graph_output()


def _sizes(value: ir.Value) -> tuple[int | None, ...] | None:
    return None if value.shape is None else tuple(size if isinstance(size, int) else None for size in value.shape)


def _bias_step(conv: ir.Node) -> Array | None:
    if conv.op_type != "Conv" or len(conv.inputs) < 3 or conv.inputs[2] is None:
        return None
    steps = []
    for position in range(2):
        dequantizer = input_of(conv, position).producer()
        if dequantizer is None or dequantizer.op_type != "DequantizeLinear":
            return None
        scale = input_of(dequantizer, 1).const_value
        if scale is None or scale.numpy().ndim > 1:
            return None
        steps.append(scale.numpy().astype(np.float64))
    shape = input_of(conv, 1).shape
    product: Array = steps[0].reshape(-1)[:1] * steps[1].reshape(-1)
    return product.reshape(-1, *[1] * (2 if shape is None else len(shape) - 2))


def _is_never_there(value: ir.Value) -> bool:
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return False
    (reader,) = (use.node for use in uses)
    if reader.op_type == "QuantizeLinear":
        return grid_of(reader) is not None and bool(dequantizers_behind(reader))
    return reader.op_type in ACTIVATIONS
