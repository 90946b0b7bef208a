"""Adaptive training sample selection: a threshold of IoU for each object, from the statistics of the points near it.

ATSS (Zhang et al., CVPR 2020, algorithm 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgedet.losses.assigners.assignment import Assignment, no_positives
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.assigners.regions import centres, inside
from edgedet.losses.overlap import iou

TOP_K = 9
ANCHOR_SIDE = 8.0
"""Of the one anchor at each point, in strides (paper, section 3.1)."""


@torch.no_grad()
def atss(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_labels: Tensor
) -> Assignment:
    """Assigns the points of one image to its objects; see `PointAssigner` for the arguments.

    An anchor here is a square of 8 strides around a point, which only decides whether the point is positive: boxes
    are predicted from the point. Candidates of an object are the 9 points of each level nearest to its centre. Positive
    are those inside the object whose anchors' IoU with it reaches the mean of its candidates' IoUs plus their standard
    deviation, that of a sample, as in the released code. A point wanted by several objects goes to the one its anchor
    overlaps most. A small object between the points gets none.

    Class logits are not needed, and predicted boxes do not decide: who learns what is the same in every step. A
    positive point's class target is the IoU of its predicted box (Generalized Focal Loss, Li et al., NeurIPS 2020).
    """
    boxes, points, strides, gt_boxes = at_least_single(boxes, points, strides, gt_boxes)
    if len(gt_boxes) == 0:
        return no_positives(boxes)
    candidates = _nearest_of_each_level(points, strides, gt_boxes)
    half_sides = strides[:, None] * ANCHOR_SIDE / 2
    anchors = torch.cat([points - half_sides, points + half_sides], dim=1)
    overlaps = iou(anchors[candidates], gt_boxes)
    positive = _reaches_threshold(overlaps) & inside(points[candidates], gt_boxes)

    claims = overlaps.new_zeros(len(points), len(gt_boxes)).scatter_(0, candidates, overlaps * positive)
    highest, objects = claims.max(dim=1)
    rows = (highest > 0).nonzero().squeeze(1)
    ious = iou(boxes[rows], gt_boxes[objects[rows]])
    return Assignment(rows, objects[rows], ious, ious)


def _nearest_of_each_level(points: Tensor, strides: Tensor, gt_boxes: Tensor) -> Tensor:
    """Indices `[K, G]` of the points nearest to each object's centre, the same number for every object."""
    nearest = []
    for stride in strides.unique():
        level = (strides == stride).nonzero().squeeze(1)
        distances = (points[level, None] - centres(gt_boxes)).norm(dim=-1)
        nearest.append(level[distances.topk(min(TOP_K, len(level)), dim=0, largest=False).indices])
    return torch.cat(nearest)


def _reaches_threshold(overlaps: Tensor) -> Tensor:
    """`[K, G]` bool: is the IoU at least its object's mean plus standard deviation."""
    # In double precision the mean of equal IoUs is that IoU, or an object over a whole level's anchors could get none.
    overlaps = overlaps.double()
    # One candidate has no standard deviation as a sample's, and is its own mean.
    deviation = overlaps.std(dim=0, correction=min(1, len(overlaps) - 1))
    return overlaps >= overlaps.mean(dim=0) + deviation
