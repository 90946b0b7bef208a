from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.graph.scan import largest_values
from edgedet.graph.verify import Images
from edgedet.runtime.preprocess import preprocess
from edgedet.spec import Preprocess, Spec

SPEC = Spec(model="net", class_names=("a",), strides=(8,), preprocess=Preprocess(height=32, width=32))
IMAGES = Images("noise", tuple(np.random.default_rng(3).integers(0, 256, (4, 20, 30, 3), np.uint8)))


def network(batch: int | str) -> onnx.ModelProto:
    """`images` times -2, rounded to steps of 0.1, then a ReLU."""
    nodes = [
        helper.make_node("Mul", ["images", "factor"], ["double"]),
        helper.make_node("QuantizeLinear", ["double", "step", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "step", "zero"], ["rounded"]),
        helper.make_node("Relu", ["rounded"], ["scores"]),
    ]
    values = {"factor": np.float32(-2), "step": np.float32(0.1), "zero": np.int8(0)}
    shape = [batch, 3, 32, 32]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("batch", [1, 3, "batch"])
def test_the_largest_absolute_values_over_all_images(batch: int | str) -> None:
    model = network(batch)
    before = model.SerializeToString()
    found = largest_values(model, SPEC, IMAGES)
    assert model.SerializeToString() == before
    images = np.stack([preprocess(image, SPEC.preprocess)[0] for image in IMAGES.images])
    rounded = np.clip(np.rint(-2 * images / np.float32(0.1)), -128, 127) * np.float32(0.1)
    expected = {"images": images, "double": 2 * images, "rounded": rounded, "scores": np.maximum(rounded, 0)}
    assert found == pytest.approx({name: np.abs(tensor).max() for name, tensor in expected.items()}, rel=1e-6)
    assert len(set(found.values())) == 4, "each tensor is told from the others"


def test_no_image_is_left_out() -> None:
    """The brightest is the last, alone in its batch."""
    dark, bright = np.zeros((20, 30, 3), np.uint8), np.full((20, 30, 3), 255, np.uint8)
    for batch in (1, 3):
        found = largest_values(network(batch), SPEC, Images("grey", (dark, dark, dark, bright)))
        assert found["images"] == preprocess(bright, SPEC.preprocess)[0].max()
