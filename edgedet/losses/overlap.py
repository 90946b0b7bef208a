"""IoU and GIoU in PyTorch, of pairs and of all combinations. Boxes are xyxy; the shapes broadcast."""

from __future__ import annotations

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


def _intersection_union(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    top_left = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    areas1 = (boxes1[..., 2:] - boxes1[..., :2]).clamp(min=0).prod(dim=-1)
    areas2 = (boxes2[..., 2:] - boxes2[..., :2]).clamp(min=0).prod(dim=-1)
    return intersection, areas1 + areas2 - intersection
