"""Graphs whose codes are cut off, as somebody else may write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.graph.comparison.run import compare_files


@pytest.mark.parametrize("ends", [["low", "x_high"], ["low"], ["low", "high"]])
def test_codes_that_are_cut_off_at_ends_known_or_not(tmp_path: Path, ends: list[str]) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("Cast", ["top"], ["x_high"], to=TensorProto.UINT8),
        helper.make_node("Clip", ["q", *ends], ["cut"]),
        helper.make_node("DequantizeLinear", ["cut", "scale", "zero"], ["read"]),
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Sigmoid", ["read"], ["y"]),
    ]
    nodes.insert(1, nodes.pop(4))
    constants = {"scale": np.float32(0.1), "zero": np.uint8(0), "low": np.uint8(1), "high": np.uint8(9)}
    sizes = [1, 3, 4, 4]
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)] for name in ("x", "y"))
    initializers = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "cut", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "cut.onnx"
    path.write_bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())
    found = compare_files(path, path)
    assert found.agrees and found.tensors
