"""Anchors learn the object that they overlap most, if they overlap it enough.

The matching of SSD (Liu et al., ECCV 2016, section 2.2) with the band of ignored anchors of RetinaNet (Lin et al.,
ICCV 2017, section 4, "Anchors").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgedet.errors import EdgedetError
from edgedet.losses.assigners.assignment import Assignment
from edgedet.losses.assigners.pairs import Pairs, assignment_of, lowest_of_each, pairs_of
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.overlap import iou
from edgedet.losses.targets import Objects


@dataclass(frozen=True)
class AnchorAssignment(Assignment):
    """Which anchors are positive, and for which object; `points` are indices of anchors.

    Attributes:
        ious: `[p]`, IoU of each positive anchor itself, not of its prediction, with its object.
        weights: `[p]`, all 1: an anchor's class is hard.
        ignored: `[B, N]` bool, anchors that are neither positive nor background.
    """

    ignored: Tensor


@torch.no_grad()
def max_iou(
    anchors: Tensor, objects: Objects, images: int, *, positive: float = 0.5, negative: float = 0.4
) -> AnchorAssignment:
    """Assigns the anchors of each image of a batch to the image's objects.

    An anchor whose highest IoU reaches `positive` learns that object. The anchor that overlaps an object most learns
    it whatever the IoU, so that every object which any anchor overlaps has one; an anchor that is this for several
    objects learns the one it overlaps most, and the others may go without. Of the other anchors, those whose highest
    IoU reaches `negative` are ignored. Half precision is cast up.

    Args:
        anchors: `[N, 4]` xyxy in pixels.
        objects: of the images.
        images: how many there are.
        positive: the lowest IoU of a positive anchor.
        negative: the lowest IoU of an ignored anchor; where it equals `positive`, as in SSD, none is ignored.

    Raises:
        EdgedetError: the thresholds are not `0 < negative <= positive <= 1`.
    """
    if not 0 < negative <= positive <= 1:
        raise EdgedetError(
            f"IoU thresholds {negative} (negative) and {positive} (positive) leave no order of anchors",
            fix="choose 0 < negative <= positive <= 1",
        )
    (anchors,) = at_least_single(anchors)
    overlaps = iou(anchors, objects.boxes[:, None])
    pairs = pairs_of(overlaps > 0, objects)
    values = overlaps[pairs.objects, pairs.rows % len(anchors)]
    rivals = lowest_of_each(-values, pairs.rows)
    best = lowest_of_each(-values, pairs.objects)
    best = best[lowest_of_each(-values[best], pairs.rows[best])]

    highest = anchors.new_zeros(images * len(anchors))
    highest[pairs.rows[rivals]] = values[rivals]
    learned = torch.zeros_like(highest, dtype=torch.long)
    is_positive = highest >= positive
    is_positive[pairs.rows[best]] = True
    # What an anchor is the best of is written last: that it learns, whatever else it overlaps.
    ious = highest.clone()
    for chosen in (rivals, best):
        learned[pairs.rows[chosen]] = pairs.objects[chosen]
        ious[pairs.rows[chosen]] = values[chosen]
    rows = is_positive.nonzero().squeeze(1)
    found = assignment_of(Pairs(learned[rows], rows), len(anchors), ious[rows], torch.ones_like(ious[rows]))
    ignored = (highest >= negative) & ~is_positive
    return AnchorAssignment(**vars(found), ignored=ignored.reshape(images, len(anchors)))
