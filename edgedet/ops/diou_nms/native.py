"""DIoU-NMS by the CPU kernel."""

from __future__ import annotations

from typing import Any

from edgedet.ops.diou_nms.definition import DIoUNMS
from edgedet.ops.diou_nms.reference import Floats, Indices
from edgedet.ops.native import as_floats, kernels


def diou_nms(boxes: Any, scores: Any, attributes: DIoUNMS) -> tuple[Floats, Floats, Indices]:
    """The detections of one image, as `DIoUNMS` defines them. Other Python threads run meanwhile.

    Args:
        boxes: `[N, 4]` float32 xyxy, of NumPy or of anything on the CPU with DLPack.
        scores: `[N, C]` float32, likewise; `N * C` below 2^32.
        attributes: thresholds and limits.

    Returns:
        boxes `[n, 4]` float32, scores `[n]` float32, class ids `[n]` int64, best first; `n <= max_detections`.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    kept: tuple[Floats, Floats, Indices] = kernels.diou_nms(
        as_floats(boxes),
        as_floats(scores),
        attributes.score_threshold,
        attributes.iou_threshold,
        attributes.beta,
        attributes.pre_nms_top_k,
        attributes.max_detections,
        attributes.class_agnostic,
    )
    return kept
