"""Path aggregation network with additive fusion (PANet, Liu et al., CVPR 2018; addition as in EfficientDet)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from edgedet.models.blocks import ConvNormAct, SeparableConv


class PAN(nn.Module):
    """Feature maps at strides 8, 16, 32 in; maps of `channels` channels at strides 8, 16, 32, 64 out.

    Maps are fused by addition rather than concatenation, upsampled by the nearest neighbour, and every kernel
    is 1x1 or depthwise 3x3: each of these stays an integer kernel after quantization.

    Args:
        in_channels: channels of the backbone's maps, finest first.
        channels: channels of every output map.
        activation: name, see `edgedet.models.activations`.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, activation: str) -> None:
        super().__init__()
        merges = len(in_channels) - 1
        self.laterals = nn.ModuleList(ConvNormAct(c, channels, 1, activation) for c in in_channels)
        self.top_down = nn.ModuleList(SeparableConv(channels, channels, activation) for _ in range(merges))
        self.downsamples = nn.ModuleList(SeparableConv(channels, channels, activation, stride=2) for _ in range(merges))
        self.bottom_up = nn.ModuleList(SeparableConv(channels, channels, activation) for _ in range(merges))
        self.extra = SeparableConv(channels, channels, activation, stride=2)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """`[B, C_i, H_i, W_i]` maps, finest first, to `len(features) + 1` maps of equal channels."""
        maps = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for level in reversed(range(len(maps) - 1)):
            coarser = functional.interpolate(maps[level + 1], scale_factor=2.0, mode="nearest")
            maps[level] = self.top_down[level](maps[level] + coarser)
        for level in range(len(maps) - 1):
            maps[level + 1] = self.bottom_up[level](maps[level + 1] + self.downsamples[level](maps[level]))
        return (*maps, self.extra(maps[-1]))
