"""ShuffleNetV2 (Ma et al., 2018, arXiv 1807.11164), without the last 1x1 convolution and the classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgedet.errors import unknown_value
from edgedet.models.activations import make_activation
from edgedet.models.backbones.base import Backbone

# Table 5 of the paper: channels of stages 2, 3 and 4.
WIDTHS = {"0.5x": (48, 96, 192), "1.0x": (116, 232, 464), "1.5x": (176, 352, 704)}

_STEM_CHANNELS = 24
_BLOCKS = (4, 8, 4)


class ShuffleNetV2(Backbone):
    """ShuffleNetV2 with the outputs of `stage2`, `stage3` and `stage4` as feature maps.

    Args:
        width: `0.5x`, `1.0x` or `1.5x`.
        activation: a name that `make_activation` knows; the paper's and the published weights' is `relu`.
    """

    def __init__(self, width: str = "1.0x", activation: str = "relu") -> None:
        super().__init__()
        if width not in WIDTHS:
            raise unknown_value("width of ShuffleNetV2", width, WIDTHS)
        self.name = f"shufflenetv2_{width}"
        self.channels = WIDTHS[width]
        self.conv1 = nn.Sequential(*_convolution(3, _STEM_CHANNELS, 3, stride=2), make_activation(activation))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage2 = _stage(_STEM_CHANNELS, self.channels[0], _BLOCKS[0], activation)
        self.stage3 = _stage(self.channels[0], self.channels[1], _BLOCKS[1], activation)
        self.stage4 = _stage(self.channels[1], self.channels[2], _BLOCKS[2], activation)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        stage2 = self.stage2(self.maxpool(self.conv1(images)))
        stage3 = self.stage3(stage2)
        stage4 = self.stage4(stage3)
        return stage2, stage3, stage4


class ShuffleUnit(nn.Module):
    """The basic unit: one half of the channels passes, the other is convolved, then both are interleaved."""

    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        self.branch2 = _branch(channels // 2, channels // 2, 1, activation)

    def forward(self, x: Tensor) -> Tensor:
        passed, convolved = x.chunk(2, dim=1)
        return interleave(passed, self.branch2(convolved))


class DownsamplingUnit(nn.Module):
    """The unit that halves the resolution: both branches see all channels."""

    def __init__(self, in_channels: int, out_channels: int, activation: str) -> None:
        super().__init__()
        half = out_channels // 2
        self.branch1 = nn.Sequential(
            *_convolution(in_channels, in_channels, 3, stride=2, groups=in_channels),
            *_convolution(in_channels, half, 1),
            make_activation(activation),
        )
        self.branch2 = _branch(in_channels, half, 2, activation)

    def forward(self, x: Tensor) -> Tensor:
        return interleave(self.branch1(x), self.branch2(x))


def interleave(first: Tensor, second: Tensor) -> Tensor:
    """The channels of two `[B, C, H, W]` tensors in turn: first 0, second 0, first 1, ... `[B, 2 C, H, W]`.

    This is the paper's channel shuffle of their concatenation in two groups. Only the batch is left for the reshape to
    infer, so that an exported graph with a dynamic batch needs no shape arithmetic.
    """
    _, channels, height, width = first.shape
    pair = torch.cat((first, second), dim=1).view(-1, 2, channels, height, width)
    return pair.transpose(1, 2).reshape(-1, 2 * channels, height, width)


def _stage(in_channels: int, out_channels: int, blocks: int, activation: str) -> nn.Sequential:
    units: list[nn.Module] = [DownsamplingUnit(in_channels, out_channels, activation)]
    units += [ShuffleUnit(out_channels, activation) for _ in range(blocks - 1)]
    return nn.Sequential(*units)


def _branch(in_channels: int, out_channels: int, stride: int, activation: str) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(in_channels, out_channels, 1),
        make_activation(activation),
        *_convolution(out_channels, out_channels, 3, stride=stride, groups=out_channels),
        *_convolution(out_channels, out_channels, 1),
        make_activation(activation),
    )


def _convolution(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return (
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
    )
