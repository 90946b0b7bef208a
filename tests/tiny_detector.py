"""A detector with every part that export must handle and hardly any weights: it is traced in a second."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgedet.models.activations import make_activation
from edgedet.models.heads.geometry import anchor_points
from edgedet.models.heads.gfl import BINS, decode
from edgedet.spec import Preprocess, Spec

STRIDES = (8, 16)
NAMES = ("it's", 'a "quote"')


class TinyDetector(nn.Module):
    """Splits, shuffles, upsamples, drops out and normalises, like the detectors of the zoo."""

    strides = STRIDES
    num_classes = len(NAMES)

    def __init__(self, activation: str = "relu", seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        outputs = self.num_classes + 4 * BINS
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 8, 8, bias=False), nn.BatchNorm2d(8), make_activation(activation), nn.Dropout(0.5)
        )
        self.down = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6())
        self.outputs = nn.ModuleList(nn.Conv2d(8, outputs, 1) for _ in STRIDES)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.running_mean, -0.2, 0.2)
                nn.init.uniform_(layer.running_var, 0.5, 2.0)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.backbone(images)
        batch, channels, height, width = fine.shape
        fine = fine.reshape(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(fine.shape)
        coarse = self.down(fine)
        upsampled = nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        first, second = (fine + upsampled).chunk(2, dim=1)
        maps = [torch.cat([second, first], dim=1), coarse]
        logits = [output(one).flatten(2) for output, one in zip(self.outputs, maps, strict=True)]
        return torch.cat(logits, dim=2).transpose(1, 2)

    def points(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        return anchor_points(height, width, self.strides)

    def decode(self, raw: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        return decode(raw, points, strides, self.num_classes)


def tiny_spec(height: int = 64, width: int = 96) -> Spec:
    """A specification for it."""
    return Spec(model="tiny", class_names=NAMES, strides=STRIDES, preprocess=Preprocess(height=height, width=width))
