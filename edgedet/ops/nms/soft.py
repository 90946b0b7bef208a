"""Soft-NMS (Bodla et al., "Improving Object Detection With One Line of Code", ICCV 2017).

Nothing is dropped for its overlap: each box that is taken, best first, lowers the scores of those that overlap it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgedet.boxes import pairwise_iou
from edgedet.ops.diou_nms.reference import Doubles, Floats, Indices
from edgedet.ops.nms.ranked import ranked, require_above_zero, require_overlap

SCORE_THRESHOLD = 0.001
"""Below which a score ends a box: evaluation counts nothing below it (`edgedet.evaluate.run`)."""

Decay = Callable[[Doubles], Doubles]


def soft_nms_linear(
    boxes: Floats,
    scores: Floats,
    labels: Indices | None = None,
    *,
    iou_threshold: float = 0.3,
    score_threshold: float = SCORE_THRESHOLD,
) -> tuple[Indices, Floats]:
    """Linear Soft-NMS: scores times `1 - IoU` where `IoU >= iou_threshold` with a box that was taken.

    Args:
        boxes: `[n, 4]` float32 xyxy, finite.
        scores: `[n]` float32, finite; equal ones in the order of the boxes.
        labels: `[n]` int64 class ids, to compare inside each class; None compares across classes.
        iou_threshold: 0 to 1; the paper's is 0.3.
        score_threshold: a box whose score is not above it, before or after, is dropped.

    Returns:
        `[k]` int64 indices of the boxes that are left and their scores `[k]` float32, best first.

    Raises:
        EdgedetError: the threshold is out of its range.
        ValueError: the shapes do not fit each other.
    """
    require_overlap(iou_threshold)
    return _soft_nms(
        boxes, scores, labels, lambda iou: np.where(iou >= iou_threshold, 1 - iou, 1.0), score_threshold=score_threshold
    )


def soft_nms_gaussian(
    boxes: Floats,
    scores: Floats,
    labels: Indices | None = None,
    *,
    sigma: float = 0.5,
    score_threshold: float = SCORE_THRESHOLD,
) -> tuple[Indices, Floats]:
    """Gaussian Soft-NMS: scores times `exp(-IoU^2 / sigma)` with each box that was taken.

    Args:
        boxes, scores, labels, score_threshold: as for `soft_nms_linear`.
        sigma: above 0; the paper's is 0.5.

    Returns:
        `[k]` int64 indices of the boxes that are left and their scores `[k]` float32, best first.

    Raises:
        EdgedetError: `sigma` is out of its range.
        ValueError: the shapes do not fit each other.
    """
    require_above_zero("sigma", sigma)
    return _soft_nms(boxes, scores, labels, lambda iou: np.exp(-(iou**2) / sigma), score_threshold=score_threshold)


def _soft_nms(
    boxes: Floats, scores: Floats, labels: Indices | None, decay: Decay, *, score_threshold: float
) -> tuple[Indices, Floats]:
    best = ranked(boxes, scores, labels)
    left = np.flatnonzero(best.scores > score_threshold)
    corners, current = best.boxes.astype(np.float64), best.scores.astype(np.float64)
    taken = []
    while len(left):
        place = int(np.argmax(current[left]))
        winner, left = left[place], np.delete(left, place)
        taken.append(winner)
        rivals = left[best.groups[left] == best.groups[winner]]
        current[rivals] *= decay(pairwise_iou(corners[winner][None], corners[rivals])[0])
        left = left[current[left] > score_threshold]
    chosen = np.array(taken, np.int64)
    return best.order[chosen], current[chosen].astype(np.float32)
