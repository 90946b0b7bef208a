"""Multiply-accumulates and bytes of handmade nodes, by hand, and of the zoo's models, by PyTorch's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from int8_masters import FAMILIES, SIDE, master_of
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgedet.errors import EdgedetError
from edgedet.graph.costs import NodeCost, file_costs, node_costs
from edgedet.graph.source import find_model
from edgedet.models.count import count_macs


def model_of(
    nodes: Sequence[NodeProto],
    shape: Sequence[int | str],
    constants: Mapping[str, Any],
    element: int = TensorProto.FLOAT,
) -> ModelProto:
    """From `x` to what the last node gives, whose sizes are left to shape inference."""
    output = helper.make_empty_tensor_value_info(nodes[-1].output[0])
    graph = helper.make_graph(
        nodes,
        "handmade",
        [helper.make_tensor_value_info("x", element, shape)],
        [output],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def weight(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def only(model: ModelProto, **options: Any) -> NodeCost:
    (cost,) = node_costs(model, **options)
    return cost


@pytest.mark.parametrize(
    ("stored", "attributes", "shape", "macs"),
    [
        # 16 channels of 8 x 8, each number of 4 x 3 x 3 products.
        (weight(16, 4, 3, 3), {"pads": [1] * 4}, (2, 16, 8, 8), 2 * 16 * 64 * 36),
        # Four groups: each number of 1 x 3 x 3 products.
        (weight(16, 1, 3, 3), {"pads": [1] * 4, "group": 4}, (2, 16, 8, 8), 2 * 16 * 64 * 9),
        # Every second place both ways: a quarter of the numbers.
        (weight(16, 4, 3, 3), {"pads": [1] * 4, "strides": [2, 2]}, (2, 16, 4, 4), 2 * 16 * 16 * 36),
        # A 3 x 3 kernel that is 5 x 5 wide, without padding: 4 x 4 places.
        (weight(16, 4, 3, 3), {"dilations": [2, 2]}, (2, 16, 4, 4), 2 * 16 * 16 * 36),
    ],
    ids=["plain", "groups", "strides", "dilation"],
)
def test_a_convolution_is_its_results_times_the_weights_of_one(
    stored: np.ndarray, attributes: dict[str, Any], shape: tuple[int, ...], macs: int
) -> None:
    cost = only(model_of([helper.make_node("Conv", ["x", "w"], ["y"], **attributes)], [2, 4, 8, 8], {"w": stored}))
    assert (cost.output_shape, cost.macs, cost.weights) == (shape, macs, stored.size)
    assert cost.read_bytes == 4 * 2 * 4 * 8 * 8
    assert cost.weight_bytes == 4 * stored.size
    assert cost.written_bytes == 4 * np.prod(shape)


def test_a_transposed_convolution_is_its_input_times_the_weights_of_one() -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    cost = only(model_of([node], [1, 4, 8, 8], {"w": weight(4, 6, 2, 2)}))
    assert cost.output_shape == (1, 6, 16, 16)
    assert cost.macs == 4 * 8 * 8 * 6 * 2 * 2


@pytest.mark.parametrize(
    ("operator", "attributes", "shape", "stored", "macs"),
    [
        ("Gemm", {}, [5, 7], weight(7, 3), 5 * 7 * 3),
        ("Gemm", {"transA": 1}, [7, 5], weight(7, 3), 5 * 7 * 3),
        ("Gemm", {"transB": 1}, [5, 7], weight(3, 7), 5 * 7 * 3),
        ("MatMul", {}, [2, 6, 5, 7], weight(7, 3), 2 * 6 * 5 * 7 * 3),
        ("MatMul", {}, [7], weight(7), 7),
    ],
)
def test_a_product_of_matrices_is_its_results_times_the_common_side(
    operator: str, attributes: dict[str, int], shape: list[int], stored: np.ndarray, macs: int
) -> None:
    cost = only(model_of([helper.make_node(operator, ["x", "w"], ["y"], **attributes)], shape, {"w": stored}))
    assert (cost.macs, cost.weights) == (macs, stored.size)


def test_integer_products_count_as_float_ones_and_an_integer_is_one_byte() -> None:
    grid = {"s": np.float32(0.1), "z": np.uint8(0), "zw": np.int8(0)}
    scales = ["s", "z", "w", "s", "zw", "s", "z"]
    convolution = helper.make_node("QLinearConv", ["x", *scales], ["y"], pads=[1] * 4)
    constants = {**grid, "w": np.zeros((16, 4, 3, 3), np.int8)}
    cost = only(model_of([convolution], [1, 4, 8, 8], constants, TensorProto.UINT8))
    assert (cost.macs, cost.read_bytes, cost.written_bytes) == (16 * 64 * 36, 4 * 64, 16 * 64)
    assert cost.weight_bytes == 16 * 36 + 3 * 4 + 2 * 1 + 1  # scales and zero points once for each place
    product = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    cost = only(model_of([product], [5, 7], {"w": np.zeros((7, 3), np.int8)}, TensorProto.UINT8))
    assert (cost.macs, cost.read_bytes, cost.weight_bytes, cost.written_bytes) == (105, 35, 21, 4 * 15)


def test_weights_behind_a_dequantizer_count_as_the_integers_that_are_stored() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "s", "zw"], ["w"], name="of weights"),
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv"),
    ]
    constants = {"codes": np.zeros((16, 4, 1, 1), np.int8), "s": np.float32(1), "zw": np.int8(0)}
    cost = only(model_of(nodes, [1, 4, 8, 8], constants))
    assert (cost.name, cost.weight_bytes, cost.weights) == ("conv", 64 + 4 + 1, 64)
    assert cost.inputs == ("x",)


def test_a_free_batch_is_as_large_as_it_is_said_to_be() -> None:
    model = model_of([helper.make_node("Conv", ["x", "w"], ["y"])], ["batch", 4, 8, 8], {"w": weight(16, 4, 1, 1)})
    one, four = (only(model, batch=batch) for batch in (1, 4))
    assert (four.macs, four.written_bytes) == (4 * one.macs, 4 * one.written_bytes)
    assert four.weight_bytes == one.weight_bytes


def test_what_computes_nothing_of_products_has_bytes_alone() -> None:
    cost = only(model_of([helper.make_node("Relu", ["x"], ["y"])], [1, 4, 8, 8], {}))
    assert (cost.name, cost.macs, cost.read_bytes, cost.written_bytes) == ("Relu of y", 0, 1024, 1024)


def test_sizes_that_only_running_tells_are_refused_at_a_product_and_left_open_elsewhere() -> None:
    pick = helper.make_node("NonZero", ["x"], ["y"])
    assert only(model_of([pick], [4, 8], {})).written_bytes is None
    picked = [pick, helper.make_node("Cast", ["y"], ["f"], to=TensorProto.FLOAT)]
    product = helper.make_node("MatMul", ["f", "f"], ["p"], name="product")
    with pytest.raises(EdgedetError, match="'product' are only known when running"):
        node_costs(model_of([*picked, product], [4, 8], {}))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"\x08\xff")
    with pytest.raises(EdgedetError, match="not a valid ONNX model"):
        file_costs(file)


def test_sizes_of_a_file_that_disagree_are_refused_or_told(tmp_path: Path) -> None:
    """A scalar multiplied with a matrix, whose result the file makes up."""
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], [], {"w": weight(7, 3)})
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 3]))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(EdgedetError):
        file_costs(tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_masters_nodes_add_up_to_its_networks_layers(name: str) -> None:
    detector, _ = find_model(name, classes=3, size=(SIDE, SIDE))
    assert sum(cost.macs for cost in node_costs(master_of(name))) == count_macs(detector, SIDE, SIDE)
