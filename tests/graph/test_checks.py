"""Every check finds its fault, and a sound graph has none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgedet.errors import CheckFailedError
from edgedet.graph.checks import CHECKS, has_the_promised_interface, require_sound
from edgedet.graph.metadata import with_metadata
from edgedet.spec import Preprocess, Spec

SPEC = Spec(model="hand", class_names=("a", "b"), strides=(8,), preprocess=Preprocess(height=64, width=32))
COUNT = 8 * 4


def sound_model(batch: int | str = 1) -> ModelProto:
    """One convolution each for boxes and scores, all by hand."""
    nodes, weights = [], []
    for name, channels in (("boxes", 4), ("scores", 2)):
        kernel = np.full((channels, 3, 8, 8), 0.01, np.float32)
        weights += [numpy_helper.from_array(kernel, f"{name}.weight")]
        weights += [
            numpy_helper.from_array(np.array([-1 if batch == "batch" else batch, channels, COUNT]), f"{name}.shape")
        ]
        nodes += [
            helper.make_node("Conv", ["images", f"{name}.weight"], [f"{name}.maps"], f"{name}/Conv", strides=[8, 8]),
            helper.make_node("Reshape", [f"{name}.maps", f"{name}.shape"], [f"{name}.rows"], f"{name}/Reshape"),
            helper.make_node("Transpose", [f"{name}.rows"], [name], f"{name}/Transpose", perm=[0, 2, 1]),
        ]
    graph = helper.make_graph(
        nodes,
        "hand",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, 64, 32])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [batch, COUNT, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, COUNT, 2]),
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return with_metadata(onnx.shape_inference.infer_shapes(model), SPEC, batch=1)


def insert(model: ModelProto, operator: str, **attributes: object) -> None:
    """Puts a node of one input and one output between the last two."""
    last = model.graph.node[-1]
    node = helper.make_node(operator, [last.input[0]], ["inserted"], "inserted", **attributes)
    model.graph.node.insert(len(model.graph.node) - 1, node)
    last.input[0] = "inserted"
    model.graph.value_info.append(helper.make_tensor_value_info("inserted", TensorProto.FLOAT, [1, 2, COUNT]))


def add_int64_output(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("ArgMax", ["scores"], ["classes"], "classes", axis=2, keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("classes", TensorProto.INT64, [1, COUNT]))


def put_weights_elsewhere(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def add_function(model: ModelProto) -> None:
    body = [helper.make_node("Relu", ["x"], ["y"])]
    model.functions.append(helper.make_function("own", "F", ["x"], ["y"], body, [helper.make_opsetid("", 17)]))


def say_something_else(model: ModelProto) -> None:
    other = SPEC.model_copy(update={"class_names": ("a", "c")})
    model.CopyFrom(with_metadata(model, other, batch=1))


def set_metadata(key: str, value: str) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        next(entry for entry in model.metadata_props if entry.key == key).value = value

    return change


def leave_size_open(model: ModelProto) -> None:
    model.graph.value_info[0].type.tensor_type.shape.dim[1].dim_param = "channels"


FAULTS: dict[str, tuple[Callable[[ModelProto], object], str]] = {
    "broken graph": (lambda m: m.graph.node[1].input.__setitem__(0, "nothing"), "not valid ONNX"),
    "wrong shape": (lambda m: m.graph.node[0].attribute[0].ints.__setitem__(0, 4), "not valid ONNX"),
    "newer opset": (lambda m: setattr(m.opset_import[0], "version", 18), "not ONNX 17 alone"),
    "second operator set": (lambda m: m.opset_import.add(domain="own", version=1), "not ONNX 17 alone"),
    "newer file format": (lambda m: setattr(m, "ir_version", 10), "IR version 10"),
    "local function": (add_function, "1 local functions"),
    "own operator": (lambda m: setattr(m.graph.node[0], "domain", "own"), "own::Conv"),
    "dropout": (lambda m: insert(m, "Dropout"), "Dropout (inserted)"),
    "random": (lambda m: insert(m, "RandomNormalLike"), "RandomNormalLike (inserted)"),
    "identity": (lambda m: insert(m, "Identity"), "Identity (inserted) is not folded"),
    "cast": (lambda m: insert(m, "Cast", to=TensorProto.FLOAT), "Cast (inserted) is not folded"),
    "int64 output": (add_int64_output, "classes is INT64"),
    "another output": (lambda m: m.graph.output.pop(), "inputs and outputs are"),
    "size left open": (leave_size_open, "has sizes [1, 'channels'"),
    "tensor without type": (lambda m: m.graph.value_info.pop(), "has no type"),
    "weights elsewhere": (put_weights_elsewhere, "lies in another file"),
    "a note": (lambda m: setattr(m.graph.node[0], "doc_string", "File /home/me/net.py"), "carries notes"),
    "no metadata": (lambda m: m.ClearField("metadata_props"), "its metadata has no 'edgedet'"),
    "metadata of another model": (say_something_else, "not the specification"),
    "broken specification": (set_metadata("edgedet", "{"), "not valid JSON"),
    "names that are no dict": (set_metadata("names", "__import__('os')"), "'names' does not agree"),
    "another image size": (set_metadata("imgsz", "[32, 64]"), "'imgsz' does not agree"),
}


@pytest.mark.parametrize("batch", [1, 5])
def test_a_sound_graph_passes_every_check(batch: int) -> None:
    assert require_sound(sound_model(batch), SPEC, batch=batch) == tuple(CHECKS)


def test_a_free_batch_is_free_where_it_should_be_only() -> None:
    assert require_sound(sound_model("batch"), SPEC, batch=None)
    with pytest.raises(CheckFailedError, match="inputs and outputs"):
        require_sound(sound_model("batch"), SPEC, batch=1)
    with pytest.raises(CheckFailedError, match="inputs and outputs"):
        require_sound(sound_model(1), SPEC, batch=None)


def test_a_head_may_have_several_boxes_a_cell_and_no_fraction_of_one() -> None:
    model = sound_model()
    for count, faults in ((COUNT, 0), (6 * COUNT, 0), (6 * COUNT + 1, 1), (COUNT - 1, 1)):
        for value in model.graph.output:
            value.type.tensor_type.shape.dim[1].dim_value = count
        assert len(list(has_the_promised_interface(model, SPEC, 1))) == faults
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 6 * COUNT
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = COUNT
    assert list(has_the_promised_interface(model, SPEC, 1)), "a score for each box"


@pytest.mark.parametrize(("spoil", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(spoil: Callable[[ModelProto], object], message: str) -> None:
    model = sound_model()
    spoil(model)
    with pytest.raises(CheckFailedError) as caught:
        require_sound(model, SPEC, batch=1)
    assert message in str(caught.value)
    assert caught.value.exit_code == 1


def test_every_check_can_fail() -> None:
    failing = set()
    for spoil, _ in FAULTS.values():
        model = sound_model()
        spoil(model)
        failing |= {name for name, check in CHECKS.items() if list(check(model, SPEC, 1))}
    assert failing == set(CHECKS)
