"""The blocks that necks and heads are built of."""

from __future__ import annotations

from torch import Tensor, nn

from edgedet.models.activations import make_activation

SQUEEZE_REDUCTION = 4


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


class SqueezeExcitation(nn.Module):
    """Each channel times what the means of all channels say of it: `[B, C, H, W]` to the same shape.

    Hu et al., CVPR 2018; hard sigmoid and reduction to a quarter as in MobileNetV3 (Howard et al., ICCV 2019).

    Args:
        channels: C, at least 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = channels // SQUEEZE_REDUCTION
        self.gates = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        gates: Tensor = self.gates(x.mean((2, 3), keepdim=True))
        return x * gates


class SeparableConv(nn.Sequential):
    """A depthwise 3x3 and a pointwise 1x1 convolution, each with BatchNorm and activation.

    3x3, not the 5x5 of NanoDet-Plus: a 5x5 depthwise convolution is slower in INT8 than in float on CPUs.

    Args:
        channels: of the input.
        out_channels: of the output.
        activation: name, see `edgedet.models.activations`.
        stride: of the depthwise convolution.
        se: whether its result is squeezed and excited before the pointwise convolution, where MobileNetV3 has it.
    """

    def __init__(self, channels: int, out_channels: int, activation: str, *, stride: int = 1, se: bool = False) -> None:
        super().__init__(
            ConvNormAct(channels, channels, 3, activation, stride=stride, groups=channels),
            *([SqueezeExcitation(channels)] if se else []),
            ConvNormAct(channels, out_channels, 1, activation),
        )
