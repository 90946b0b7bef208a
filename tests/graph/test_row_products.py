"""The convolutions that give the logits become integer products of matrices, of the same numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgedet.graph.lowerings.row_products import find_rows, multiply_rows

RANDOM = np.random.default_rng(0)
CHANNELS = 5


def level(index: int, out_channels: int, *, quantized: bool = True, **attributes: Any) -> tuple[list[NodeProto], dict]:
    """A quantized map, a 1x1 convolution of it and its flattened result."""
    name = f"l{index}"
    kernel = attributes.get("kernel_shape", [1, 1])
    scale = RANDOM.uniform(0.01, 0.02, out_channels).astype(np.float32)
    constants = {
        f"{name}_xs": np.float32(0.02),
        f"{name}_xz": np.uint8(7 * index),
        f"{name}_w": RANDOM.integers(-127, 128, (out_channels, CHANNELS, *kernel), np.int8),
        f"{name}_ws": scale,
        f"{name}_wz": np.zeros(out_channels, np.int8),
        f"{name}_b": RANDOM.integers(-3000, 3000, out_channels, np.int32),
        f"{name}_bs": scale * np.float32(0.02),
        f"{name}_bz": np.zeros(out_channels, np.int32),
        f"{name}_shape": np.array([0, out_channels, -1]),
    }
    grid = [f"{name}_xs", f"{name}_xz"]
    weight = [f"{name}_w", f"{name}_ws", f"{name}_wz"]
    bias = [f"{name}_b", f"{name}_bs", f"{name}_bz"]
    nodes = [
        helper.make_node("QuantizeLinear", [name, *grid], [f"{name}_q"]),
        helper.make_node("DequantizeLinear", [f"{name}_q", *grid], [f"{name}_x"]),
        helper.make_node("DequantizeLinear", weight, [f"{name}_wf"], axis=0),
        helper.make_node("DequantizeLinear", bias, [f"{name}_bf"], axis=0),
        helper.make_node(
            "Conv",
            [f"{name}_x" if quantized else name, f"{name}_wf", f"{name}_bf"],
            [f"{name}_conv"],
            name=f"{name}/Conv",
            **attributes,
        ),
        helper.make_node("Reshape", [f"{name}_conv", f"{name}_shape"], [f"{name}_flat"]),
    ]
    return nodes, constants


def head(
    sizes: Sequence[tuple[int, int]] = ((4, 6), (2, 3)),
    out_channels: int = 7,
    cuts: Sequence[tuple[int, int]] = ((0, 3), (3, 7)),
    batch: int | str = "batch",
    outputs: Sequence[str] = (),
    perm: Sequence[int] = (0, 2, 1),
    quantized: bool = True,
    steps: int = 1,
    **attributes: Any,
) -> ModelProto:
    nodes, constants = list[NodeProto](), dict[str, Any]()
    for index in range(len(sizes)):
        more, numbers = level(index, out_channels, quantized=quantized, **attributes)
        nodes += more
        constants.update(numbers)
    nodes.append(helper.make_node("Concat", [f"l{i}_flat" for i in range(len(sizes))], ["joined"], axis=2, name="join"))
    nodes.append(helper.make_node("Transpose", ["joined"], ["logits"], perm=perm, name="turn"))
    results = list(outputs)
    for number, (first, last) in enumerate(cuts):
        numbers = {"starts": [first], "ends": [last], "axes": [2], "steps": [steps]}
        names = [f"cut{number}_{key}" for key in numbers]
        constants.update(zip(names, map(np.array, numbers.values()), strict=True))
        nodes.append(helper.make_node("Slice", ["logits", *names], [f"cut{number}"], name=f"slice{number}"))
        results.append(f"cut{number}")
    if not results:
        nodes.append(helper.make_node("Sigmoid", ["logits"], ["scores"]))
        results.append("scores")
    inputs = [
        helper.make_tensor_value_info(f"l{i}", TensorProto.FLOAT, [batch, CHANNELS, *size])
        for i, size in enumerate(sizes)
    ]
    infos = [helper.make_empty_tensor_value_info(name) for name in results]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, infos, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def multiplied(model: ModelProto) -> ModelProto:
    result = ir.from_proto(model)
    for rows in find_rows(result.graph):
        multiply_rows(result.graph, rows)
    proto = ir.to_proto(result)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run(model: ModelProto, inputs: dict[str, np.ndarray], *, optimize: bool = False) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, inputs)]


def images(sizes: Sequence[tuple[int, int]], batch: int) -> dict[str, np.ndarray]:
    return {f"l{i}": RANDOM.normal(size=(batch, CHANNELS, *size)).astype(np.float32) for i, size in enumerate(sizes)}


def kinds(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3),
    cut=st.integers(1, 6),
    batch=st.sampled_from([1, 3]),
    free=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_the_logits_are_the_same(sizes: list[tuple[int, int]], cut: int, batch: int, free: bool) -> None:
    model = head(sizes, cuts=((0, cut), (cut, 7)), batch="batch" if free else batch)
    products = multiplied(model)
    found = kinds(products)
    assert (found["Conv"], found["Slice"], found["Gemm"]) == (0, 0, 2 * len(sizes))
    inputs = images(sizes, batch)
    for expected, *others in zip(
        run(model, inputs), run(products, inputs), run(products, inputs, optimize=True), strict=True
    ):
        for other in others:
            np.testing.assert_allclose(other, expected, rtol=1e-5, atol=1e-4)


def test_onnx_runtime_multiplies_integers(tmp_path: Any) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(multiplied(head()).SerializeToString(), options)
    found = kinds(onnx.load(tmp_path / "optimized.onnx"))
    assert (found["QGemm"], found["Gemm"]) == (4, 0)


@pytest.mark.parametrize(
    ("cuts", "gemms"),
    [
        ([], 1),
        ([(0, 7)], 1),
        ([(0, 3)], 1),
        ([(3, 2**31 - 1)], 1),
        ([(0, 3), (3, 7), (2, 5)], 3),
    ],
)
def test_each_slice_is_a_product(cuts: list[tuple[int, int]], gemms: int) -> None:
    """The channels that nobody reads are not computed; without slices all are one product."""
    model = head(cuts=cuts)
    products = multiplied(model)
    assert kinds(products)["Gemm"] == 2 * gemms
    assert kinds(products)["Slice"] == 0
    inputs = images(((4, 6), (2, 3)), 2)
    for found, expected in zip(run(products, inputs), run(model, inputs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "changed",
    [{"outputs": ["logits"]}, {"cuts": [(-3, 7)]}, {"steps": 2}],
    ids=["the logits are an output", "a slice counts from the end", "a slice leaves channels out"],
)
def test_other_readers_get_all_channels(changed: dict[str, Any]) -> None:
    model = head(**changed)
    products = multiplied(model)
    assert kinds(products)["Gemm"] == 2
    assert kinds(products)["Slice"] == kinds(model)["Slice"]
    inputs = images(((4, 6), (2, 3)), 2)
    for found, expected in zip(run(products, inputs), run(model, inputs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "changed",
    [
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
        {"strides": [2, 2]},
        {"pads": [1, 1, 1, 1]},
        {"perm": [2, 0, 1], "cuts": []},
        {"quantized": False},
        {"outputs": ["joined"]},
        {"outputs": ["l0_flat"]},
        {"outputs": ["l1_conv"]},
    ],
    ids=str,
)
def test_others_stay(changed: dict[str, Any]) -> None:
    model = head(**changed)
    assert kinds(multiplied(model)) == kinds(model)
