"""Centre sampling: points near an object's centre, on the level that is meant for its size.

FCOS (Tian et al., ICCV 2019, section 3.2), with the centre sampling of its journal version (TPAMI 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgedet.losses.assigners.assignment import Assignment, no_positives
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.assigners.regions import inside, near_centre, side_distances
from edgedet.losses.overlap import iou

CENTRE_RADIUS = 1.5
FARTHEST_SIDE = 8.0
"""Of an object that a level learns, in strides: the paper's 64, 128, 256 and 512 pixels on strides 8 to 64."""


@torch.no_grad()
def centre_sampling(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_labels: Tensor
) -> Assignment:
    """Assigns the points of one image to its objects; see `PointAssigner` for the arguments.

    Positive are the points inside an object and less than 1.5 of their strides from its centre, both across and down,
    whose distance to the object's farthest side is in their level's range: from the previous level's upper end to 8
    strides, ends included; the finest level has no lower end and the coarsest no upper one. A point of several objects
    learns that of the smallest area. A small object between the points gets none.

    Class logits are not needed, and predicted boxes do not decide: who learns what is the same in every step. `weights`
    are the IoUs of the predicted boxes; FCOS itself, which learns centreness beside its classes, has 1 for a target.
    """
    boxes, points, strides, gt_boxes = at_least_single(boxes, points, strides, gt_boxes)
    if len(gt_boxes) == 0:
        return no_positives(boxes)
    near = near_centre(points[:, None], strides[:, None], gt_boxes, CENTRE_RADIUS)
    farthest = side_distances(points[:, None], gt_boxes).amax(dim=-1)
    candidates = inside(points[:, None], gt_boxes) & near & _in_level_range(farthest, strides)
    areas = (gt_boxes[:, 2:] - gt_boxes[:, :2]).prod(dim=1)
    objects = areas.expand_as(candidates).masked_fill(~candidates, torch.inf).argmin(dim=1)
    rows = candidates.any(dim=1).nonzero().squeeze(1)
    ious = iou(boxes[rows], gt_boxes[objects[rows]])
    return Assignment(rows, objects[rows], ious, ious)


def _in_level_range(farthest: Tensor, strides: Tensor) -> Tensor:
    """`[N, G]` bool: is the distance to the farthest side `[N, G]` one for the point's level."""
    levels, level = strides.unique(return_inverse=True)
    ends = FARTHEST_SIDE * levels[:-1]
    lower = torch.cat([ends.new_zeros(1), ends])[level]
    upper = torch.cat([ends, ends.new_full((1,), torch.inf)])[level]
    return (farthest >= lower[:, None]) & (farthest <= upper[:, None])
