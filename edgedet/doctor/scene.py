"""Boxes and scores to try DIoU-NMS on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgedet.ops.diou_nms.definition import DIoUNMS


def scene() -> tuple[NDArray[np.float32], NDArray[np.float32], DIoUNMS]:
    """300 boxes `[300, 4]` xyxy, their scores `[300, 3]`, and the operator's attributes; the same ones every time."""
    rng = np.random.default_rng(0)
    corners = rng.random((300, 2), np.float32) * 200
    boxes = np.concatenate([corners, corners + rng.random((300, 2), np.float32) * 60 + 5], axis=1)
    return boxes, rng.random((300, 3), np.float32), DIoUNMS(score_threshold=0.3, iou_threshold=0.2)
