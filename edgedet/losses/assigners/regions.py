"""Where a point lies with respect to a box. Boxes are xyxy; shapes broadcast, as `[N, 1, 2]` with `[G, 4]`."""

from __future__ import annotations

import torch
from torch import Tensor


def side_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """Distances `[..., 4]` from points `[..., 2]` to the left, top, right and bottom of boxes `[..., 4]`.

    Negative beyond that side.
    """
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Are the points `[..., 2]` inside the boxes `[..., 4]`, edges left out: `[...]` bool."""
    # Coordinate by coordinate: a reduction over a last dimension of 2 or 4 takes a CPU several times as long.
    (x, y), (left, top, right, bottom) = points.unbind(-1), boxes.unbind(-1)
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def centres(boxes: Tensor) -> Tensor:
    """Centres `[..., 2]` of boxes `[..., 4]`."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def near_centre(points: Tensor, strides: Tensor, boxes: Tensor, radius: float) -> Tensor:
    """Are the points `[..., 2]` in the square around the boxes' centres: `[...]` bool.

    The square reaches `radius` of the point's own strides `[...]` to each side, its edges left out.
    """
    (x, y), (centre_x, centre_y), reach = points.unbind(-1), centres(boxes).unbind(-1), radius * strides
    return ((x - centre_x).abs() < reach) & ((y - centre_y).abs() < reach)
