"""What DIoU-NMS computes. Every implementation is held to this text."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgedet.errors import EdgedetError

DOMAIN, OP_TYPE = "edgedet", "EdgeDetDIoUNMS"
"""Of the ONNX operator. TensorRT finds plugins by the type alone, so the type says whose it is."""


@dataclass(frozen=True)
class DIoUNMS:
    """Attributes of DIoU-NMS (Zheng et al., "Distance-IoU Loss", AAAI 2020, section 3.4), and its meaning.

    Input, for one image: `boxes [N, 4]` float32 xyxy and `scores [N, C]` float32.

    1. Candidates. Every pair (box i, class c) with `scores[i, c] > score_threshold` (strictly; a NaN score is none)
       and four finite coordinates. A box may be a candidate for several classes.
    2. Order. Candidates are sorted by score, descending; equal scores by flat index `i * C + c`, ascending.
       The first `pre_nms_top_k` stay.
    3. Suppression. In that order, a candidate is kept unless an already kept one of the same class (of any class
       if `class_agnostic`) suppresses it: `IoU - (rho^2 / c^2) ^ beta > iou_threshold`, strictly, where `rho` is the
       distance of the two centres and `c` the diagonal of the smallest box around both. Classes are compared, boxes
       are never shifted apart by a class offset, which rounds wrongly in float32.
    4. Result. The first `max_detections` kept candidates in that order.

    Degenerate boxes: a side `x2 - x1` or `y2 - y1` below 0 counts as 0 in areas. `IoU` is 0 where the union is 0, so
    a box without area neither suppresses nor is suppressed, and stays a detection.

    Precision: the criterion is a statement about real numbers. An implementation computes it in float32 or better;
    where the two sides differ by less than 1e-5, either outcome is right. All else is exact.

    Attributes:
        score_threshold: 0 to 1.
        iou_threshold: 0 to 1.
        beta: above 0; exponent of the centre distance: 1 is the paper's, smaller values spare more neighbours, large
            ones approach plain IoU.
        pre_nms_top_k: at least 1.
        max_detections: at least 1.
        class_agnostic: compare boxes across classes.
    """

    score_threshold: float = 0.25
    iou_threshold: float = 0.6
    beta: float = 1.0
    pre_nms_top_k: int = 1000
    max_detections: int = 300
    class_agnostic: bool = False

    def __post_init__(self) -> None:
        ranges = {
            "score_threshold": (0 <= self.score_threshold <= 1, "0 to 1"),
            "iou_threshold": (0 <= self.iou_threshold <= 1, "0 to 1"),
            "beta": (0 < self.beta < math.inf, "above 0"),
            "pre_nms_top_k": (self.pre_nms_top_k >= 1, "1 or more"),
            "max_detections": (self.max_detections >= 1, "1 or more"),
        }
        for name, (holds, wanted) in ranges.items():
            if not holds:
                raise EdgedetError(f"DIoU-NMS takes no {name} of {getattr(self, name)}", fix=f"use {wanted}")
