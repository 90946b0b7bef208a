"""Anchors learn the object that they overlap most, if they overlap it enough.

The matching of SSD (Liu et al., ECCV 2016, section 2.2) with the band of ignored anchors of RetinaNet (Lin et al.,
ICCV 2017, section 4, "Anchors").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgedet.errors import EdgedetError
from edgedet.losses.assigners.assignment import Assignment
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.overlap import iou


@dataclass(frozen=True)
class AnchorAssignment(Assignment):
    """Which anchors are positive, and for which object; `points` are indices of anchors.

    Attributes:
        ious: `[p]`, IoU of each positive anchor itself, not of its prediction, with its object.
        weights: `[p]`, all 1: an anchor's class is hard.
        ignored: `[N]` bool, anchors that are neither positive nor background.
    """

    ignored: Tensor


@torch.no_grad()
def max_iou(anchors: Tensor, gt_boxes: Tensor, *, positive: float = 0.5, negative: float = 0.4) -> AnchorAssignment:
    """Assigns the anchors of one image to its objects.

    An anchor whose highest IoU reaches `positive` learns that object. The anchor that overlaps an object most learns
    it whatever the IoU, so that every object which any anchor overlaps has one; an anchor that is this for several
    objects learns the one it overlaps most, and the others may go without. Of the other anchors, those whose highest
    IoU reaches `negative` are ignored. Half precision is cast up.

    Args:
        anchors: `[N, 4]` xyxy in pixels.
        gt_boxes: `[G, 4]` xyxy in pixels.
        positive: the lowest IoU of a positive anchor.
        negative: the lowest IoU of an ignored anchor; where it equals `positive`, as in SSD, none is ignored.

    Raises:
        EdgedetError: the thresholds are not `0 < negative <= positive <= 1`.
    """
    if not 0 < negative <= positive <= 1:
        raise EdgedetError(
            f"IoU thresholds {negative} (negative) and {positive} (positive) leave no order of anchors",
            fix="choose 0 < negative <= positive <= 1",
        )
    anchors, gt_boxes = at_least_single(anchors, gt_boxes)
    overlaps = iou(anchors[:, None], gt_boxes)
    # No object is one that nothing overlaps.
    overlaps = torch.cat([overlaps, overlaps.new_zeros(len(anchors), 1)], dim=1)
    highest, objects = overlaps.max(dim=1)
    highest_of_object, best_of_object = overlaps.max(dim=0)
    best = torch.zeros_like(overlaps, dtype=torch.bool).scatter_(0, best_of_object[None], highest_of_object[None] > 0)
    is_best = best.any(dim=1)
    objects = torch.where(is_best, overlaps.masked_fill(~best, -1).argmax(dim=1), objects)
    is_positive = is_best | (highest >= positive)
    points = is_positive.nonzero().squeeze(1)
    ious = overlaps[points, objects[points]]
    return AnchorAssignment(
        points, objects[points], ious, torch.ones_like(ious), ignored=~is_positive & (highest >= negative)
    )
