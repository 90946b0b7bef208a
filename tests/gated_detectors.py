"""Gated convolutions on their own, and in a detector with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from small_float import float_detector
from torch import Tensor, nn

from edgedet.models.checkpoint import save_checkpoint
from edgedet.models.quantized.codes import HIGHEST_UNSIGNED
from edgedet.models.quantized.detector import QuantizedDetector, traced
from edgedet.models.quantized.fake_quantize import FakeQuantize
from edgedet.models.quantized.gated import GatedQuantizedConv2d
from edgedet.models.quantized.recipe import Gating, Recipe
from edgedet.ops.gated_conv.definition import GatedConv, Granularity
from edgedet.quant.calibrate import observe, quantize
from edgedet.quant.gating import start_thresholds
from edgedet.quant.placement import gateable

NOISE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def gated_layer(granularity: Granularity) -> GatedQuantizedConv2d:
    """A 1x1 convolution of 4 to 8 channels, with tiles of 4."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8).eval()
    conv = GatedQuantizedConv2d(nn.Conv2d(4, 8, 1, bias=False), norm, GatedConv(granularity=granularity, tile=4))
    return conv.eval()


def rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """What a gated layer reads: values on the grid of 256 codes from 0 to 3, and its step."""
    grid = FakeQuantize(highest=HIGHEST_UNSIGNED)
    grid.set_range(torch.tensor(3.0))
    return grid(x.clamp(min=0)), grid.scale


def gated_detector(share: float) -> QuantizedDetector:
    """With gates on all layers, a share of them open on `NOISE`."""
    detector, _ = float_detector()
    recipe = Recipe(gating=Gating(layers=gateable(traced(detector))))
    made = quantize(detector, observe(detector, lambda: [(NOISE, "noise")]), method="max", recipe=recipe).eval()
    start_thresholds(made, NOISE, share)
    return made


def gated_checkpoint_in(folder: Path) -> Path:
    """Of such a detector, a quarter of its gates open."""
    save_checkpoint(folder / "gated.pt", gated_detector(0.25), float_detector()[1])
    return folder / "gated.pt"
