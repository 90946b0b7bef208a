"""Greedy suppression: a box is kept unless a better one that is kept overlaps it too much."""

from __future__ import annotations

import math

from edgedet.ops.diou_nms.reference import Floats, Indices, suppress
from edgedet.ops.nms.ranked import ranked, require_above_zero, require_overlap

PLAIN_IOU = math.inf
"""The exponent with which the centre distance of overlapping boxes, a share below 1, counts for nothing."""


def greedy_nms(boxes: Floats, scores: Floats, labels: Indices | None = None, *, iou_threshold: float = 0.6) -> Indices:
    """Plain NMS: a better box suppresses where `IoU > iou_threshold`, strictly.

    Args:
        boxes: `[n, 4]` float32 xyxy, finite.
        scores: `[n]` float32, finite; equal ones in the order of the boxes.
        labels: `[n]` int64 class ids, to suppress inside each class; None suppresses across classes.
        iou_threshold: 0 to 1.

    Returns:
        `[k]` int64 indices of the boxes that are kept, best first.

    Raises:
        EdgedetError: the threshold is out of its range.
        ValueError: the shapes do not fit each other.
    """
    return diou_nms(boxes, scores, labels, iou_threshold=iou_threshold, beta=PLAIN_IOU)


def diou_nms(
    boxes: Floats,
    scores: Floats,
    labels: Indices | None = None,
    *,
    iou_threshold: float = 0.6,
    beta: float = 1.0,
) -> Indices:
    """DIoU-NMS (Zheng et al., "Distance-IoU Loss", AAAI 2020, section 3.4), see `edgedet.ops.diou_nms.definition`.

    Args:
        boxes, scores, labels: as for `greedy_nms`.
        iou_threshold: 0 to 1; a better box suppresses where `IoU - (rho^2 / c^2) ^ beta` is above it, strictly.
        beta: exponent of the centre distance, above 0.

    Returns:
        `[k]` int64 indices of the boxes that are kept, best first.

    Raises:
        EdgedetError: a number is out of its range.
        ValueError: the shapes do not fit each other.
    """
    require_overlap(iou_threshold)
    require_above_zero("beta", beta)
    best = ranked(boxes, scores, labels)
    kept = suppress(best.boxes, best.groups, iou_threshold=iou_threshold, beta=beta, limit=len(boxes))
    return best.order[kept]
