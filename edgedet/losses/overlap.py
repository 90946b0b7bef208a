"""How much boxes overlap, in PyTorch: of pairs and of all combinations. Boxes are xyxy; the shapes broadcast.

Values and gradients are finite for any boxes, also without area, inverted, identical or far apart. An inverted box has
no area; the box that encloses it and another encloses its corners.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Relative to boxes measured in pixels or strides: small enough to vanish, large enough for float32.
EPSILON = 1e-7


def iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU of boxes `[..., 4]` with boxes `[..., 4]` (broadcast; `[n, 1, 4]` with `[m, 4]` gives `[n, m]`), in 0..1."""
    intersection, union = _intersection_union(boxes1, boxes2)
    return intersection / (union + EPSILON)


def giou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Generalized IoU (Rezatofighi et al., CVPR 2019), in -1..1; broadcasts like `iou`."""
    intersection, union = _intersection_union(boxes1, boxes2)
    top_left = torch.minimum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = torch.maximum(boxes1[..., 2:], boxes2[..., 2:])
    enclosing = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    return intersection / (union + EPSILON) - (enclosing - union) / (enclosing + EPSILON)


def diou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Distance IoU (Zheng et al., AAAI 2020), in -1..1; broadcasts like `iou`.

    IoU minus the squared distance of the centres, as a share of the squared diagonal of the enclosing box.
    """
    return iou(boxes1, boxes2) - _centre_distance(boxes1, boxes2)


def ciou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Complete IoU (Zheng et al., AAAI 2020), in -1.5..1; broadcasts like `iou`.

    DIoU minus `alpha * v`, where `v = 4 / pi^2 * (atan(w2 / h2) - atan(w1 / h1))^2` compares the aspect ratios and
    `alpha = v / (1 - IoU + v)` is a constant to the gradient. The term counts at any IoU.
    """
    overlap = iou(boxes1, boxes2)
    v = 4 / math.pi**2 * (_aspect_angle(boxes1) - _aspect_angle(boxes2)).square()
    alpha = (v / (1 - overlap + v + EPSILON)).detach()
    return overlap - _centre_distance(boxes1, boxes2) - alpha * v


def iog(boxes: Tensor, objects: Tensor) -> Tensor:
    """Intersection over the area of the second box, the ground truth (Repulsion Loss, Wang et al., CVPR 2018).

    In 0..1; 0 for an object without area. Broadcasts like `iou`.
    """
    return _intersection(boxes, objects) / (_area(objects) + EPSILON)


def _intersection_union(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    intersection = _intersection(boxes1, boxes2)
    return intersection, _area(boxes1) + _area(boxes2) - intersection


def _intersection(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    top_left = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    return (bottom_right - top_left).clamp(min=0).prod(dim=-1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)


def _centre_distance(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Squared distance of the centres over the squared diagonal of the enclosing box, in 0..1."""
    centres1, centres2 = ((boxes[..., :2] + boxes[..., 2:]) / 2 for boxes in (boxes1, boxes2))
    # Of all corners, because the distance exceeds any bound where the box around inverted ones has no diagonal.
    lowest1, lowest2 = (torch.minimum(boxes[..., :2], boxes[..., 2:]) for boxes in (boxes1, boxes2))
    highest1, highest2 = (torch.maximum(boxes[..., :2], boxes[..., 2:]) for boxes in (boxes1, boxes2))
    diagonal = (torch.maximum(highest1, highest2) - torch.minimum(lowest1, lowest2)).square().sum(dim=-1)
    return (centres1 - centres2).square().sum(dim=-1) / (diagonal + EPSILON)


def _aspect_angle(boxes: Tensor) -> Tensor:
    """`atan(w / h)` in 0..pi/2; of a box without width 0."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).unbind(dim=-1)
    return torch.atan(width / (height + EPSILON))
