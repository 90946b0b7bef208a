"""Dynamic soft label assignment: which points learn which object.

NanoDet-Plus' assigner (cost of classification and overlap, dynamic k) with RTMDet's soft centre prior, which
replaces the guidance of NanoDet-Plus' auxiliary head in the first epochs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.assigners.assignment import Assignment
from edgedet.losses.assigners.dynamic_k import match_cheapest
from edgedet.losses.assigners.pairs import Pairs, assignment_of, overlaps_of, pairs_of
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.assigners.regions import centres, inside
from edgedet.losses.targets import Objects

TOP_K = 13
IOU_COST_WEIGHT = 3.0
CENTRE_RADIUS = 3.0


@torch.no_grad()
def dynamic_soft_labels(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, objects: Objects
) -> Assignment:
    """Assigns the points of a batch to its objects; see `PointAssigner` for the arguments.

    Candidates of an object are the points inside its box. The cost of a candidate is
    `BCE(x, onehot * IoU) * |onehot * IoU - sigmoid(x)|^2` summed over classes, plus `3 * -ln(IoU + 1e-7)`, plus
    `10^(distance to the centre / stride - 3)`. Each object takes its `k` cheapest candidates, where `k` is the
    truncated sum of its candidates' 13 highest IoUs, at least 1. A point wanted by several objects goes to the one
    it costs least. An object without a candidate, as one without area, gets no point. A positive point's class
    target is its IoU.
    """
    class_logits, boxes, points, strides = at_least_single(class_logits, boxes, points, strides)
    pairs = pairs_of(inside(points, objects.boxes[:, None]), objects)
    overlaps = overlaps_of(pairs, boxes, objects)
    cost = _classification_cost(class_logits.flatten(0, 1)[pairs.rows], objects.labels[pairs.objects], overlaps)
    cost += IOU_COST_WEIGHT * -(overlaps + 1e-7).log()
    cost += _centre_cost(points, strides, pairs, objects)
    taken = match_cheapest(cost, overlaps, pairs, len(objects.boxes), TOP_K)
    return assignment_of(pairs[taken], len(points), overlaps[taken], overlaps[taken])


def _classification_cost(logits: Tensor, labels: Tensor, overlaps: Tensor) -> Tensor:
    """`[K]`, of logits `[K, C]`; only the label's class differs from background."""
    as_background = functional.softplus(logits) * logits.sigmoid().square()
    label_logits = logits.gather(1, labels[:, None]).squeeze(1)
    modulation = (overlaps - label_logits.sigmoid()).square()
    as_object = functional.binary_cross_entropy_with_logits(label_logits, overlaps, reduction="none") * modulation
    return as_background.sum(dim=1) - as_background.gather(1, labels[:, None]).squeeze(1) + as_object


def _centre_cost(points: Tensor, strides: Tensor, pairs: Pairs, objects: Objects) -> Tensor:
    places = pairs.rows % len(points)
    distances = (points[places] - centres(objects.boxes)[pairs.objects]).norm(dim=-1) / strides[places]
    return torch.pow(10.0, distances - CENTRE_RADIUS)
