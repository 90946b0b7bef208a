"""What an assigner takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from edgedet.losses.targets import Objects


@dataclass(frozen=True)
class Assignment:
    """Which points of a batch are positive, and for which object.

    Attributes:
        images: `[p]` int64, the image of each positive point, ascending.
        points: `[p]` int64, indices of the points, ascending within an image.
        objects: `[p]` int64, the object of each, an index into the batch's objects.
        ious: `[p]`, IoU of each positive point's predicted box with its object.
        weights: `[p]` in 0..1, the soft target of each positive point's class; most assigners take the IoU.
    """

    images: Tensor
    points: Tensor
    objects: Tensor
    ious: Tensor
    weights: Tensor


class PointAssigner(Protocol):
    """Assigns the points of each image of a batch to the image's objects.

    An image's assignment does not depend on the others of its batch. No gradient flows through an assignment. Half
    precision is cast up. An object without area, and one that has no candidate, gets no point. Where a point is equally
    good for several objects, which one gets it is left open.
    """

    def __call__(
        self, class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, objects: Objects, /
    ) -> Assignment:
        """The positive points.

        Args:
            class_logits: `[B, N, C]`, the sigmoid of which is a point's score for a class.
            boxes: `[B, N, 4]` predicted, xyxy in pixels.
            points: `[N, 2]` in pixels.
            strides: `[N]`; points of one stride are one level.
            objects: of the B images.
        """
