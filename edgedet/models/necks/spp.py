"""Spatial pyramid pooling as in YOLOv3-SPP (block of He et al., 2015, arXiv 1406.4729, with strides of 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgedet.models.blocks import ConvNormAct

POOL = 5
POOLS = 3


class SPP(nn.Module):
    """The map and its largest values in squares of 5, 9 and 13 cells, merged by a 1x1 convolution: the shape stays.

    Pools of 5 are chained: two of them give exactly the values of one of 9, three those of one of 13.

    Args:
        channels: C of the map `[B, C, H, W]`.
        activation: name, see `edgedet.models.activations`.
    """

    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        self.pools = nn.ModuleList(nn.MaxPool2d(POOL, stride=1, padding=POOL // 2) for _ in range(POOLS))
        self.merge = ConvNormAct((1 + POOLS) * channels, channels, 1, activation)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for pool in self.pools:
            maps.append(pool(maps[-1]))
        merged: Tensor = self.merge(torch.cat(maps, dim=1))
        return merged
