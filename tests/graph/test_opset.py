from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgedet.errors import EdgedetError
from edgedet.graph.opset import to_opset_13, to_opset_17

SCALES = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
AXES = numpy_helper.from_array(np.array([1, -1], np.int64), "axes")


def model_of(nodes: Sequence[NodeProto], outputs: Sequence[str] = ("y",), opset: int = 18) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 3, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, f"{name}1", f"{name}2", f"{name}3"])
            for name in outputs
        ],
        [SCALES, AXES],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def run(model: ModelProto) -> list[Any]:
    x = np.random.default_rng(0).normal(scale=3, size=(1, 4, 3, 3)).astype(np.float32)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})


RESIZE = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}


@pytest.mark.parametrize(
    ("node", "outputs"),
    [
        (helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2), ["a", "b"]),
        (helper.make_node("Resize", ["x", "", "scales"], ["y"], antialias=0, **RESIZE), ["y"]),
        (helper.make_node("ReduceMax", ["x", "axes"], ["y"], keepdims=1, noop_with_empty_axes=0), ["y"]),
        (helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=1), ["y"]),
        (helper.make_node("Mish", ["x"], ["y"]), ["y"]),
        (helper.make_node("HardSwish", ["x"], ["y"]), ["y"]),
    ],
    ids=lambda value: value.op_type if isinstance(value, NodeProto) else None,
)
def test_the_lowered_model_computes_the_same(node: NodeProto, outputs: list[str]) -> None:
    model = model_of([node], outputs)
    before = model.SerializeToString()
    lowered = to_opset_17(model)
    onnx.checker.check_model(lowered, full_check=True)
    assert (lowered.opset_import[0].version, lowered.ir_version) == (17, 8)
    for result, expected in zip(run(lowered), run(model), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (helper.make_node("Resize", ["x", "", "scales"], ["y"], antialias=1, mode="linear"), "antialias 1"),
        (helper.make_node("Split", ["x"], ["y"], axis=1, num_outputs=2), "num_outputs 2"),
        (helper.make_node("ReduceMax", ["x"], ["y"]), "ReduceMax has no known form"),
        (helper.make_node("ReduceMean", ["x"], ["y"]), "ReduceMean has no known form"),
        (helper.make_node("ReduceMax", ["x", "axes"], ["y"], noop_with_empty_axes=1), "noop_with_empty_axes 1"),
        (helper.make_node("BitwiseNot", ["x"], ["y"]), "BitwiseNot has no known form"),
    ],
)
def test_what_has_no_form_there_is_refused(node: NodeProto, message: str) -> None:
    with pytest.raises(EdgedetError, match=message):
        to_opset_17(model_of([node]))


def test_opset_13_computes_the_same() -> None:
    shape = numpy_helper.from_array(np.array([1, 4, 9], np.int64), "shape")
    model = model_of(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("Add", ["r", "x"], ["a"]),
            helper.make_node("Reshape", ["a", "shape"], ["y"], allowzero=1),
        ],
        opset=17,
    )
    model.graph.initializer.append(shape)
    model.graph.output[0].type.tensor_type.shape.dim.pop()
    older = to_opset_13(model)
    assert (older.opset_import[0].version, older.ir_version) == (13, 7)
    onnx.checker.check_model(older, full_check=True)
    np.testing.assert_array_equal(run(older)[0], run(model)[0])


def test_opset_13_leaves_other_domains_alone() -> None:
    model = model_of([helper.make_node("Theirs", ["x"], ["y"], domain="theirs", size=3)], opset=17)
    model.opset_import.append(helper.make_opsetid("theirs", 1))
    older = to_opset_13(model)
    assert older.graph.node[0] == model.graph.node[0]
    assert {entry.domain: entry.version for entry in older.opset_import} == {"": 13, "theirs": 1}


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Reshape", ["x", "empty"], ["y"], allowzero=1),
        helper.make_node("Reshape", ["x", "computed"], ["y"], allowzero=1),
        helper.make_node("LayerNormalization", ["x", "scales"], ["y"]),
        helper.make_node("Pow", ["x", "scales"], ["y"]),
    ],
    ids=["a zero in the shape", "a shape that is computed", "not there", "another definition"],
)
def test_what_has_no_form_in_opset_13_is_refused(node: NodeProto) -> None:
    model = model_of([node], opset=17)
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 4, 9], np.int64), "empty"))
    with pytest.raises(EdgedetError, match="form in ONNX opset"):
        to_opset_13(model)
