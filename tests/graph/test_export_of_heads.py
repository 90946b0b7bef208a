"""Files of every head, and of the network's options, agree with PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_detector import small_detector

from edgedet.graph.export import export_onnx
from edgedet.graph.integer_kernels import integer_kernels
from edgedet.models.detector import DecodedDetector, Detector
from edgedet.quant.calibrate import fit_to_noise
from edgedet.spec import Preprocess, Spec

HEIGHT, WIDTH, CLASSES = 64, 96, 3


def spec_of(detector: Detector) -> Spec:
    return Spec(
        model="small",
        class_names=("a", "b", "c"),
        strides=detector.strides,
        preprocess=Preprocess(height=HEIGHT, width=WIDTH),
    )


def require_agreement(path: Path, detector: Detector, batch: int) -> None:
    images = np.random.default_rng(0).normal(size=(batch, 3, HEIGHT, WIDTH)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = DecodedDetector(detector.eval(), HEIGHT, WIDTH)(torch.from_numpy(images))
    for mine, its in zip(session.run(["boxes", "scores"], {"images": images}), expected, strict=True):
        np.testing.assert_allclose(mine, its.numpy(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("head", ["ssdlite", "yolo"])
def test_onnx_runtime_gives_what_pytorch_gives(head: str, tmp_path: Path) -> None:
    detector = small_detector(head, CLASSES).eval()
    result = export_onnx(detector, spec_of(detector), tmp_path / "model.onnx", dynamic_batch=True)
    require_agreement(result.path, detector, 3)
    assert result.agreement.score_error < 1e-4


def test_pooling_and_excitation_are_in_the_file_and_dropping_is_not(tmp_path: Path) -> None:
    detector = small_detector("fcos", CLASSES, spp=True, se=True, dropblock=0.5).train()
    result = export_onnx(detector, spec_of(detector), tmp_path / "model.onnx")
    assert detector.training
    require_agreement(result.path, detector, 1)
    nodes = onnx.load(result.path).graph.node
    kinds = [node.op_type for node in nodes]
    assert kinds.count("MaxPool") == 3
    assert kinds.count("HardSigmoid") == kinds.count("ReduceMean") == 4
    assert not [node.name for node in nodes if "Random" in node.op_type]


@pytest.mark.parametrize("head", ["fcos", "ssdlite", "yolo"])
def test_in_int8_every_convolution_is_an_integer_kernel_and_the_file_agrees(head: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = small_detector(head, CLASSES).eval()
    for name, parameter in detector.head.named_parameters():
        if "outputs" in name and name.endswith("bias"):
            torch.nn.init.normal_(parameter)  # as training leaves it: biases of 0 alone are not in a file
    spec = spec_of(detector)
    quantized = fit_to_noise(detector, spec.preprocess)
    result = export_onnx(quantized, spec, tmp_path / "model.onnx", target="ort-cpu")
    kernels = integer_kernels(onnx.load(result.path))
    assert kernels.integer == kernels.quantized
    assert sum(node.op_type in ("Conv", "Gemm") for node in onnx.load(result.path).graph.node) == kernels.quantized
    assert result.agreement.score_error < 1e-3


@pytest.mark.slow
def test_boxes_and_scores_are_decoded_in_float32_where_the_rest_is_float16(tmp_path: Path) -> None:
    """Also where rows are put in another order before they are decoded."""
    detector = small_detector("ssdlite", CLASSES, se=True).eval()
    graph = onnx.load(export_onnx(detector, spec_of(detector), tmp_path / "model.onnx", target="fp16").path).graph
    types = {value.name: value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.output]}
    decoding = {name for node in graph.node if node.op_type in ("Exp", "Sigmoid", "Softmax") for name in node.output}
    assert decoding
    assert {types[name] for name in [*decoding, "boxes", "scores"]} == {onnx.TensorProto.FLOAT}
    convolutions = {name for node in graph.node if node.op_type == "Conv" for name in node.output}
    assert {types[name] for name in convolutions} == {onnx.TensorProto.FLOAT16}
