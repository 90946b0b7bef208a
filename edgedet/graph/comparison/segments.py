"""What stands between a tensor and those before it that are looked at too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgedet.graph.comparison.points import Point, constants_of, dequantizers_behind
from edgedet.graph.lowerings.editing import input_of, producer_of

NARROW = frozenset({ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4})
"""What weights are rounded to. Biases have 32 bits: rounding them does not show."""

QUANTIZERS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})
BETWEEN = QUANTIZERS | {"DequantizeLinear"}


@dataclass(frozen=True)
class Segment:
    """The part of a graph that gives a point.

    Attributes:
        inputs: the tensors that it is computed of, by name, in the order in which they are read.
        rounds_weights: whether weights in it are rounded.
        rounds_within: whether something in it is rounded that is no point to stop at.
        nodes: its operators but for quantizers and dequantizers, by name, in the order of computation.
    """

    inputs: tuple[str, ...]
    rounds_weights: bool
    rounds_within: bool
    nodes: tuple[str, ...]


class Segments:
    """The segments of a graph.

    Args:
        graph: the graph.
        points: of `points_of`.
    """

    def __init__(self, graph: ir.Graph, points: Sequence[Point]) -> None:
        self._constant = constants_of(graph)
        values = {value.name: value for node in graph for value in node.outputs}
        values.update({value.name: value for value in graph.inputs})
        self._values = values
        self._place = {node: place for place, node in enumerate(graph)}
        self._seen: dict[ir.Value, Point] = {}
        for point in points:
            self._seen.update(dict.fromkeys(values_read(point, values), point))
            if point.codes is not None:
                self._seen[values[point.codes]] = point

    def before(self, point: Point, stops: Collection[Point]) -> Segment:
        """The segment between a point and the nearest of `stops` and of the graph's inputs."""
        inputs, nodes, weights, within = list[str](), set[ir.Node](), False, False
        known, open_values = set[ir.Value](), [self._values[point.source]]
        while open_values:
            value = open_values.pop()
            if value in known:
                continue
            known.add(value)
            node, stop = value.producer(), self._seen.get(value)
            if value in self._constant:
                weights = weights or _is_rounded(value)
            elif stop is not None and stop is not point and stop in stops:
                inputs.append(stop.name)
            elif node is None:
                inputs.append(value.name or "")
            else:
                nodes.add(node)
                within = within or node.op_type in QUANTIZERS
                open_values += [given for given in reversed(node.inputs) if given is not None]
        ordered = sorted(nodes, key=self._place.__getitem__)
        names = tuple(node.name or node.op_type for node in ordered if node.op_type not in BETWEEN)
        return Segment(tuple(inputs), weights, within, names)


def values_read(point: Point, values: dict[str | None, ir.Value]) -> list[ir.Value]:
    """What the readers of a point read: where it is quantized, what any of its dequantizers gives."""
    if point.codes is None:
        return [values[point.name]]
    return [node.outputs[0] for node in dequantizers_behind(producer_of(values[point.codes]))]


def _is_rounded(constant: ir.Value) -> bool:
    """Whether a constant comes from narrow integers, through whatever turns or shapes it."""
    while (node := constant.producer()) is not None and node.inputs:
        if node.op_type == "DequantizeLinear":
            return input_of(node, 0).dtype in NARROW
        if node.inputs[0] is None:
            return False
        constant = node.inputs[0]
    return False
