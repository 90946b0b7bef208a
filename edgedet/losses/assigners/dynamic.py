"""Dynamic soft label assignment: which points learn which object.

NanoDet-Plus' assigner (cost of classification and overlap, dynamic k) with RTMDet's soft centre prior, which
replaces the guidance of NanoDet-Plus' auxiliary head in the first epochs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.assigners.assignment import Assignment, no_positives
from edgedet.losses.assigners.dynamic_k import match_cheapest
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.assigners.regions import centres, inside
from edgedet.losses.overlap import iou

TOP_K = 13
IOU_COST_WEIGHT = 3.0
CENTRE_RADIUS = 3.0


@torch.no_grad()
def dynamic_soft_labels(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_labels: Tensor
) -> Assignment:
    """Assigns the points of one image to its objects; see `PointAssigner` for the arguments.

    Candidates of an object are the points inside its box. The cost of a candidate is
    `BCE(x, onehot * IoU) * |onehot * IoU - sigmoid(x)|^2` summed over classes, plus `3 * -ln(IoU + 1e-7)`, plus
    `10^(distance to the centre / stride - 3)`. Each object takes its `k` cheapest candidates, where `k` is the
    truncated sum of its candidates' 13 highest IoUs, at least 1. A point wanted by several objects goes to the one
    it costs least. An object without a candidate, as one without area, gets no point. A positive point's class
    target is its IoU.
    """
    class_logits, boxes, points, strides, gt_boxes = at_least_single(class_logits, boxes, points, strides, gt_boxes)
    within = inside(points[:, None], gt_boxes)
    candidates = within.any(dim=1).nonzero().squeeze(1)
    if candidates.numel() == 0:
        return no_positives(boxes)
    overlaps = iou(boxes[candidates, None], gt_boxes[None])
    cost = _classification_cost(class_logits[candidates], gt_labels, overlaps)
    cost += IOU_COST_WEIGHT * -(overlaps + 1e-7).log()
    cost += _centre_cost(points[candidates], strides[candidates], gt_boxes)
    rows, objects = match_cheapest(cost, overlaps, within[candidates], TOP_K)
    ious = overlaps[rows, objects]
    return Assignment(candidates[rows], objects, ious, ious)


def _classification_cost(logits: Tensor, labels: Tensor, overlaps: Tensor) -> Tensor:
    """`[P, G]`; only the label's class differs from background, so the sum over classes is taken once a point."""
    as_background = functional.softplus(logits) * logits.sigmoid().square()
    label_logits = logits[:, labels]
    modulation = (overlaps - label_logits.sigmoid()).square()
    as_object = functional.binary_cross_entropy_with_logits(label_logits, overlaps, reduction="none") * modulation
    return as_background.sum(dim=1, keepdim=True) - as_background[:, labels] + as_object


def _centre_cost(points: Tensor, strides: Tensor, gt_boxes: Tensor) -> Tensor:
    distances = (points[:, None] - centres(gt_boxes)).norm(dim=-1) / strides[:, None]
    return torch.pow(10.0, distances - CENTRE_RADIUS)
