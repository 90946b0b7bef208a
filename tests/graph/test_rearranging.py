"""What is rearranged for ONNX Runtime gives the same integers, and only what is slow otherwise is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgedet.graph.lowerings.rearranging import (
    pack_first_convolution,
    pack_narrow_convolutions,
    tile_upsampled_maps,
)

RANDOM = np.random.default_rng(0)
HALF_UP = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_floor"}
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
POINTWISE = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0, 0, 0, 0]}
STEM = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}


def dequantize(name: str, grid: str = "", **attributes: int) -> NodeProto:
    inputs = [name, f"{grid or name}_scale", f"{grid or name}_zero"]
    return helper.make_node(
        "DequantizeLinear", inputs, [f"{name}_float"], name=f"{name}/DequantizeLinear", **attributes
    )


def quantize(source: str, output: str, grid: str) -> NodeProto:
    inputs = [source, f"{grid}_scale", f"{grid}_zero"]
    return helper.make_node("QuantizeLinear", inputs, [output], name=f"{output}/QuantizeLinear")


def model_of(
    nodes: list[NodeProto], constants: dict[str, np.ndarray], shapes: Mapping[str, Sequence[int | str]], output: str
) -> ModelProto:
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", [infos["images"]], [infos[output]], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def stem_model(
    channels: int = 3,
    out_channels: int = 5,
    size: tuple[int, int] = (6, 8),
    batch: int | str = 1,
    zero_point: int = 7,
    bias: bool = True,
    **attributes: Any,
) -> ModelProto:
    attributes = {**STEM, **attributes}
    kernel = attributes["kernel_shape"]
    weight_scale = RANDOM.uniform(0.01, 0.02, out_channels).astype(np.float32)
    constants = {
        "x_scale": np.float32(0.02),
        "x_zero": np.uint8(zero_point),
        "w": RANDOM.integers(-128, 128, (out_channels, channels // attributes.get("group", 1), *kernel), np.int8),
        "w_scale": weight_scale,
        "w_zero": np.zeros(out_channels, np.int8),
        "b": RANDOM.integers(-3000, 3000, out_channels, np.int32),
        "b_scale": weight_scale * np.float32(0.02),
        "b_zero": np.zeros(out_channels, np.int32),
        "y_scale": np.float32(0.1),
        "y_zero": np.uint8(100),
    }
    inputs = ["x_float", "w_float", *(["b_float"] if bias else [])]
    nodes = [
        quantize("images", "x", "x"),
        dequantize("x"),
        dequantize("w", axis=0),
        *([dequantize("b", axis=0)] if bias else []),
        helper.make_node("Conv", inputs, ["conv"], name="stem/Conv", **attributes),
        quantize("conv", "y", "y"),
        dequantize("y"),
    ]
    used = {name for node in nodes for name in node.input}
    constants = {name: np.asarray(array) for name, array in constants.items() if name in used}
    shapes: dict[str, list[int | str]] = {
        "images": [batch, channels, *size],
        "y_float": [batch, out_channels, "h", "w"],
    }
    return model_of(nodes, constants, shapes, "y_float")


def resize_model(factors: tuple[float, float], *, same_grid: bool = True, **attributes: Any) -> ModelProto:
    constants = {
        "x_scale": np.float32(0.02),
        "x_zero": np.uint8(7),
        "y_scale": np.float32(0.02 if same_grid else 0.03),
        "y_zero": np.uint8(7),
        "scales": np.array([1, 1, *factors], np.float32),
    }
    nodes = [
        quantize("images", "x", "x"),
        dequantize("x"),
        helper.make_node("Resize", ["x_float", "", "scales"], ["resized"], name="up/Resize", **attributes),
        quantize("resized", "y", "y"),
        dequantize("y"),
    ]
    size = [int(4 * factors[0]), int(6 * factors[1])]
    arrays = {name: np.asarray(array) for name, array in constants.items()}
    return model_of(nodes, arrays, {"images": ["batch", 3, 4, 6], "y_float": ["batch", 3, *size]}, "y_float")


def rearranged(model: ModelProto) -> ModelProto:
    result = ir.from_proto(model)
    pack_first_convolution(result.graph)
    pack_narrow_convolutions(result.graph)
    tile_upsampled_maps(result.graph)
    proto = ir.to_proto(result)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run(model: ModelProto, images: np.ndarray) -> np.ndarray:
    """As written, without the runtime's own rearranging."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


def kinds(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@given(
    channels=st.integers(1, 4),
    out_channels=st.integers(1, 9),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    batch=st.sampled_from([1, 3]),
    zero_point=st.sampled_from([0, 128, 255]),
    bias=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_two_pixels_at_once_are_those_of_one_after_the_other(
    channels: int, out_channels: int, size: tuple[int, int], batch: int, zero_point: int, bias: bool
) -> None:
    height, width = 2 * size[0], 4 * size[1]
    model = stem_model(channels, out_channels, (height, width), "batch", zero_point, bias)
    packed = rearranged(model)
    (conv,) = (node for node in packed.graph.node if node.op_type == "Conv")
    assert {one.name: list(one.ints) for one in conv.attribute}["strides"] == [2, 1]
    images = RANDOM.normal(scale=2, size=(batch, channels, height, width)).astype(np.float32)
    expected = run(model, images)
    assert expected.std() > 0
    np.testing.assert_array_equal(run(packed, images), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"strides": [1, 1]},
        {"pads": [0, 0, 0, 0]},
        {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]},
        {"kernel_shape": [1, 1], "pads": [0, 0, 0, 0]},
        {"dilations": [2, 2], "pads": [2, 2, 2, 2]},
        {"channels": 5},
        {"group": 3, "out_channels": 3},
        {"size": (6, 10)},
        {"size": (7, 8)},
    ],
    ids=str,
)
def test_other_convolutions_stay(options: dict[str, Any]) -> None:
    model = stem_model(**options)
    assert kinds(rearranged(model)) == kinds(model)


def test_a_convolution_whose_result_is_read_in_float_stays() -> None:
    model = stem_model()
    model.graph.node.append(helper.make_node("Relu", ["conv"], ["relu"], name="relu"))
    assert "Reshape" not in kinds(rearranged(model))


@given(
    channels=st.integers(1, 20),
    out_channels=st.integers(1, 15),
    size=st.tuples(st.integers(1, 4), st.integers(1, 2)),
    batch=st.sampled_from([1, 3]),
    bias=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_narrow_convolutions_give_the_same_of_several_pixels(
    channels: int, out_channels: int, size: tuple[int, int], batch: int, bias: bool
) -> None:
    height, width = size[0], 4 * size[1]
    model = stem_model(channels, out_channels, (height, width), "batch", 128, bias, **POINTWISE)
    packed = rearranged(model)
    weight = next(
        tensor for tensor in packed.graph.initializer if tensor.name.endswith("w/DequantizeLinear/packed/integers")
    )
    pixels = 4 if channels <= 16 else 2
    assert list(weight.dims) == [pixels * out_channels, pixels * channels, 1, 1]
    images = RANDOM.normal(scale=2, size=(batch, channels, height, width)).astype(np.float32)
    np.testing.assert_array_equal(run(packed, images), run(model, images))


@pytest.mark.parametrize(
    "options",
    [
        {"out_channels": 16},
        {"strides": [2, 2]},
        {"pads": [1, 1, 1, 1]},
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
        {"channels": 4, "group": 2, "out_channels": 4},
        {"size": (8, 6)},
        {"channels": 20, "size": (8, 7)},
    ],
    ids=str,
)
def test_other_narrow_convolutions_stay(options: dict[str, Any]) -> None:
    model = stem_model(**{**POINTWISE, **options})
    assert kinds(rearranged(model)) == kinds(model)


def test_what_others_read_too_stays_as_it_is() -> None:
    """Only the narrow convolution reads packed pixels."""
    model = stem_model(channels=5, out_channels=5, **POINTWISE)
    model.graph.node.append(helper.make_node("Add", ["x_float", "y_float"], ["sum"], name="sum"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, 5, 6, 8]))
    packed = rearranged(model)
    assert "Reshape" in kinds(packed)
    images = RANDOM.normal(size=(1, 5, 6, 8)).astype(np.float32)
    np.testing.assert_array_equal(run(packed, images), run(model, images))


@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (1, 2), (4, 3)])
@pytest.mark.parametrize("batch", [1, 2])
def test_tiled_maps_are_the_upsampled_ones(factors: tuple[int, int], batch: int) -> None:
    model = resize_model(factors, **NEAREST)
    tiled = rearranged(model)
    assert (kinds(tiled)["Tile"], kinds(tiled)["Resize"]) == (1, 0)
    images = RANDOM.normal(size=(batch, 3, 4, 6)).astype(np.float32)
    np.testing.assert_array_equal(run(tiled, images), run(model, images))


@pytest.mark.parametrize(
    "model",
    [
        resize_model((1.5, 2), **NEAREST),
        resize_model((0.5, 0.5), **NEAREST),
        resize_model((2, 2), mode="linear"),
        resize_model((2, 2), **HALF_UP),
        resize_model((2, 2), same_grid=False, **NEAREST),
    ],
    ids=["not whole", "down", "linear", "half pixel", "between grids"],
)
def test_other_resizing_stays(model: ModelProto) -> None:
    assert kinds(rearranged(model)) == kinds(model)
