"""Where a head's boxes start from, and boxes from the numbers that heads give."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LARGEST_EXPONENT = 7.0
"""exp(7) cells are more than the largest input has at the finest stride."""


def anchor_points(height: int, width: int, strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Centres `[N, 2]` (x, y in input pixels) and strides `[N]` of every cell, in the head's output order."""
    points, point_strides = [], []
    for stride in strides:
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        points.append((torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride)
        point_strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(points), torch.cat(point_strides)


def boxes_from_distances(points: Tensor, distances: Tensor, dim: int = -1) -> Tensor:
    """Points (x, y) and left, top, right, bottom distances in pixels to xyxy boxes.

    Args:
        points: `[..., 2]`, or 2 along another dimension.
        distances: `[..., 4]`, or 4 along that dimension.
        dim: the dimension.
    """
    left_top, right_bottom = distances.split(2, dim)
    return torch.cat([points - left_top, points + right_bottom], dim)


def boxes_from_centres(centres: Tensor, sizes: Tensor) -> Tensor:
    """Centres `[..., 2]` (x, y) and sizes `[..., 2]` (width, height) to xyxy boxes `[..., 4]`."""
    return torch.cat([centres - sizes / 2, centres + sizes / 2], dim=-1)


def bounded_exp(x: Tensor) -> Tensor:
    """`exp(min(x, LARGEST_EXPONENT))`: what a head says of a size stays finite, whatever it says."""
    return x.clamp(max=LARGEST_EXPONENT).exp()
