"""The convolutions that give the logits, as products of matrices.

ONNX Runtime has no integer convolution that gives floats, but an integer product of matrices that does. A convolution
of 1x1 is one, of all cells' channels with the weights. Its rows are what the transpose behind the logits makes of them,
and where readers slice them, each slice is a product of its own: neither transpose nor slices are left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgedet.graph.lowerings.editing import array_of, initializer, input_of, insert, producer_of, sizes_of

CHANNELS_LAST, ROWS_LAST = [0, 2, 3, 1], [0, 2, 1]
POINTWISE = {"kernel_shape": {1}, "strides": {1}, "pads": {0}, "dilations": {1}}


@dataclass(frozen=True, eq=False)
class Rows:
    """Logits of all levels.

    Attributes:
        transpose: gives them as `[B, N, C]`.
        concat: joins the levels.
        convs: of the levels, in this order.
    """

    transpose: ir.Node
    concat: ir.Node
    convs: tuple[ir.Node, ...]


def find_rows(graph: ir.Graph) -> list[Rows]:
    """The transposes of what quantized 1x1 convolutions alone give, flattened and joined."""
    found = (_rows(node) for node in graph if node.op_type == "Transpose")
    return [rows for rows in found if rows is not None]


def multiply_rows(graph: ir.Graph, rows: Rows) -> None:
    """Replaces the convolutions, their join and its transpose by products.

    Args:
        graph: the graph.
        rows: of `find_rows`; activations, weights and biases are integers now.
    """
    lefts = [_left(graph, conv) for conv in rows.convs]
    for value, first, last in list(_slices(rows.transpose.outputs[0])):
        products = [
            _product(graph, conv, left, slice(first, last)) for conv, left in zip(rows.convs, lefts, strict=True)
        ]
        name = f"{rows.concat.name}/{first}"
        joined = insert(graph, rows.transpose, ir.node("Concat", products, attributes={"axis": 1}, name=name))
        ir.convenience.replace_all_uses_with(value, joined, replace_graph_outputs=True)
        joined.name, value.name = value.name, f"{value.name} of convolutions"
        joined.shape = value.shape
        if value is not rows.transpose.outputs[0]:
            graph.remove(producer_of(value), safe=True)
    flattened = [producer_of(value) for value in rows.concat.inputs if value is not None]
    dequantizers = [producer_of(input_of(conv, position)) for conv in rows.convs for position in (1, 2)]
    graph.remove([rows.transpose, rows.concat, *flattened, *rows.convs, *dequantizers], safe=True)


def _rows(transpose: ir.Node) -> Rows | None:
    concat = input_of(transpose, 0).producer()
    if list(transpose.attributes.get_ints("perm", ())) != ROWS_LAST or concat is None or concat.op_type != "Concat":
        return None
    parts = [value.producer() for value in concat.inputs if value is not None]
    if concat.attributes.get_int("axis") not in (2, -1) or not _is_read_once(concat):
        return None
    convs = []
    for part in parts:
        conv = None if part is None or part.op_type != "Reshape" else input_of(part, 0).producer()
        if part is None or conv is None or conv.op_type != "Conv" or not (_is_read_once(part) and _is_read_once(conv)):
            return None
        convs.append(conv)
    return Rows(transpose, concat, tuple(convs)) if all(map(_is_product, convs)) else None


def _is_product(conv: ir.Node) -> bool:
    sources = [None if value is None else value.producer() for value in conv.inputs[:2]]
    quantized = all(source is not None and source.op_type == "DequantizeLinear" for source in sources)
    given = {name: set(conv.attributes.get_ints(name, ())) for name in POINTWISE}
    plain = conv.attributes.get_int("group", 1) == 1 and len(conv.inputs) == 3
    return quantized and plain and all(found <= POINTWISE[name] for name, found in given.items())


def _is_read_once(node: ir.Node) -> bool:
    return len(node.outputs[0].uses()) == 1 and not node.outputs[0].is_graph_output()


def _slices(logits: ir.Value) -> Iterator[tuple[ir.Value, int, int]]:
    """Where slices of the last dimension alone read the logits, each and its ends; else all of them."""
    channels = sizes_of(logits)[-1]
    found = []
    for node in {use.node for use in logits.uses()}:
        ends = _ends(node, channels)
        if ends is None or logits.is_graph_output():
            yield logits, 0, channels
            return
        found.append((node.outputs[0], *ends))
    yield from sorted(found, key=lambda ends: ends[1:])


def _ends(node: ir.Node, channels: int) -> tuple[int, int] | None:
    constants = [None if value is None else value.const_value for value in node.inputs[1:]]
    if node.op_type != "Slice" or len(constants) < 3 or any(constant is None for constant in constants):
        return None
    numbers = [constant.numpy().tolist() for constant in constants if constant is not None]
    (first, last), axes = (number[0] for number in numbers[:2]), numbers[2]
    if axes not in ([2], [-1]) or numbers[3:] not in ([], [[1]]) or not 0 <= first < channels:
        return None
    last = min(last, channels)
    return (first, last) if first < last else None


def _left(graph: ir.Graph, conv: ir.Node) -> ir.Value:
    """The map that a convolution reads, as a matrix of a row for each cell."""
    cells = input_of(conv, 0)
    node = ir.node("Transpose", [cells], attributes={"perm": CHANNELS_LAST}, name=f"{conv.name}/rows/Transpose")
    shape = initializer(graph, f"{conv.name}/rows/shape", np.array([-1, sizes_of(cells)[0]]))
    last = insert(graph, conv, node)
    return insert(graph, conv, ir.node("Reshape", [last, shape], name=f"{conv.name}/rows/Reshape"))


def _product(graph: ir.Graph, conv: ir.Node, left: ir.Value, channels: slice) -> ir.Value:
    """What a convolution gives in some channels, `[B, H * W, channels]`."""
    name = f"{conv.name}/{channels.start}"
    right = _dequantized(graph, conv, 1, channels, name)
    bias = _dequantized(graph, conv, 2, channels, name)
    product = insert(graph, conv, ir.node("Gemm", [left, right, bias], name=name))
    _, height, width = sizes_of(conv.outputs[0])
    numbers = np.array([-1, height * width, channels.stop - channels.start])
    shape = initializer(graph, f"{name}/shape", numbers)
    return insert(graph, conv, ir.node("Reshape", [product, shape], name=f"{name}/Reshape"))


def _dequantized(graph: ir.Graph, conv: ir.Node, position: int, channels: slice, name: str) -> ir.Value:
    """Weights `[K, channels]` or biases `[channels]` of some channels."""
    old = producer_of(input_of(conv, position))
    codes, scale, zero_point = (array_of(input_of(old, place))[channels] for place in range(3))
    if position == 1:
        codes = codes.reshape(codes.shape[:2]).T.copy()
    name = f"{name}/{'weight' if position == 1 else 'bias'}"
    constants = {"integers": codes, "scale": scale, "zero_point": zero_point}
    inputs = [initializer(graph, f"{name}/{key}", array) for key, array in constants.items()]
    attributes = {"axis": codes.ndim - 1}
    node = ir.node("DequantizeLinear", inputs, attributes=attributes, name=f"{name}/DequantizeLinear")
    return insert(graph, conv, node)
