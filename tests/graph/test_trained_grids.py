"""Export of a detector whose grids training moved away from what they were calibrated for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_float import float_detector

from edgedet.graph.export import export_onnx
from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.fake_quantize import QuantizedConv2d
from edgedet.quant.calibrate import observe, quantize
from edgedet.spec import Spec


@pytest.fixture(scope="module")
def trained() -> tuple[QuantizedDetector, Spec]:
    """Weights' grids end at three quarters of the largest weights, as learned steps may."""
    detector, spec = float_detector()
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    made = quantize(detector, observe(detector, lambda: [(noise, "noise")]), method="max")
    for conv in made.modules():
        if isinstance(conv, QuantizedConv2d):
            conv.weight_quantizer.scale.mul_(0.75)
    return made, spec


@pytest.mark.parametrize("target", ["fp32", "fp16"])
def test_float_files_have_the_weights_that_integers_have(
    trained: tuple[QuantizedDetector, Spec], tmp_path: Path, target: str
) -> None:
    made = export_onnx(*trained, tmp_path / "model.onnx", target=target)
    assert made.target == target and not made.quantized
