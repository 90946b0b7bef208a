"""The same integers in an order that ONNX Runtime's integer kernels are faster at.

Those kernels hold a map as `[B, H, W, C]`, so a reshape of its rows costs nothing there, and the transposes around it,
which the graph needs to say so, cancel with the runtime's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgedet.graph.lowerings.editing import (
    Array,
    array_of,
    dequantizer_of,
    initializer,
    input_of,
    insert,
    producer_of,
    sizes_of,
)

CHANNELS_LAST, CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
SAME = 0
"""In a reshape: the size that the tensor has there, whatever the batch is."""

POINTWISE = {"kernel_shape": {1}, "strides": {1}, "pads": {0}}
LANES = 16
"""Channels that an integer kernel gives at once."""

STEM = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
MOST_IMAGE_CHANNELS = 4
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}

Step = tuple[str, list[int]]


def pack_first_convolution(graph: ir.Graph) -> None:
    """Lets the 3x3 convolution of stride 2 over the image give two neighbouring pixels at once.

    Of 3 channels its kernel gathers 9 bytes from each of three rows, which takes longer than to multiply them. Four
    pixels side by side are taken as one of 12 channels, and the weights, zero where an output pixel does not look, give
    the channels of two output pixels. Each sum has the same terms as before.
    """
    for conv in [node for node in graph if node.op_type == "Conv"]:
        quantizer = _only_reader(conv.outputs[0], "QuantizeLinear")
        if quantizer is not None and _is_stem(conv):
            for name, numbers in (("kernel_shape", [3, 2]), ("strides", [2, 1]), ("pads", [1, 1, 1, 0])):
                conv.attributes[name] = ir.AttrInt64s(name, numbers)
            _pack(graph, conv, quantizer, packed_weights(array_of(_codes(conv, 1))), 4, 2)


def pack_narrow_convolutions(graph: ir.Graph) -> None:
    """Lets 1x1 convolutions of few output channels give those of neighbouring pixels at once.

    Fewer than 16 numbers of a pixel take an integer kernel as long as 16. Between different pixels the weights are
    zero.
    """
    for conv in [node for node in graph if node.op_type == "Conv"]:
        quantizer = _only_reader(conv.outputs[0], "QuantizeLinear")
        if quantizer is not None and (pixels := _pixels_at_once(conv)) > 1:
            weights = array_of(_codes(conv, 1))
            same_pixel = np.eye(pixels, dtype=weights.dtype)[:, :, None, None]
            _pack(graph, conv, quantizer, np.kron(same_pixel, weights), pixels, pixels)


def tile_upsampled_maps(graph: ir.Graph) -> None:
    """Replaces upsampling by the nearest neighbour between two equal grids: bytes are repeated, not looked up."""
    for resize in [node for node in graph if node.op_type == "Resize"]:
        dequantizer = input_of(resize, 0).producer()
        quantizer = _only_reader(resize.outputs[0], "QuantizeLinear")
        if dequantizer is None or dequantizer.op_type != "DequantizeLinear" or quantizer is None:
            continue
        if _repeats(resize) and _same_grid(dequantizer, quantizer):
            _tile(graph, resize, quantizer, input_of(dequantizer, 0))


def _tile(graph: ir.Graph, resize: ir.Node, quantizer: ir.Node, codes: ir.Value) -> None:
    channels, height, width = sizes_of(input_of(resize, 0))
    dequantizer = producer_of(input_of(resize, 0))
    _, new_height, new_width = sizes_of(resize.outputs[0])
    down, right = new_height // height, new_width // width
    steps: list[Step] = [
        ("Transpose", CHANNELS_LAST),
        ("Reshape", [SAME, height, 1, width, 1, channels]),
        ("Tile", [1, 1, down, 1, right, 1]),
        ("Reshape", [SAME, new_height, new_width, channels]),
        ("Transpose", CHANNELS_FIRST),
    ]
    tiled = _through(graph, resize, f"{resize.name}/tiled", codes, steps)
    ir.convenience.replace_all_uses_with(quantizer.outputs[0], tiled)
    graph.remove([quantizer, resize], safe=True)
    _remove_if_unread(graph, dequantizer)


def _is_stem(conv: ir.Node) -> bool:
    """Whether it is a convolution that `packed_weights` can be of."""
    given = {name: list(conv.attributes.get_ints(name, ())) for name in STEM}
    channels, height, width = sizes_of(input_of(conv, 0))
    fits = channels <= MOST_IMAGE_CHANNELS and height % 2 == 0 and width % 4 == 0
    return given == STEM and fits and _is_plain(conv)


def _is_plain(conv: ir.Node) -> bool:
    """Whether it is of integers, with integer weights and none or integer biases, and no groups or holes."""
    sources = [None if value is None else value.producer() for value in conv.inputs]
    integers = all(source is not None and source.op_type == "DequantizeLinear" for source in sources)
    dilations = set(conv.attributes.get_ints("dilations", ()))
    return integers and conv.attributes.get_int("group", 1) == 1 and dilations <= {1}


def _pixels_at_once(conv: ir.Node) -> int:
    """How many a 1x1 convolution should take as one; 1 where that gains nothing."""
    (channels, _, width), (out_channels, *_) = sizes_of(input_of(conv, 0)), sizes_of(conv.outputs[0])
    given = {name: set(conv.attributes.get_ints(name, ())) for name in POINTWISE}
    pointwise = all(found <= POINTWISE[name] for name, found in given.items())
    if not pointwise or not _is_plain(conv) or out_channels >= LANES:
        return 1
    pixels = 4 if channels <= LANES else 2
    return pixels if width % pixels == 0 else 1


def _pack(graph: ir.Graph, conv: ir.Node, quantizer: ir.Node, weights: Array, pixels: int, out_pixels: int) -> None:
    """Lets a convolution take neighbouring pixels of a row as one; its sizes and strides are those of such pixels.

    Args:
        graph: the graph.
        conv: reads integers.
        quantizer: alone reads what it gives.
        weights: integers for pixels side by side.
        pixels: so many are one of the input.
        out_pixels: and of the result.
    """
    channels, height, width = sizes_of(input_of(conv, 0))
    out_channels, out_height, out_width = sizes_of(conv.outputs[0])
    steps: list[Step] = [
        ("Transpose", CHANNELS_LAST),
        ("Reshape", [SAME, height, width // pixels, pixels * channels]),
        ("Transpose", CHANNELS_FIRST),
    ]
    _dequantize(graph, conv, 0, _through(graph, conv, f"{conv.name}/packed", _codes(conv, 0), steps))
    _dequantize_repeated(graph, conv, 1, weights, out_pixels)
    if len(conv.inputs) == 3:
        _dequantize_repeated(graph, conv, 2, np.tile(array_of(_codes(conv, 2)), out_pixels), out_pixels)
    for value in (conv.outputs[0], quantizer.outputs[0]):
        assert value.shape is not None
        value.shape = ir.Shape([value.shape[0], out_pixels * out_channels, out_height, out_width // out_pixels])
    steps = [
        ("Transpose", CHANNELS_LAST),
        ("Reshape", [SAME, out_height, out_width, out_channels]),
        ("Transpose", CHANNELS_FIRST),
    ]
    reader = dequantizer_of(quantizer)
    reader.replace_input_with(0, _through(graph, reader, f"{conv.name}/unpacked", quantizer.outputs[0], steps))


def packed_weights(weights: Array) -> Array:
    """Weights `[C, K, 3, 3]` of a convolution of stride 2 to `[2 C, 4 K, 3, 2]`, of two output pixels side by side.

    Of the eight columns in two packed ones the left output pixel looks at the fourth to sixth, the right one at the
    sixth to eighth.
    """
    out_channels, channels = weights.shape[:2]
    columns = np.zeros((2, out_channels, 3, 8, channels), weights.dtype)
    for pixel, first in enumerate((3, 5)):
        columns[pixel, :, :, first : first + 3] = weights.transpose(0, 2, 3, 1)
    return columns.reshape(2 * out_channels, 3, 2, 4 * channels).transpose(0, 3, 1, 2).copy()


def _codes(node: ir.Node, position: int) -> ir.Value:
    """The integers that an input is dequantized from."""
    return input_of(producer_of(input_of(node, position)), 0)


def _dequantize(graph: ir.Graph, conv: ir.Node, position: int, codes: ir.Value, grid: Sequence[ir.Value] = ()) -> None:
    """Lets an input of a convolution be other integers, on the grid that it had unless one is given."""
    old = producer_of(input_of(conv, position))
    inputs = [codes, *(grid or old.inputs[1:])]
    new = ir.Node("", old.op_type, inputs, old.attributes.values(), name=f"{old.name}/packed")
    dequantized = insert(graph, conv, new)
    dequantized.shape = codes.shape
    conv.replace_input_with(position, dequantized)
    _remove_if_unread(graph, old)


def _dequantize_repeated(graph: ir.Graph, conv: ir.Node, position: int, codes: Array, times: int) -> None:
    """The same for constant integers of several times the channels, each with the grid of the channel it is of."""
    old = producer_of(input_of(conv, position))
    arrays = (codes, *(np.tile(array_of(input_of(old, place)), times) for place in (1, 2)))
    names = (f"{old.name}/packed/{name}" for name in ("integers", "scale", "zero_point"))
    constants = [initializer(graph, name, array) for name, array in zip(names, arrays, strict=True)]
    _dequantize(graph, conv, position, constants[0], constants[1:])


def _through(graph: ir.Graph, before: ir.Node, name: str, value: ir.Value, steps: Sequence[Step]) -> ir.Value:
    """Sends a tensor through transposes, reshapes and tilings; the numbers are permutations, shapes and repeats."""
    for number, (op_type, numbers) in enumerate(steps):
        path = f"{name}/{number}/{op_type}"
        if op_type == "Transpose":
            node = ir.node(op_type, [value], attributes={"perm": numbers}, name=path)
        else:
            node = ir.node(op_type, [value, initializer(graph, f"{path}/numbers", np.array(numbers))], name=path)
        assert value.dtype is not None
        shape = value.shape
        value = insert(graph, before, node, value.dtype)
        value.shape = None if shape is None else ir.Shape(_shape_after(op_type, numbers, list(shape)))
    return value


def _shape_after(op_type: str, numbers: Sequence[int], shape: Sequence[Any]) -> list[Any]:
    if op_type == "Transpose":
        return [shape[number] for number in numbers]
    if op_type == "Reshape":
        return [shape[place] if number == SAME else number for place, number in enumerate(numbers)]
    return [size if number == 1 else size * number for size, number in zip(shape, numbers, strict=True)]


def _remove_if_unread(graph: ir.Graph, node: ir.Node) -> None:
    if not node.outputs[0].uses():
        graph.remove(node, safe=True)


def _only_reader(value: ir.Value, op_type: str) -> ir.Node | None:
    readers = [use.node for use in value.uses()]
    return readers[0] if [node.op_type for node in readers] == [op_type] else None


def _repeats(resize: ir.Node) -> bool:
    """Whether every number of the input is given the same whole number of times in both directions."""
    given = {name: resize.attributes.get_string(name) for name in NEAREST}
    (channels, *sizes), (new_channels, *new_sizes) = sizes_of(input_of(resize, 0)), sizes_of(resize.outputs[0])
    whole = all(new % old == 0 for old, new in zip(sizes, new_sizes, strict=True))
    return given == NEAREST and whole and channels == new_channels


def _same_grid(dequantizer: ir.Node, quantizer: ir.Node) -> bool:
    grids = [[array_of(input_of(node, position)) for position in (1, 2)] for node in (dequantizer, quantizer)]
    return all(np.array_equal(first, second) for first, second in zip(*grids, strict=True))
