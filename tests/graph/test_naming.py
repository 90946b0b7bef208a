from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgedet.graph.naming import SCOPES_KEY, readable_names, without_traces


def node(operator: str, inputs: list[str], output: str, scopes: list[str] | None) -> NodeProto:
    result = helper.make_node(operator, inputs, [output], doc_string="File /home/me/net.py")
    if scopes is not None:
        result.metadata_props.add(key=SCOPES_KEY, value=repr([*scopes, "call"]))
    return result


def model() -> ModelProto:
    constants = {
        "detector.stem.0.weight": np.ones((3, 3, 1, 1), np.float32),
        "val_7": np.zeros(3, np.float32),
        "val_9": np.array([1, 3, 16]),
    }
    nodes = [
        node("Conv", ["images", "detector.stem.0.weight", "val_7"], "getitem", ["", "detector", "detector.stem.1"]),
        node("Relu", ["getitem"], "relu", ["", "detector", "detector.stem.2"]),
        node("Relu", ["relu"], "relu_1", ["", "detector", "detector.stem.2"]),
        node("Reshape", ["relu_1", "val_9"], "view", None),
        node("Sigmoid", ["view"], "scores", [""]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3, 16])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
        value_info=[
            helper.make_tensor_value_info("relu", TensorProto.FLOAT, [1, 3, 4, 4]),
            helper.make_tensor_value_info("val_7", TensorProto.FLOAT, [3]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def test_names_come_from_the_modules() -> None:
    named = readable_names(model())
    onnx.checker.check_model(named, full_check=True)
    assert [one.name for one in named.graph.node] == [
        "stem.0/Conv",
        "stem.2/Relu",
        "stem.2/Relu_1",
        "stem.2/Reshape",  # not noted by the exporter: where its input is from
        "decode/Sigmoid",
    ]
    assert [tensor.name for tensor in named.graph.initializer] == [
        "stem.0.weight",
        "stem.0.bias",
        "stem.2/Reshape/shape",
    ]
    assert [value.name for value in named.graph.value_info] == ["stem.2/Relu_output", "stem.0.bias"]
    assert (named.graph.node[0].input[0], named.graph.node[-1].output[0]) == ("images", "scores")


def test_names_that_only_count_differently_become_the_same() -> None:
    other = model()
    for one in other.graph.node:
        one.input[:] = [name.replace("val_", "val_1").replace("relu", "rectified") for name in one.input]
        one.output[:] = [name.replace("relu", "rectified") for name in one.output]
    for named in [*other.graph.initializer, *other.graph.value_info]:
        named.name = named.name.replace("val_", "val_1").replace("relu", "rectified")
    assert readable_names(other) == readable_names(model())


def test_notes_are_removed() -> None:
    traced = model()
    before = traced.SerializeToString()
    clean = without_traces(traced)
    assert b"/home/me" not in clean.SerializeToString()
    assert SCOPES_KEY.encode() not in clean.SerializeToString()
    assert [value.name for value in clean.graph.value_info] == ["relu"]
    assert traced.SerializeToString() == before
