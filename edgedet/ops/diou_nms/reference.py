"""DIoU-NMS in NumPy: the reference that the other implementations are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgedet.ops.diou_nms.definition import DIoUNMS

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

# Candidates decided at a time: below, NumPy's cost per call rules; above, pairs are compared that need not be.
BLOCK = 128


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
    kept = np.empty(0, np.int64)
    for start in range(0, len(boxes), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(boxes)))
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
    if scores.shape[1]:
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
    corners: Floats, groups: Indices, better: Indices, worse: Indices, iou_threshold: float, beta: float
) -> tuple[Indices, Indices]:
    """Positions `(i, j)` with `better[i] < worse[j]` where the first suppresses the second.

    Exact comparisons in float32 leave the few pairs that overlap; those are computed in float64, in which no finite
    float32 box overflows.
    """
    x1, y1, x2, y2 = corners[:, better, None]
    other_x1, other_y1, other_x2, other_y2 = corners[:, worse]
    touching = groups[better, None] == groups[worse]
    touching &= x1 < other_x2
    touching &= other_x1 < x2
    touching &= y1 < other_y2
    touching &= other_y1 < y2
    touching &= better[:, None] < worse
    i, j = np.nonzero(touching)
    pairs = corners.astype(np.float64)
    overlapping = _criterion(pairs[:, better[i]], pairs[:, worse[j]], beta) > iou_threshold
    return i[overlapping], j[overlapping]


def _criterion(first: Doubles, second: Doubles, beta: float) -> Doubles:
    """`IoU - (rho^2 / c^2) ^ beta` of pairs of boxes, each `[4, pairs]`."""
    top_left, bottom_right = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    intersection = np.prod(np.maximum(bottom_right - top_left, 0), axis=0)
    union = _areas(first) + _areas(second) - intersection
    iou = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    centres = (first[:2] + first[2:] - second[:2] - second[2:]) / 2
    diagonals = np.maximum(first[2:], second[2:]) - np.minimum(first[:2], second[:2])
    rho2, c2 = (centres**2).sum(axis=0), (diagonals**2).sum(axis=0)
    distance = np.divide(rho2, c2, out=np.zeros_like(c2), where=c2 > 0)
    return iou - distance**beta


def _areas(corners: Doubles) -> Doubles:
    areas: Doubles = np.prod(np.maximum(corners[2:] - corners[:2], 0), axis=0)
    return areas


def _greedy(count: int, better: Indices, worse: Indices) -> NDArray[np.bool_]:
    """Which of `count` boxes greedy suppression keeps, given the suppressing pairs."""
    alive = np.ones(count, np.bool_)
    while True:
        following = np.ones(count, np.bool_)
        following[worse[alive[better]]] = False
        if np.array_equal(following, alive):
            return alive
        alive = following
