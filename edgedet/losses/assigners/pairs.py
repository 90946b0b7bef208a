"""Points and objects in pairs, flat over a batch: what belongs to an object, or to a point, are several of them.

Few points are candidates of an object, so a table of all points and all objects would be empty for the most part; and
one image after the other is slow, as each takes as many operations as the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgedet.losses.assigners.assignment import Assignment
from edgedet.losses.overlap import iou
from edgedet.losses.targets import Objects


@dataclass(frozen=True)
class Pairs:
    """Candidates: a point, and an object of an image that may learn there.

    Attributes:
        objects: `[K]` int64, indices into a batch's objects.
        rows: `[K]` int64, `image * N + point`: indices into outputs `[B, N, ...]` without the first dimension.
    """

    objects: Tensor
    rows: Tensor

    def __getitem__(self, chosen: Tensor) -> Pairs:
        """Some of them, by index or mask."""
        return Pairs(self.objects[chosen], self.rows[chosen])


def pairs_of(candidates: Tensor, objects: Objects) -> Pairs:
    """The pairs of a table `[G, N]` bool of objects and points, object after object."""
    which, points = candidates.nonzero().unbind(dim=1)
    return Pairs(which, objects.images[which] * candidates.shape[1] + points)


def overlaps_of(pairs: Pairs, boxes: Tensor, objects: Objects) -> Tensor:
    """`[K]`, the IoU of each pair's predicted box, of boxes `[B, N, 4]`, with its object."""
    return iou(boxes.flatten(0, 1)[pairs.rows], objects.boxes[pairs.objects])


def assignment_of(pairs: Pairs, points: int, ious: Tensor, weights: Tensor) -> Assignment:
    """Of pairs each with another row, rows ascending, in images of so many points."""
    images = pairs.rows.div(points, rounding_mode="floor")
    return Assignment(images, pairs.rows - images * points, pairs.objects, ious, weights)


def ranks(values: Tensor, groups: Tensor) -> Tensor:
    """`[K]` int64, how many of the same group have a lower value (of equal ones, come before).

    Args:
        values: `[K]`.
        groups: `[K]` int64, ascending.
    """
    order = _by_group(values, groups)
    places = torch.arange(len(groups), device=groups.device)
    return torch.empty_like(places).scatter_(0, order, places - torch.searchsorted(groups, groups))


def lowest_of_each(values: Tensor, groups: Tensor) -> Tensor:
    """Indices of the lowest value of each group, groups ascending; of equal ones the first.

    Args:
        values: `[K]`.
        groups: `[K]` int64, in any order.
    """
    order = _by_group(values, groups)
    is_first = torch.ones_like(order, dtype=torch.bool)
    is_first[1:] = groups[order[1:]] != groups[order[:-1]]
    return order[is_first]


def _by_group(values: Tensor, groups: Tensor) -> Tensor:
    """Indices sorted by group, and within a group by value."""
    order = values.argsort(stable=True)
    return order[groups[order].argsort(stable=True)]
