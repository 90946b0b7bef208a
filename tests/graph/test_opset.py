from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgedet.errors import EdgedetError
from edgedet.graph.opset import to_opset_17

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
        (helper.make_node("ReduceMax", ["x", "axes"], ["y"], noop_with_empty_axes=1), "noop_with_empty_axes 1"),
        (helper.make_node("BitwiseNot", ["x"], ["y"]), "BitwiseNot has no known form"),
    ],
)
def test_what_has_no_form_there_is_refused(node: NodeProto, message: str) -> None:
    with pytest.raises(EdgedetError, match=message):
        to_opset_17(model_of([node]))
