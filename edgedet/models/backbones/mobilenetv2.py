"""MobileNetV2 (Sandler et al., 2018, arXiv 1801.04381), without the last 1x1 convolution and the classifier."""

from __future__ import annotations

from torch import Tensor, nn

from edgedet.errors import unknown_value
from edgedet.models.backbones.base import Backbone, outputs_at
from edgedet.models.blocks import ConvNormAct

WIDTHS = (0.35, 0.5, 0.75, 1.0)

# Table 2 of the paper: expansion factor, output channels, blocks, stride of the first block.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_TAPS = (6, 13, 17)


class MobileNetV2(Backbone):
    """MobileNetV2 with feature maps from `features.6`, `features.13` and `features.17`.

    The maps are outputs of linear bottlenecks, so they are signed. The 1280-channel convolution that torchvision has as
    `features.18` is left out: it serves the classifier and would cost a third of a detector.

    Args:
        width: channel multiplier, one of `WIDTHS`; channels are rounded to multiples of 8 as in torchvision.
        activation: a name that `make_activation` knows; the paper's and the published weights' is `relu6`.
    """

    def __init__(self, width: float = 1.0, activation: str = "relu6") -> None:
        super().__init__()
        if width not in WIDTHS:
            raise unknown_value("width of MobileNetV2", str(width), map(str, WIDTHS))
        in_channels = _divisible_by_8(32 * width)
        layers: list[nn.Module] = [ConvNormAct(3, in_channels, 3, activation, stride=2)]
        for expansion, base_channels, blocks, first_stride in _STAGES:
            out_channels = _divisible_by_8(base_channels * width)
            for index in range(blocks):
                stride = first_stride if index == 0 else 1
                layers.append(InvertedResidual(in_channels, out_channels, stride, expansion, activation))
                in_channels = out_channels
        self.name = f"mobilenetv2_{width}"
        self.channels = tuple(_divisible_by_8(channels * width) for channels in (32, 96, 320))
        self.features = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return outputs_at(_TAPS, self.features, images)


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, filter depthwise, project linearly; a residual sum where the shapes allow it."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, activation: str) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(ConvNormAct(in_channels, hidden, 1, activation))
        layers.append(ConvNormAct(hidden, hidden, 3, activation, stride=stride, groups=hidden))
        layers.append(nn.Conv2d(hidden, out_channels, 1, bias=False))
        layers.append(nn.BatchNorm2d(out_channels))
        self.conv = nn.Sequential(*layers)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.is_residual else self.conv(x)


def _divisible_by_8(channels: float) -> int:
    """The nearest multiple of 8, at least 8, never more than 10 % below `channels` (the rule of the paper's code)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
