"""DIoU-NMS in PyTorch: the operator as a function of tensors, on any device. Plain, not fast."""

from __future__ import annotations

import torch
from torch import Tensor

from edgedet.ops.diou_nms.definition import DIoUNMS


def diou_nms(boxes: Tensor, scores: Tensor, attributes: DIoUNMS) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The detections of a batch, as `DIoUNMS` defines them.

    Args:
        boxes: `[B, N, 4]` float32 or float16 xyxy.
        scores: `[B, N, C]` float32 or float16.
        attributes: thresholds and limits; K is `max_detections`.

    Returns:
        `num_dets [B, 1]` int32, `det_boxes [B, K, 4]` and `det_scores [B, K]` of the inputs' types, and
        `det_classes [B, K]` int32. Behind an image's detections stand zeros, and classes of -1.
    """
    images, rows, classes = len(boxes), attributes.max_detections, scores.shape[2]
    num_dets = torch.zeros((images, 1), dtype=torch.int32, device=boxes.device)
    det_boxes, det_scores = boxes.new_zeros((images, rows, 4)), scores.new_zeros((images, rows))
    det_classes = torch.full((images, rows), -1, dtype=torch.int32, device=boxes.device)
    for image in range(images):
        kept = _kept(boxes[image].float(), scores[image].float(), attributes)
        anchors, class_ids = kept // max(classes, 1), kept % max(classes, 1)
        num_dets[image] = len(kept)
        det_boxes[image, : len(kept)] = boxes[image, anchors]
        det_scores[image, : len(kept)] = scores[image, anchors, class_ids]
        det_classes[image, : len(kept)] = class_ids.int()
    return num_dets, det_boxes, det_scores, det_classes


def _kept(boxes: Tensor, scores: Tensor, attributes: DIoUNMS) -> Tensor:
    """Flat indices of one image's kept pairs of box and class, best first."""
    wanted = (scores > attributes.score_threshold) & boxes.isfinite().all(dim=1)[:, None]
    flat = wanted.flatten().nonzero()[:, 0]
    order = scores.flatten()[flat].sort(descending=True, stable=True).indices[: attributes.pre_nms_top_k]
    flat = flat[order]
    corners = boxes[flat // max(scores.shape[1], 1)].double()
    groups = torch.zeros_like(flat) if attributes.class_agnostic else flat % max(scores.shape[1], 1)
    has_area = (corners[:, :2] < corners[:, 2:]).all(dim=1)
    alive = torch.ones_like(has_area)
    kept: list[int] = []
    for place in range(len(flat)):
        if len(kept) == attributes.max_detections:
            break
        if not alive[place]:
            continue
        kept.append(place)
        rivals = has_area & has_area[place] & (groups == groups[place])
        alive &= ~(rivals & (_diou(corners[place], corners, attributes.beta) > attributes.iou_threshold))
    return flat[kept]


def _diou(box: Tensor, others: Tensor, beta: float) -> Tensor:
    """`IoU - (rho^2 / c^2) ^ beta` of a box with each of `[n, 4]`, float64; of boxes without area, anything."""
    x1, y1, x2, y2 = others.unbind(dim=1)
    bx1, by1, bx2, by2 = box
    width = (x2.minimum(bx2) - x1.maximum(bx1)).clamp(min=0)
    height = (y2.minimum(by2) - y1.maximum(by1)).clamp(min=0)
    shared = width * height
    joined = (bx2 - bx1) * (by2 - by1) + (x2 - x1) * (y2 - y1) - shared
    rho2 = ((bx1 + bx2 - x1 - x2) / 2) ** 2 + ((by1 + by2 - y1 - y2) / 2) ** 2
    c2 = (x2.maximum(bx2) - x1.minimum(bx1)) ** 2 + (y2.maximum(by2) - y1.minimum(by1)) ** 2
    return shared / joined - (rho2 / c2) ** beta
