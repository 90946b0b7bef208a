"""What an assigner takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Assignment:
    """Which points are positive, and for which object.

    Attributes:
        points: `[p]` int64, indices of the positive points, ascending.
        objects: `[p]` int64, the object of each.
        ious: `[p]`, IoU of each positive point's predicted box with its object.
        weights: `[p]` in 0..1, the soft target of each positive point's class; most assigners take the IoU.
    """

    points: Tensor
    objects: Tensor
    ious: Tensor
    weights: Tensor


class PointAssigner(Protocol):
    """Assigns the points of one image to its objects.

    No gradient flows through an assignment. Half precision is cast up. An object without area, and one that has no
    candidate, gets no point. Where a point is equally good for several objects, which one gets it is left open.
    """

    def __call__(
        self,
        class_logits: Tensor,
        boxes: Tensor,
        points: Tensor,
        strides: Tensor,
        gt_boxes: Tensor,
        gt_labels: Tensor,
        /,
    ) -> Assignment:
        """The positive points.

        Args:
            class_logits: `[N, C]`, the sigmoid of which is a point's score for a class.
            boxes: `[N, 4]` predicted, xyxy in pixels.
            points: `[N, 2]` in pixels.
            strides: `[N]`; points of one stride are one level.
            gt_boxes: `[G, 4]` xyxy in pixels.
            gt_labels: `[G]` int64.
        """


def no_positives(boxes: Tensor) -> Assignment:
    """The assignment of an image in which no point learns an object; of the type and on the device of `boxes`."""
    nobody = torch.zeros(0, dtype=torch.long, device=boxes.device)
    return Assignment(nobody, nobody, boxes.new_zeros(0), boxes.new_zeros(0))
