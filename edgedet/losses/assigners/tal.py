"""Task alignment learning: the points that classify and locate an object best at once.

TOOD (Feng et al., ICCV 2021, section 3.2).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.assigners.assignment import Assignment
from edgedet.losses.assigners.pairs import assignment_of, lowest_of_each, overlaps_of, pairs_of, ranks
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.assigners.regions import inside
from edgedet.losses.targets import Objects

TOP_K = 13
ALPHA = 1.0
BETA = 6.0


@torch.no_grad()
def task_aligned(class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, objects: Objects) -> Assignment:
    """Assigns the points of a batch to its objects; see `PointAssigner` for the arguments.

    Candidates of an object are the points inside its box. The metric of a candidate is `t = s^1 * IoU^6`, s its score
    for the object's class. Each object takes the 13 candidates of the highest metric; one that does not overlap it has
    metric 0, which would be its target too, and is not taken. A point wanted by several objects goes to the one it
    overlaps most. A positive point's class target is its metric over the highest metric of its object's points, times
    the highest IoU of its object's points. Strides are not needed: levels compete by their predictions alone.
    """
    class_logits, boxes, points = at_least_single(class_logits, boxes, points)
    pairs = pairs_of(inside(points, objects.boxes[:, None]), objects)
    overlaps = overlaps_of(pairs, boxes, objects)
    # As logarithms: IoUs of an untrained detector to the power of six leave float32's range.
    scores = functional.logsigmoid(class_logits.flatten(0, 1)[pairs.rows, objects.labels[pairs.objects]])
    metrics = ALPHA * scores + BETA * overlaps.log()
    claimed = ((ranks(-metrics, pairs.objects) < TOP_K) & metrics.isfinite()).nonzero().squeeze(1)
    taken = claimed[lowest_of_each(-overlaps[claimed], pairs.rows[claimed])]

    chosen, ious, aligned = pairs[taken], overlaps[taken], metrics[taken]
    relative = (aligned - _highest_of_object(aligned, chosen.objects, len(objects.boxes))).exp()
    weights = relative * _highest_of_object(ious, chosen.objects, len(objects.boxes))
    return assignment_of(chosen, len(points), ious, weights)


def _highest_of_object(values: Tensor, objects: Tensor, count: int) -> Tensor:
    """Values `[p]` to the highest value of the same object's points `[p]`."""
    lowest = values.new_full((count,), -torch.inf)
    return lowest.scatter_reduce(0, objects, values, "amax")[objects]
