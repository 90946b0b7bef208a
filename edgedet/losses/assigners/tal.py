"""Task alignment learning: the points that classify and locate an object best at once.

TOOD (Feng et al., ICCV 2021, section 3.2).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.assigners.assignment import Assignment, no_positives
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.assigners.regions import inside
from edgedet.losses.overlap import iou

TOP_K = 13
ALPHA = 1.0
BETA = 6.0


@torch.no_grad()
def task_aligned(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_labels: Tensor
) -> Assignment:
    """Assigns the points of one image to its objects; see `PointAssigner` for the arguments.

    Candidates of an object are the points inside its box. The metric of a candidate is `t = s^1 * IoU^6`, s its score
    for the object's class. Each object takes the 13 candidates of the highest metric; one that does not overlap it has
    metric 0, which would be its target too, and is not taken. A point wanted by several objects goes to the one it
    overlaps most. A positive point's class target is its metric over the highest metric of its object's points, times
    the highest IoU of its object's points. Strides are not needed: levels compete by their predictions alone.
    """
    class_logits, boxes, points, gt_boxes = at_least_single(class_logits, boxes, points, gt_boxes)
    within = inside(points[:, None], gt_boxes)
    candidates = within.any(dim=1).nonzero().squeeze(1)
    if candidates.numel() == 0:
        return no_positives(boxes)
    overlaps = iou(boxes[candidates, None], gt_boxes)
    # As logarithms: IoUs of an untrained detector to the power of six leave float32's range.
    metrics = ALPHA * functional.logsigmoid(class_logits[candidates][:, gt_labels]) + BETA * overlaps.log()
    highest, best = metrics.masked_fill(~within[candidates], -torch.inf).topk(min(TOP_K, len(candidates)), dim=0)
    claimed = torch.zeros_like(metrics, dtype=torch.bool).scatter_(0, best, highest.isfinite())

    rows = claimed.any(dim=1).nonzero().squeeze(1)
    objects = overlaps[rows].masked_fill(~claimed[rows], -1).argmax(dim=1)
    ious, aligned = overlaps[rows, objects], metrics[rows, objects]
    relative = (aligned - _highest_of_object(aligned, objects, len(gt_boxes))).exp()
    return Assignment(candidates[rows], objects, ious, relative * _highest_of_object(ious, objects, len(gt_boxes)))


def _highest_of_object(values: Tensor, objects: Tensor, count: int) -> Tensor:
    """Values `[p]` to the highest value of the same object's points `[p]`."""
    lowest = values.new_full((count,), -torch.inf)
    return lowest.scatter_reduce(0, objects, values, "amax")[objects]
