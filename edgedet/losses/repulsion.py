"""Repulsion loss (Wang et al., CVPR 2018): in a crowd, boxes keep away from the neighbours of what they are to find.

The attraction by the object itself is the box loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.overlap import iog, iou
from edgedet.losses.targets import Objects

SIGMA_OBJECTS = 1.0
SIGMA_BOXES = 0.0
WEIGHT_OBJECTS = 0.5
WEIGHT_BOXES = 0.5
"""All four are unconfirmed."""

LARGEST_SIGMA = 0.99
"""With a sigma of 1 nothing would bound the loss of a box that covers a neighbour, nor its gradient."""

LEAST_WEIGHT = 1e-6
"""Where nothing counts, losses of 0 are divided by it."""


class Sums(NamedTuple):
    """What a part of the loss costs, summed, and what to divide that by: of a batch shared by processes, of all.

    Attributes:
        loss: weighted sum, a scalar.
        weight: sum of the weights, a scalar without gradient.
    """

    loss: Tensor
    weight: Tensor

    def over(self, weight: Tensor) -> Tensor:
        """The loss by a weight, as the mean over the processes of theirs; 0 where there is nothing."""
        return self.loss / weight.clamp(min=LEAST_WEIGHT)


def repulsion_loss(from_objects: Tensor, from_boxes: Tensor) -> Tensor:
    """`0.5 * RepGT + 0.5 * RepBox` of a batch, a scalar. The weights are unconfirmed."""
    return WEIGHT_OBJECTS * from_objects + WEIGHT_BOXES * from_boxes


def repulsion_from_objects(boxes: Tensor, indices: Tensor, objects: Objects, sigma: float = SIGMA_OBJECTS) -> Sums:
    """RepGT (section 4.2): for each box `smooth_ln` of the IoG with the other object that it meets most.

    The other object is of the same image and has the highest IoU with the box. In the weight a box counts by the share
    of its own object, in the loss by the lesser share of the two; without another object it adds 0 to the loss. Objects
    of a share of 0 repel nothing. Where every object counts once, loss by weight is the paper's mean over boxes.

    Args:
        boxes: `[P, 4]`, what the positive points of all images predict, xyxy in pixels.
        indices: `[P]` int64, the object of each, an index into `objects`.
        objects: G of all images.
        sigma: see `smooth_ln`; the default is unconfirmed.
    """
    losses = [boxes[:0, 0]]
    for own, rows in _by_image(objects.images, objects.images[indices]):
        predicted, own_of = boxes[rows], indices[rows]
        gt_boxes, shares = objects.boxes[own], objects.shares[own]
        with torch.no_grad():
            others = (own_of[:, None] != own) & (shares > 0)
            nearest = iou(predicted[:, None], gt_boxes).masked_fill(~others, -1).argmax(dim=1)
            weights = torch.minimum(objects.shares[own_of], shares[nearest]) * others.any(dim=1)
        losses.append(smooth_ln(iog(predicted, gt_boxes[nearest]), sigma) * weights)
    return Sums(torch.cat(losses).sum(), objects.shares[indices].sum())


def repulsion_from_boxes(boxes: Tensor, indices: Tensor, objects: Objects, sigma: float = SIGMA_BOXES) -> Sums:
    """RepBox (section 4.3): for all pairs of boxes that meet `smooth_ln` of their IoU.

    Pairs are of one image and of different objects, and count by the lesser share of the two. Where every object counts
    once, loss by weight is the mean over the pairs that meet. Takes `repulsion_from_objects`' arguments.
    """
    losses, weights = [boxes[:0, 0]], [objects.shares[:0]]
    for _, rows in _by_image(objects.images, objects.images[indices]):
        predicted, own_of = boxes[rows], indices[rows]
        with torch.no_grad():
            # Most pairs do not meet: gradients are kept of those that do alone.
            meet = (iou(predicted[:, None], predicted) > 0) & (own_of[:, None] != own_of)
            first, second = meet.triu().nonzero().unbind(dim=1)
            shares = torch.minimum(objects.shares[own_of[first]], objects.shares[own_of[second]])
        weights.append(shares)
        losses.append(smooth_ln(iou(predicted[first], predicted[second]), sigma) * shares)
    return Sums(torch.cat(losses).sum(), torch.cat(weights).sum())


def _by_image(of_objects: Tensor, of_boxes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The objects and the boxes of each image that has a box, as indices: only these can be rivals.

    All combinations over a batch would take memory by the square of its images.
    """
    for image in of_boxes.unique():
        yield (of_objects == image).nonzero().squeeze(1), (of_boxes == image).nonzero().squeeze(1)


def smooth_ln(x: Tensor, sigma: float) -> Tensor:
    """`-ln(1 - x)` up to `x = sigma`, from there on its tangent, elementwise (section 4.2).

    Args:
        x: in 0..1.
        sigma: in 0..1, how soon outliers stop to weigh more; above 0.99 it is 0.99.
    """
    sigma = min(sigma, LARGEST_SIGMA)
    return -torch.log1p(-x.clamp(max=sigma)) + functional.relu(x - sigma) / (1 - sigma)
