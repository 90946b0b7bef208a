"""DIoU-NMS in NumPy: the reference that the other implementations are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgedet.ops.diou_nms.definition import DIoUNMS

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

# Candidates decided at a time: with fewer, NumPy's cost per call rules; with more, pairs are compared in vain.
BLOCK = 192


def diou_nms(boxes: Floats, scores: Floats, attributes: DIoUNMS) -> tuple[Floats, Floats, Indices]:
    """The detections of one image, as `DIoUNMS` defines them.

    Args:
        boxes: `[N, 4]` float32 xyxy.
        scores: `[N, C]` float32.
        attributes: thresholds and limits.

    Returns:
        boxes `[n, 4]` float32, scores `[n]` float32, class ids `[n]` int64, best first; `n <= max_detections`.
    """
    flat = _candidates(boxes, scores, attributes)
    anchors, class_ids = np.divmod(flat, max(scores.shape[1], 1))
    groups = np.zeros_like(class_ids) if attributes.class_agnostic else class_ids
    kept = suppress(
        boxes[anchors],
        groups,
        iou_threshold=attributes.iou_threshold,
        beta=attributes.beta,
        limit=attributes.max_detections,
    )
    return boxes[anchors[kept]], scores[anchors[kept], class_ids[kept]], class_ids[kept]


def suppress(boxes: Floats, groups: Indices, *, iou_threshold: float, beta: float, limit: int) -> Indices:
    """Greedy suppression among boxes in order: the indices of the first `limit` that are kept.

    Candidates are decided a block at a time: first against the boxes kept so far, then among themselves by
    Cluster-NMS's iteration (Zheng et al., 2021), which ends at greedy's answer.

    Args:
        boxes: `[n, 4]` float32 xyxy, best first, finite.
        groups: `[n]` int64; only boxes of one group are compared.
        iou_threshold: 0 to 1.
        beta: exponent of the centre distance.
        limit: the most to keep.
    """
    corners = np.ascontiguousarray(boxes.T)
    corners[:, ~np.all(boxes[:, :2] < boxes[:, 2:], axis=1)] = np.nan  # compares false: without area, without overlap
    kept = np.empty(0, np.int64)
    for start in range(0, len(boxes), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(boxes)))
        if len(kept):
            _, suppressed = _suppressing_pairs(corners, groups, kept, block, iou_threshold, beta)
            block = np.delete(block, suppressed)
        better, worse = _suppressing_pairs(corners, groups, block, block, iou_threshold, beta)
        kept = np.concatenate([kept, block[_greedy(len(block), better, worse)]])
        if len(kept) >= limit:
            break
    return kept[:limit]


def _candidates(boxes: Floats, scores: Floats, attributes: DIoUNMS) -> Indices:
    """Flat indices of the candidates in order, at most `pre_nms_top_k`."""
    flat = np.flatnonzero(scores > attributes.score_threshold)
    if len(flat):
        finite = np.all(np.isfinite(boxes), axis=1)
        flat = flat[finite[flat // scores.shape[1]]]
    values = scores.reshape(-1)[flat]
    if len(flat) > attributes.pre_nms_top_k:
        last = np.partition(values, -attributes.pre_nms_top_k)[-attributes.pre_nms_top_k]
        enough = values >= last
        flat, values = flat[enough], values[enough]
    order = np.argsort(-values, kind="stable")[: attributes.pre_nms_top_k]
    return flat[order]


def _suppressing_pairs(
    corners: Floats, groups: Indices, first: Indices, second: Indices, iou_threshold: float, beta: float
) -> tuple[Indices, Indices]:
    """Positions `(i, j)` where `first[i]` comes before `second[j]` and suppresses it.

    Exact comparisons in float32 leave the few pairs that overlap; those are computed in float64, in which no finite
    float32 box overflows.
    """
    x1, y1, x2, y2 = corners[:, first, None]
    other_x1, other_y1, other_x2, other_y2 = corners[:, second]
    touching = groups[first, None] == groups[second]
    touching &= x1 < other_x2
    touching &= other_x1 < x2
    touching &= y1 < other_y2
    touching &= other_y1 < y2
    # np.nonzero of a matrix would take ten times as long.
    i, j = np.divmod(np.flatnonzero(touching), len(second))
    earlier = first[i] < second[j]
    i, j = i[earlier], j[earlier]
    suppressing = _criterion(corners[:, first[i]], corners[:, second[j]], beta) > iou_threshold
    return i[suppressing], j[suppressing]


def _criterion(first: Floats, second: Floats, beta: float) -> Doubles:
    """`IoU - (rho^2 / c^2) ^ beta` of pairs of boxes that overlap, each `[4, pairs]`."""
    ax1, ay1, ax2, ay2 = first.astype(np.float64)
    bx1, by1, bx2, by2 = second.astype(np.float64)
    intersection = _area(np.minimum(ax2, bx2) - np.maximum(ax1, bx1), np.minimum(ay2, by2) - np.maximum(ay1, by1))
    union = _area(ax2 - ax1, ay2 - ay1) + _area(bx2 - bx1, by2 - by1) - intersection
    rho2 = ((ax1 + ax2 - bx1 - bx2) / 2) ** 2 + ((ay1 + ay2 - by1 - by2) / 2) ** 2
    c2 = (np.maximum(ax2, bx2) - np.minimum(ax1, bx1)) ** 2 + (np.maximum(ay2, by2) - np.minimum(ay1, by1)) ** 2
    criterion: Doubles = intersection / union - (rho2 / c2) ** beta
    return criterion


def _area(width: Doubles, height: Doubles) -> Doubles:
    area: Doubles = np.maximum(width, 0) * np.maximum(height, 0)
    return area


def _greedy(count: int, better: Indices, worse: Indices) -> NDArray[np.bool_]:
    """Which of `count` boxes greedy suppression keeps, given the suppressing pairs."""
    alive = np.ones(count, np.bool_)
    while True:
        following = np.ones(count, np.bool_)
        following[worse[alive[better]]] = False
        if np.array_equal(following, alive):
            return alive
        alive = following
