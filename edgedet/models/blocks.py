"""The two convolution blocks that necks and heads are built of."""

from __future__ import annotations

from torch import nn

from edgedet.models.activations import make_activation


class ConvNormAct(nn.Sequential):
    """Convolution without bias ("same" padding), BatchNorm, activation: `[B, C, H, W]` to `[B, out, H/s, W/s]`."""

    def __init__(
        self, channels: int, out_channels: int, kernel: int, activation: str, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
            make_activation(activation),
        )


class SeparableConv(nn.Sequential):
    """A depthwise 3x3 and a pointwise 1x1 convolution, each with BatchNorm and activation.

    3x3, not the 5x5 of NanoDet-Plus: a 5x5 depthwise convolution is slower in INT8 than in float on CPUs.
    """

    def __init__(self, channels: int, out_channels: int, activation: str, *, stride: int = 1) -> None:
        super().__init__(
            ConvNormAct(channels, channels, 3, activation, stride=stride, groups=channels),
            ConvNormAct(channels, out_channels, 1, activation),
        )
