"""Adaptive training sample selection: a threshold of IoU for each object, from the statistics of the points near it.

ATSS (Zhang et al., CVPR 2020, algorithm 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgedet.losses.assigners.assignment import Assignment
from edgedet.losses.assigners.pairs import Pairs, assignment_of, lowest_of_each, overlaps_of
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.assigners.regions import centres, inside
from edgedet.losses.overlap import iou
from edgedet.losses.targets import Objects

TOP_K = 9
ANCHOR_SIDE = 8.0
"""Of the one anchor at each point, in strides (paper, section 3.1)."""


@torch.no_grad()
def atss(class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, objects: Objects) -> Assignment:
    """Assigns the points of a batch to its objects; see `PointAssigner` for the arguments.

    An anchor here is a square of 8 strides around a point, which only decides whether the point is positive: boxes
    are predicted from the point. Candidates of an object are the 9 points of each level nearest to its centre. Positive
    are those inside the object whose anchors' IoU with it reaches the mean of its candidates' IoUs plus their standard
    deviation, that of a sample, as in the released code. A point wanted by several objects goes to the one its anchor
    overlaps most. A small object between the points gets none.

    Class logits are not needed, and predicted boxes do not decide: who learns what is the same in every step. A
    positive point's class target is the IoU of its predicted box (Generalized Focal Loss, Li et al., NeurIPS 2020).
    """
    boxes, points, strides = at_least_single(boxes, points, strides)
    candidates = _nearest_of_each_level(points, strides, objects.boxes)
    half_sides = strides[:, None] * ANCHOR_SIDE / 2
    anchors = torch.cat([points - half_sides, points + half_sides], dim=1)
    overlaps = iou(anchors[candidates], objects.boxes[:, None])
    positive = _reaches_threshold(overlaps) & inside(points[candidates], objects.boxes[:, None]) & (overlaps > 0)

    which, columns = positive.nonzero().unbind(dim=1)
    pairs = Pairs(which, objects.images[which] * len(points) + candidates[which, columns])
    pairs = pairs[lowest_of_each(-overlaps[which, columns], pairs.rows)]
    ious = overlaps_of(pairs, boxes, objects)
    return assignment_of(pairs, len(points), ious, ious)


def _nearest_of_each_level(points: Tensor, strides: Tensor, gt_boxes: Tensor) -> Tensor:
    """Indices `[G, K]` of the points nearest to each object's centre, the same number for every object."""
    nearest = []
    for stride in strides.unique():
        level = (strides == stride).nonzero().squeeze(1)
        distances = (points[level] - centres(gt_boxes)[:, None]).norm(dim=-1)
        nearest.append(level[distances.topk(min(TOP_K, len(level)), dim=1, largest=False).indices])
    return torch.cat(nearest, dim=1)


def _reaches_threshold(overlaps: Tensor) -> Tensor:
    """`[G, K]` bool: is the IoU at least its object's mean plus standard deviation."""
    # In double precision the mean of equal IoUs is that IoU, or an object over a whole level's anchors could get none.
    overlaps = overlaps.double()
    mean = overlaps.mean(dim=1, keepdim=True)
    # One candidate has no standard deviation as a sample's, and is its own mean.
    variance = (overlaps - mean).square().sum(dim=1, keepdim=True) / max(overlaps.shape[1] - 1, 1)
    return overlaps >= mean + variance.sqrt()
