"""For CPUs that cut sums of signed weights off: the same values as unsigned ones."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from int8_masters import FAMILIES, SIDE, master_of
from onnx import ModelProto, TensorProto, numpy_helper

from edgedet.graph.integer_kernels import integer_kernels
from edgedet.graph.targets import lower


def outputs(model: ModelProto, images: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, {"images": images})]


@pytest.mark.parametrize("family", FAMILIES)
def test_it_gives_the_same_bits_by_integer_kernels(family: str) -> None:
    signed, unsigned = (lower(master_of(family), target) for target in ("ort-cpu", "ort-cpu-avx2"))
    onnx.checker.check_model(unsigned, full_check=True)
    found = integer_kernels(unsigned)
    assert found == integer_kernels(signed)
    assert found.integer == found.quantized > 0
    images = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    for one, other in zip(outputs(signed, images), outputs(unsigned, images), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_weight_is_signed() -> None:
    model = lower(master_of("mobilenetv2_0.35"), "ort-cpu-avx2")
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert TensorProto.INT8 not in {tensor.data_type for tensor in model.graph.initializer}
    weights = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in known]
    weights = [node for node in weights if known[node.input[0]].dtype != np.int32]
    assert len(weights) == integer_kernels(model).quantized
    for node in weights:
        codes, zero_point = known[node.input[0]], known[node.input[2]]
        assert codes.dtype == zero_point.dtype == np.uint8
        assert (zero_point == 128).all() and codes.min() >= 1, "as before from -127 to 127"
