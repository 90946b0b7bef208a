"""Suppression by a matrix of all pairs: Cluster-NMS, and Fast-NMS, its first pass.

Memory grows with the square of the number of boxes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import pairwise_iou
from edgedet.ops.diou_nms.reference import Doubles, Floats, Indices
from edgedet.ops.nms.greedy import PLAIN_IOU
from edgedet.ops.nms.ranked import Ranked, ranked, require_above_zero, require_overlap


def cluster_nms(
    boxes: Floats,
    scores: Floats,
    labels: Indices | None = None,
    *,
    iou_threshold: float = 0.6,
    beta: float = PLAIN_IOU,
    max_passes: int | None = None,
) -> Indices:
    """Cluster-NMS (Zheng et al., "Enhancing Geometric Factors", IEEE Transactions on Cybernetics, 2021).

    All boxes are alive at first. A pass computes anew who is: those that no better box alive before it suppresses. It
    ends when nothing changes, after at most as many passes as the longest chain of suppression has boxes, and with the
    answer of `greedy_nms`, or of `diou_nms` for its `beta`.

    Args:
        boxes, scores, labels: as for `greedy_nms`.
        iou_threshold: 0 to 1, as for `diou_nms`.
        beta: exponent of the centre distance, as for `diou_nms`; infinity, the default, is plain IoU.
        max_passes: end after so many passes, too early perhaps; None ends when nothing changes.

    Returns:
        `[k]` int64 indices of the boxes that are kept, best first.

    Raises:
        EdgedetError: a number is out of its range.
        ValueError: the shapes do not fit each other.
    """
    require_overlap(iou_threshold)
    require_above_zero("beta", beta)
    best = ranked(boxes, scores, labels)
    suppresses = _suppresses(best, iou_threshold, beta)
    alive: NDArray[np.bool_] = np.ones(len(boxes), np.bool_)
    for _ in range(len(boxes) if max_passes is None else max_passes):
        following = np.asarray(~suppresses[alive].any(axis=0))
        if np.array_equal(following, alive):
            break
        alive = following
    return best.order[alive]


def fast_nms(boxes: Floats, scores: Floats, labels: Indices | None = None, *, iou_threshold: float = 0.6) -> Indices:
    """Fast-NMS (Bolya et al., "YOLACT", ICCV 2019): boxes that are themselves suppressed suppress too.

    So it keeps fewer boxes than `greedy_nms` wherever suppression would have chained. Arguments, result and errors are
    those of `greedy_nms`.
    """
    return cluster_nms(boxes, scores, labels, iou_threshold=iou_threshold, max_passes=1)


def _suppresses(best: Ranked, iou_threshold: float, beta: float) -> NDArray[np.bool_]:
    """`[n, n]`: whether the row's box, if alive, suppresses the column's, which comes after it."""
    boxes = best.boxes.astype(np.float64)  # in which no finite float32 box overflows
    suppresses = pairwise_iou(boxes, boxes) - _centre_distance(boxes) ** beta > iou_threshold
    suppresses &= best.groups[:, None] == best.groups
    return np.triu(suppresses, k=1)


def _centre_distance(boxes: Doubles) -> Doubles:
    """`rho^2 / c^2` of all pairs `[n, n]`: centre distance over the diagonal of the box around both, squared."""
    first, second = boxes[:, None], boxes[None]
    centres = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    sides = np.maximum(first[..., 2:], second[..., 2:]) - np.minimum(first[..., :2], second[..., :2])
    rho2, c2 = (centres**2).sum(axis=-1), (sides**2).sum(axis=-1)
    distance: Doubles = np.divide(rho2, c2, out=np.zeros_like(rho2), where=c2 > 0)
    return distance
