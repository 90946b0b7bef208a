"""SimOTA: the cheapest points around an object's centre, as many as its predictions overlap it well.

YOLOX (Ge et al., 2021, section 2.1), with the constants of its released code.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.assigners.assignment import Assignment, no_positives
from edgedet.losses.assigners.dynamic_k import match_cheapest
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.assigners.regions import near_centre
from edgedet.losses.overlap import iou

TOP_K = 10
IOU_COST_WEIGHT = 3.0
CENTRE_RADIUS = 1.5


@torch.no_grad()
def simota(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_labels: Tensor
) -> Assignment:
    """Assigns the points of one image to its objects; see `PointAssigner` for the arguments.

    Candidates of an object are the points less than 1.5 of their strides from its centre, both across and down; those
    of a small object may lie outside its box. The cost of a candidate is `BCE(sqrt(p), onehot)` summed over classes,
    plus `3 * -ln(IoU + 1e-8)`. Each object takes its `k` cheapest candidates, where `k` is the truncated sum of its
    candidates' 10 highest IoUs, at least 1. A point wanted by several objects goes to the one it costs least. A
    positive point's class target is its IoU.

    `p` is the sigmoid of a point's logit: a head with objectness passes logits of the product of both probabilities.

    The released code charges 1e6 for a point that is another object's candidate alone, and counts it in `k`: an object
    that lacks candidates then takes points of others. Here, as in the paper, an object takes its own candidates only.
    """
    class_logits, boxes, points, strides, gt_boxes = at_least_single(class_logits, boxes, points, strides, gt_boxes)
    has_area = (gt_boxes[:, 2:] > gt_boxes[:, :2]).all(dim=1)
    near = near_centre(points[:, None], strides[:, None], gt_boxes, CENTRE_RADIUS) & has_area
    candidates = near.any(dim=1).nonzero().squeeze(1)
    if candidates.numel() == 0:
        return no_positives(boxes)
    overlaps = iou(boxes[candidates, None], gt_boxes)
    cost = _classification_cost(class_logits[candidates], gt_labels) - IOU_COST_WEIGHT * (overlaps + 1e-8).log()
    rows, objects = match_cheapest(cost, overlaps, near[candidates], TOP_K)
    ious = overlaps[rows, objects]
    return Assignment(candidates[rows], objects, ious, ious)


def _classification_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """`[P, G]`; only the label's class differs from background, so the sum over classes is taken once a point."""
    # -ln(1 - sqrt(p)) = -ln((1 - p) / (1 + sqrt(p))), which stays finite where p rounds to 1.
    as_background = functional.softplus(logits) + logits.sigmoid().sqrt().log1p()
    as_object = functional.softplus(-logits[:, labels]) / 2
    return as_background.sum(dim=1, keepdim=True) - as_background[:, labels] + as_object
