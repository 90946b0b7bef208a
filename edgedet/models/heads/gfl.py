"""Anchor-free head of Generalized Focal Loss (Li et al., NeurIPS 2020), laid out as in NanoDet-Plus.

One tower per level gives class logits (joint class and quality, no objectness) and, for each side of the box,
a distribution over `reg_max + 1` distances in units of the level's stride.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgedet.models.blocks import SeparableConv

REG_MAX = 7
BINS = REG_MAX + 1
PRIOR_PROBABILITY = 0.01


class GFLHead(nn.Module):
    """Levels are not shared: each has its own BatchNorm, which folds and quantizes cleanly.

    Args:
        channels: channels of every input map.
        num_classes: C.
        strides: of the input maps, finest first.
        activation: name, see `edgedet.models.activations`.
    """

    def __init__(self, channels: int, num_classes: int, strides: Sequence[int], activation: str) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.towers = nn.ModuleList(
            nn.Sequential(SeparableConv(channels, channels, activation), SeparableConv(channels, channels, activation))
            for _ in strides
        )
        self.outputs = nn.ModuleList(nn.Conv2d(channels, num_classes + 4 * BINS, 1) for _ in strides)
        self._initialise_outputs()

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps `[B, channels, H_i, W_i]` to logits `[B, N, C + 4 * (REG_MAX + 1)]`, finest level first, row major."""
        levels = [
            output(tower(feature)).flatten(2)
            for tower, output, feature in zip(self.towers, self.outputs, maps, strict=True)
        ]
        return torch.cat(levels, dim=2).transpose(1, 2)

    def _initialise_outputs(self) -> None:
        for output in self.outputs:
            assert isinstance(output, nn.Conv2d) and output.bias is not None
            nn.init.normal_(output.weight, std=0.01)
            nn.init.zeros_(output.bias)
            # Every class starts at the prior probability, or the first steps drown in background loss (RetinaNet, 4.1).
            nn.init.constant_(output.bias[: self.num_classes], -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))


def anchor_points(height: int, width: int, strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Centres `[N, 2]` (x, y in input pixels) and strides `[N]` of every cell, in the head's output order."""
    points, point_strides = [], []
    for stride in strides:
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        points.append((torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride)
        point_strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(points), torch.cat(point_strides)


def expected_distances(box_logits: Tensor) -> Tensor:
    """Logits `[..., 4 * (REG_MAX + 1)]` to the expected distance of each side `[..., 4]`, in strides."""
    probabilities = box_logits.reshape(*box_logits.shape[:-1], 4, BINS).softmax(dim=-1)
    bins = torch.arange(BINS, dtype=probabilities.dtype, device=probabilities.device)
    # Not as a matrix product: ONNX Runtime makes thousands of tiny ones of it, which take longer than a small backbone.
    return (probabilities * bins).sum(dim=-1)


def boxes_from_distances(points: Tensor, distances: Tensor, dim: int = -1) -> Tensor:
    """Points (x, y) and left, top, right, bottom distances in pixels to xyxy boxes.

    Args:
        points: `[..., 2]`, or 2 along another dimension.
        distances: `[..., 4]`, or 4 along that dimension.
        dim: the dimension.
    """
    left_top, right_bottom = distances.split(2, dim)
    return torch.cat([points - left_top, points + right_bottom], dim)


def decode(logits: Tensor, points: Tensor, strides: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Logits `[B, N, C + 4 * (REG_MAX + 1)]` to boxes `[B, N, 4]` (xyxy, input pixels) and scores `[B, N, C]`.

    Bins, sides and coordinates are computed as planes over all cells, as the head's convolutions give them: a softmax
    over rows of 8 numbers takes a CPU several times as long, and to transpose the head's output only to slice it is
    left out by a runtime.
    """
    class_logits, box_logits = logits[..., :num_classes], logits[..., num_classes:]
    cells = points.shape[0]
    # Images and sides are one dimension: a runtime cannot put off this transpose until behind a sum, where it is slow.
    planes = box_logits.transpose(1, 2).reshape(-1, BINS, cells)
    weights = (planes - planes.amax(dim=1, keepdim=True)).exp()
    bins = torch.arange(BINS, dtype=weights.dtype, device=weights.device)[:, None]
    distances = ((weights * bins).sum(dim=1) / weights.sum(dim=1)).reshape(-1, 4, cells) * strides
    return boxes_from_distances(points.T, distances, dim=1).transpose(1, 2), class_logits.sigmoid()
