"""Centre sampling: points near an object's centre, on the level that is meant for its size.

FCOS (Tian et al., ICCV 2019, section 3.2), with the centre sampling of its journal version (TPAMI 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgedet.losses.assigners.assignment import Assignment
from edgedet.losses.assigners.pairs import assignment_of, lowest_of_each, overlaps_of, pairs_of
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.assigners.regions import inside, near_centre, side_distances
from edgedet.losses.targets import Objects

CENTRE_RADIUS = 1.5
FARTHEST_SIDE = 8.0
"""Of an object that a level learns, in strides: the paper's 64, 128, 256 and 512 pixels on strides 8 to 64."""


@torch.no_grad()
def centre_sampling(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, objects: Objects
) -> Assignment:
    """Assigns the points of a batch to its objects; see `PointAssigner` for the arguments.

    Positive are the points inside an object and less than 1.5 of their strides from its centre, both across and down,
    whose distance to the object's farthest side is in their level's range: from the previous level's upper end to 8
    strides, ends included; the finest level has no lower end and the coarsest no upper one. A point of several objects
    learns that of the smallest area. A small object between the points gets none.

    Class logits are not needed, and predicted boxes do not decide: who learns what is the same in every step. `weights`
    are the IoUs of the predicted boxes; FCOS itself, which learns centreness beside its classes, has 1 for a target.
    """
    boxes, points, strides = at_least_single(boxes, points, strides)
    gt_boxes = objects.boxes[:, None]
    farthest = side_distances(points.expand(len(gt_boxes), -1, -1), gt_boxes).amax(dim=-1)
    near = near_centre(points, strides, gt_boxes, CENTRE_RADIUS) & inside(points, gt_boxes)
    pairs = pairs_of(near & _in_level_range(farthest, strides), objects)
    areas = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(dim=1)
    pairs = pairs[lowest_of_each(areas[pairs.objects], pairs.rows)]
    ious = overlaps_of(pairs, boxes, objects)
    return assignment_of(pairs, len(points), ious, ious)


def _in_level_range(farthest: Tensor, strides: Tensor) -> Tensor:
    """`[G, N]` bool: is the distance to the farthest side `[G, N]` one for the point's level."""
    levels, level = strides.unique(return_inverse=True)
    ends = FARTHEST_SIDE * levels[:-1]
    lower = torch.cat([ends.new_zeros(1), ends])[level]
    upper = torch.cat([ends, ends.new_full((1,), torch.inf)])[level]
    return (farthest >= lower) & (farthest <= upper)
