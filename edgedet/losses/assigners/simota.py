"""SimOTA: the cheapest points around an object's centre, as many as its predictions overlap it well.

YOLOX (Ge et al., 2021, section 2.1), with the constants of its released code.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.assigners.assignment import Assignment
from edgedet.losses.assigners.dynamic_k import match_cheapest
from edgedet.losses.assigners.pairs import assignment_of, overlaps_of, pairs_of
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.assigners.regions import near_centre
from edgedet.losses.targets import Objects

TOP_K = 10
IOU_COST_WEIGHT = 3.0
CENTRE_RADIUS = 1.5


@torch.no_grad()
def simota(class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, objects: Objects) -> Assignment:
    """Assigns the points of a batch to its objects; see `PointAssigner` for the arguments.

    Candidates of an object are the points less than 1.5 of their strides from its centre, both across and down; those
    of a small object may lie outside its box. The cost of a candidate is `BCE(sqrt(p), onehot)` summed over classes,
    plus `3 * -ln(IoU + 1e-8)`. Each object takes its `k` cheapest candidates, where `k` is the truncated sum of its
    candidates' 10 highest IoUs, at least 1. A point wanted by several objects goes to the one it costs least. A
    positive point's class target is its IoU.

    `p` is the sigmoid of a point's logit: a head with objectness passes logits of the product of both probabilities.

    The released code charges 1e6 for a point that is another object's candidate alone, and counts it in `k`: an object
    that lacks candidates then takes points of others. Here, as in the paper, an object takes its own candidates only.
    """
    class_logits, boxes, points, strides = at_least_single(class_logits, boxes, points, strides)
    has_area = (objects.boxes[:, 2:] > objects.boxes[:, :2]).all(dim=1)
    pairs = pairs_of(near_centre(points, strides, objects.boxes[:, None], CENTRE_RADIUS) & has_area[:, None], objects)
    overlaps = overlaps_of(pairs, boxes, objects)
    cost = _classification_cost(class_logits.flatten(0, 1)[pairs.rows], objects.labels[pairs.objects])
    cost -= IOU_COST_WEIGHT * (overlaps + 1e-8).log()
    taken = match_cheapest(cost, overlaps, pairs, len(objects.boxes), TOP_K)
    return assignment_of(pairs[taken], len(points), overlaps[taken], overlaps[taken])


def _classification_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """`[K]`, of logits `[K, C]`; only the label's class differs from background."""
    # -ln(1 - sqrt(p)) = -ln((1 - p) / (1 + sqrt(p))), which stays finite where p rounds to 1.
    as_background = functional.softplus(logits) + logits.sigmoid().sqrt().log1p()
    as_object = functional.softplus(-logits) / 2
    return as_background.sum(dim=1) + (as_object - as_background).gather(1, labels[:, None]).squeeze(1)
