"""Boxes in the order in which suppression walks through them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgedet.errors import EdgedetError
from edgedet.ops.diou_nms.reference import Floats, Indices


@dataclass(frozen=True)
class Ranked:
    """The boxes of one image, best first.

    Attributes:
        order: `[n]` int64, where each stood before.
        boxes: `[n, 4]` float32 xyxy.
        scores: `[n]` float32.
        groups: `[n]` int64; only boxes of one group suppress each other.
    """

    order: Indices
    boxes: Floats
    scores: Floats
    groups: Indices


def ranked(boxes: Floats, scores: Floats, labels: Indices | None) -> Ranked:
    """The boxes sorted by score, equal ones in their order.

    Classes are groups: boxes are never shifted apart by a class offset, which rounds wrongly in float32.

    Args:
        boxes: `[n, 4]` float32 xyxy, finite.
        scores: `[n]` float32, finite.
        labels: `[n]` int64; None puts all boxes into one group.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    shape = np.shape(scores)
    if len(shape) != 1 or np.shape(boxes) != (*shape, 4) or (labels is not None and np.shape(labels) != shape):
        shapes = f"boxes {np.shape(boxes)}, scores {shape}" + ("" if labels is None else f", labels {np.shape(labels)}")
        raise ValueError(f"not boxes [n, 4], scores [n] and labels [n]: {shapes}")
    order = np.argsort(-scores, kind="stable")
    groups = np.zeros(len(order), np.int64) if labels is None else labels[order]
    return Ranked(order, boxes[order], scores[order], groups)


def require_overlap(iou_threshold: float) -> None:
    """Refuses a threshold that is no overlap, 0 to 1."""
    if not 0 <= iou_threshold <= 1:
        raise EdgedetError(f"suppression takes no iou_threshold of {iou_threshold}", fix="use 0 to 1")


def require_above_zero(name: str, value: float) -> None:
    """Refuses an exponent or a width that is not above 0; infinity is."""
    if math.isnan(value) or value <= 0:
        raise EdgedetError(f"suppression takes no {name} of {value}", fix="use a number above 0")
