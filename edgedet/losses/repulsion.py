"""Repulsion loss (Wang et al., CVPR 2018): in a crowd, boxes keep away from the neighbours of what they are to find.

The attraction by the object itself is the box loss.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.overlap import iog, iou

SIGMA_OBJECTS = 1.0
SIGMA_BOXES = 0.0
WEIGHT_OBJECTS = 0.5
WEIGHT_BOXES = 0.5
"""All four are unconfirmed."""

LARGEST_SIGMA = 0.99
"""With a sigma of 1 nothing would bound the loss of a box that covers a neighbour, nor its gradient."""


def repulsion_loss(boxes: Tensor, objects: Tensor, gt_boxes: Tensor, gt_images: Tensor) -> Tensor:
    """`0.5 * RepGT + 0.5 * RepBox` of a batch, a scalar. The weights are unconfirmed.

    Args:
        boxes: `[P, 4]`, what the positive points of all images predict, xyxy in pixels.
        objects: `[P]` int64, the object of each, an index into `gt_boxes`.
        gt_boxes: `[G, 4]`, the objects of all images, xyxy in pixels.
        gt_images: `[G]` int64, the image of each object.
    """
    from_objects = repulsion_from_objects(boxes, objects, gt_boxes, gt_images)
    return WEIGHT_OBJECTS * from_objects + WEIGHT_BOXES * repulsion_from_boxes(boxes, objects, gt_images[objects])


def repulsion_from_objects(
    boxes: Tensor, objects: Tensor, gt_boxes: Tensor, gt_images: Tensor, sigma: float = SIGMA_OBJECTS
) -> Tensor:
    """RepGT (section 4.2): mean over the boxes of `smooth_ln` of the IoG with the other object that each meets most.

    The other object is of the same image and has the highest IoU with the box. A box without one adds 0 to the mean;
    without boxes the loss is 0. Takes `repulsion_loss`'s arguments and `smooth_ln`'s sigma, whose default is
    unconfirmed.
    """
    if len(boxes) == 0:
        return boxes.sum()
    with torch.no_grad():
        indices = torch.arange(len(gt_boxes), device=objects.device)
        others = (gt_images[objects, None] == gt_images) & (objects[:, None] != indices)
        nearest = iou(boxes[:, None], gt_boxes).masked_fill(~others, -1).argmax(dim=1)
    shares = iog(boxes, gt_boxes[nearest]) * others.any(dim=1)
    return smooth_ln(shares, sigma).mean()


def repulsion_from_boxes(boxes: Tensor, objects: Tensor, images: Tensor, sigma: float = SIGMA_BOXES) -> Tensor:
    """RepBox (section 4.3): mean of `smooth_ln` of the IoU over all pairs of boxes that meet, a scalar.

    Pairs are of one image and of different objects; without a pair that meets the loss is 0.

    Args:
        boxes: `[P, 4]`, what positive points predict, xyxy in pixels.
        objects: `[P]` int64, the object of each.
        images: `[P]` int64, the image of each.
        sigma: see `smooth_ln`; the default is unconfirmed.
    """
    rivals = (images[:, None] == images) & (objects[:, None] != objects)
    first, second = rivals.triu().nonzero().unbind(dim=1)
    overlaps = iou(boxes[first], boxes[second])
    return smooth_ln(overlaps, sigma).sum() / (overlaps > 0).sum().clamp(min=1)


def smooth_ln(x: Tensor, sigma: float) -> Tensor:
    """`-ln(1 - x)` up to `x = sigma`, from there on its tangent, elementwise (section 4.2).

    Args:
        x: in 0..1.
        sigma: in 0..1, how soon outliers stop to weigh more; above 0.99 it is 0.99.
    """
    sigma = min(sigma, LARGEST_SIGMA)
    return -torch.log1p(-x.clamp(max=sigma)) + functional.relu(x - sigma) / (1 - sigma)
