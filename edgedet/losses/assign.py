"""Dynamic soft label assignment: which points learn which object.

NanoDet-Plus' assigner (cost of classification and overlap, dynamic k) with RTMDet's soft centre prior, which
replaces the guidance of NanoDet-Plus' auxiliary head in the first epochs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.overlap import iou

TOP_K = 13
IOU_COST_WEIGHT = 3.0
CENTRE_RADIUS = 3.0


@dataclass(frozen=True)
class Assignment:
    """Which points are positive, and for which object.

    Attributes:
        points: `[p]` int64, indices of the positive points, ascending.
        objects: `[p]` int64, the object of each.
        ious: `[p]`, IoU of each positive point's predicted box with its object.
    """

    points: Tensor
    objects: Tensor
    ious: Tensor


@torch.no_grad()
def assign(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_labels: Tensor
) -> Assignment:
    """Assigns the points of one image to its objects.

    Candidates of an object are the points inside its box. The cost of a candidate is
    `BCE(x, onehot * IoU) * |onehot * IoU - sigmoid(x)|^2` summed over classes, plus `3 * -ln(IoU + 1e-7)`, plus
    `10^(distance to the centre / stride - 3)`. Each object takes its `k` cheapest candidates, where `k` is the
    truncated sum of its candidates' 13 highest IoUs, at least 1. A point wanted by several objects goes to the one
    it costs least. An object without a candidate, as one without area, gets no point.

    Args:
        class_logits: `[N, C]`.
        boxes: `[N, 4]` predicted, xyxy in pixels.
        points: `[N, 2]` in pixels.
        strides: `[N]`.
        gt_boxes: `[G, 4]` xyxy in pixels.
        gt_labels: `[G]` int64.
    """
    inside = _inside(points, gt_boxes)
    candidates = inside.any(dim=1).nonzero().squeeze(1)
    if candidates.numel() == 0:
        empty = torch.zeros(0, dtype=torch.long, device=points.device)
        return Assignment(empty, empty, boxes.new_zeros(0))
    inside = inside[candidates]
    overlaps = iou(boxes[candidates, None], gt_boxes[None])
    cost = _classification_cost(class_logits[candidates].float(), gt_labels, overlaps)
    cost += IOU_COST_WEIGHT * -(overlaps + 1e-7).log()
    cost += _centre_cost(points[candidates], strides[candidates], gt_boxes)
    cost = cost.masked_fill(~inside, torch.inf)

    k = overlaps.masked_fill(~inside, 0).topk(min(TOP_K, len(candidates)), dim=0).values.sum(dim=0).int().clamp(min=1)
    cheapest_costs, cheapest = cost.topk(min(int(k.max()), len(candidates)), dim=0, largest=False)
    chosen = torch.arange(len(cheapest), device=k.device)[:, None] < k[None]
    matched = torch.zeros_like(inside)
    matched.scatter_(0, cheapest, chosen & cheapest_costs.isfinite())

    rows = matched.any(dim=1).nonzero().squeeze(1)
    objects = cost[rows].masked_fill(~matched[rows], torch.inf).argmin(dim=1)
    return Assignment(candidates[rows], objects, overlaps[rows, objects])


def _inside(points: Tensor, gt_boxes: Tensor) -> Tensor:
    """`[N, G]`: is the point inside the box."""
    offsets = torch.cat([points[:, None] - gt_boxes[None, :, :2], gt_boxes[None, :, 2:] - points[:, None]], dim=-1)
    return offsets.amin(dim=-1) > 0


def _classification_cost(logits: Tensor, labels: Tensor, overlaps: Tensor) -> Tensor:
    """`[P, G]`; only the label's class differs from background, so the sum over classes is taken once a point."""
    as_background = functional.softplus(logits) * logits.sigmoid().square()
    label_logits = logits[:, labels]
    modulation = (overlaps - label_logits.sigmoid()).square()
    as_object = functional.binary_cross_entropy_with_logits(label_logits, overlaps, reduction="none") * modulation
    return as_background.sum(dim=1, keepdim=True) - as_background[:, labels] + as_object


def _centre_cost(points: Tensor, strides: Tensor, gt_boxes: Tensor) -> Tensor:
    centres = (gt_boxes[:, :2] + gt_boxes[:, 2:]) / 2
    distances = (points[:, None] - centres[None]).norm(dim=-1) / strides[:, None]
    return torch.pow(10.0, distances - CENTRE_RADIUS)
