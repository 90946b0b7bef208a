"""The layers that heads with one tower a level share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgedet.models.blocks import SeparableConv
from edgedet.models.heads.base import Head

PRIOR_PROBABILITY = 0.01


class TowerHead(Head):
    """Per level a tower of two separable convolutions and one 1x1 convolution that gives all numbers of a cell.

    Levels are not shared: each has its own BatchNorm, which folds and quantizes cleanly. One that all levels share
    would be trained with each level's statistics in turn and used with their mixture.

    Args:
        channels: channels of every input map.
        num_classes: C.
        strides: of the input maps, finest first.
        activation: name, see `edgedet.models.activations`.
        row_length: K, the numbers a box.
    """

    def __init__(
        self, channels: int, num_classes: int, strides: Sequence[int], activation: str, row_length: int
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.row_length = row_length
        self.towers = nn.ModuleList(make_tower(channels, activation) for _ in strides)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, self.anchors * row_length, 1) for _ in strides)
        for output in self.outputs:
            initialise_output_(output)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps `[B, channels, H_i, W_i]` to `[B, cells, anchors * K]`, finest level first, row major."""
        levels = [
            output(tower(feature)).flatten(2)
            for tower, output, feature in zip(self.towers, self.outputs, maps, strict=True)
        ]
        return torch.cat(levels, dim=2).transpose(1, 2)


def make_tower(channels: int, activation: str) -> nn.Sequential:
    """Two separable convolutions: `[B, channels, H, W]` to the same shape."""
    return nn.Sequential(SeparableConv(channels, channels, activation), SeparableConv(channels, channels, activation))


def initialise_output_(output: nn.Module) -> None:
    """Weights of a last convolution from N(0, 0.01), no bias (RetinaNet, section 4.1)."""
    assert isinstance(output, nn.Conv2d) and output.bias is not None
    nn.init.normal_(output.weight, std=0.01)
    nn.init.zeros_(output.bias)


def start_at_prior_(output: nn.Module, channels: slice) -> None:
    """Sets the biases of some output channels so that their sigmoid is the prior probability."""
    assert isinstance(output, nn.Conv2d) and output.bias is not None
    # Or the first steps drown in background loss (RetinaNet, 4.1).
    nn.init.constant_(output.bias[channels], -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))
