"""A detector with any head and hardly any weights: it learns and is traced in no time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgedet.models.backbones.base import Backbone
from edgedet.models.blocks import ConvNormAct
from edgedet.models.detector import STRIDES, Detector
from edgedet.models.heads.base import Head
from edgedet.models.heads.fcos import FCOSHead
from edgedet.models.heads.gfl import GFLHead
from edgedet.models.heads.ssdlite import SSDLiteHead
from edgedet.models.heads.yolo import YOLOHead
from edgedet.models.necks.pan import PAN

CHANNELS = 16
HEADS: dict[str, type[GFLHead] | type[FCOSHead] | type[SSDLiteHead] | type[YOLOHead]] = {
    "gfl": GFLHead,
    "fcos": FCOSHead,
    "ssdlite": SSDLiteHead,
    "yolo": YOLOHead,
}


class SmallBackbone(Backbone):
    """A convolution for each stride."""

    name = "small"
    channels = (8, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.fine = ConvNormAct(3, 8, 9, "relu", stride=8)
        self.middle = ConvNormAct(8, 8, 3, "relu", stride=2)
        self.coarse = ConvNormAct(8, 8, 3, "relu", stride=2)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        fine = self.fine(images)
        middle = self.middle(fine)
        return fine, middle, self.coarse(middle)


def small_head(name: str, classes: int, strides: Sequence[int] = STRIDES) -> Head:
    """A head with random weights, the same every time."""
    torch.manual_seed(0)
    return HEADS[name](CHANNELS, classes, strides, "relu")


def small_detector(
    head: str, classes: int, *, spp: bool = False, se: bool = False, dropblock: float = 0.0, dropblock_size: int = 1
) -> Detector:
    """A detector with random weights and statistics, the same every time."""
    torch.manual_seed(0)
    backbone = SmallBackbone()
    neck = PAN(backbone.channels, CHANNELS, "relu", spp=spp, se=se, dropblock=dropblock, dropblock_size=dropblock_size)
    detector = Detector(backbone, neck, HEADS[head](CHANNELS, classes, STRIDES, "relu"), {"head": head})
    for layer in detector.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return detector
