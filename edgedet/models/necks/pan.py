"""Path aggregation network with additive fusion (PANet, Liu et al., CVPR 2018; addition as in EfficientDet)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from edgedet.models.blocks import ConvNormAct, SeparableConv
from edgedet.models.dropblock import DropBlock
from edgedet.models.necks.spp import SPP

DROPPED_MAPS = 2


class PAN(nn.Module):
    """Feature maps at strides 8, 16, 32 in; maps of `channels` channels at strides 8, 16, 32, 64 out.

    Maps are fused by addition rather than concatenation, upsampled by the nearest neighbour, and every kernel
    is 1x1 or depthwise 3x3: each of these stays an integer kernel after quantization.

    Args:
        in_channels: channels of the backbone's maps, finest first.
        channels: channels of every output map.
        activation: name, see `edgedet.models.activations`.
        spp: pool the coarsest map's surroundings. Behind its lateral, as in YOLOv3-SPP behind a 1x1 convolution: on the
            464 channels of ShuffleNetV2-1.0x the merging convolution would be larger than the rest of the neck.
        se: squeeze and excite in the convolutions behind each sum, where maps of different levels compete for channels.
            The backbone stays as it is: its published weights know of no such block. Of a quantized detector, what the
            gates are multiplied with stays float.
        dropblock: drop probability behind the laterals of the two coarsest maps; 0 leaves DropBlock out. In a detector
            DropBlock has no place from a paper (unconfirmed): these maps have the fewest cells and the most meaning.
        dropblock_size: side of a dropped block in cells.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        activation: str,
        *,
        spp: bool = False,
        se: bool = False,
        dropblock: float = 0.0,
        dropblock_size: int = 7,
    ) -> None:
        super().__init__()
        merges = len(in_channels) - 1
        laterals = [ConvNormAct(c, channels, 1, activation) for c in in_channels]
        self.laterals = nn.ModuleList(laterals)
        self.top_down = nn.ModuleList(SeparableConv(channels, channels, activation, se=se) for _ in range(merges))
        self.downsamples = nn.ModuleList(SeparableConv(channels, channels, activation, stride=2) for _ in range(merges))
        self.bottom_up = nn.ModuleList(SeparableConv(channels, channels, activation, se=se) for _ in range(merges))
        self.extra = SeparableConv(channels, channels, activation, stride=2)
        # Behind a lateral they are layers of it: no other layer changes its name.
        if spp:
            laterals[-1].append(SPP(channels, activation))
        if dropblock != 0:
            for lateral in laterals[-DROPPED_MAPS:]:
                lateral.append(DropBlock(dropblock_size, dropblock))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """`[B, C_i, H_i, W_i]` maps, finest first, to `len(features) + 1` maps of equal channels."""
        maps = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for level in reversed(range(len(maps) - 1)):
            coarser = functional.interpolate(maps[level + 1], scale_factor=2.0, mode="nearest")
            maps[level] = self.top_down[level](maps[level] + coarser)
        for level in range(len(maps) - 1):
            maps[level + 1] = self.bottom_up[level](maps[level + 1] + self.downsamples[level](maps[level]))
        return (*maps, self.extra(maps[-1]))
