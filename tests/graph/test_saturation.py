"""On x86 CPUs without VNNI integer kernels cut sums off that do not fit into 16 bits: none of ours may need more."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from int8_masters import FAMILIES, SIDE, master_of
from onnx import ModelProto, numpy_helper

from edgedet.graph.integer_kernels import integer_kernels
from edgedet.graph.targets import lower


def outputs(model: ModelProto, images: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, {"images": images})]


def with_unsigned_weights(model: ModelProto) -> ModelProto:
    """The same values in uint8 of zero point 128, whose products every CPU adds in 32 bits."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in copy.graph.initializer:
        codes = numpy_helper.to_array(tensor)
        if codes.dtype == np.int8:
            shifted = (codes.astype(np.int16) + 128).astype(np.uint8)
            tensor.CopyFrom(numpy_helper.from_array(shifted, tensor.name))
    return copy


@pytest.mark.parametrize("spread", [1.0, 100.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_sums_in_16_bits_give_what_sums_in_32_bits_give(family: str, spread: float) -> None:
    signed = lower(master_of(family), "ort-cpu")
    unsigned = with_unsigned_weights(signed)
    assert integer_kernels(unsigned).integer == integer_kernels(signed).integer
    images = np.random.default_rng(0).normal(scale=spread, size=(1, 3, SIDE, SIDE)).astype(np.float32)
    for one, other in zip(outputs(signed, images), outputs(unsigned, images), strict=True):
        np.testing.assert_array_equal(one, other)
