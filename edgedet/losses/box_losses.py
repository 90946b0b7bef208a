"""Losses of predicted boxes `[..., 4]` against the objects' `[..., 4]`, one number `[...]` for each pair.

Boxes are xyxy in units of the stride of the point that predicts them: a side that is one pixel off costs the l-losses
as much on every level then, relative to what the level can resolve. The others have no scale.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from edgedet.losses.overlap import EPSILON, ciou, diou, giou, iou


def l1_loss(boxes: Tensor, objects: Tensor) -> Tensor:
    """Sum of the absolute differences of the four coordinates, at least 0."""
    return (boxes - objects).abs().sum(dim=-1)


def l2_loss(boxes: Tensor, objects: Tensor) -> Tensor:
    """Sum of the squared differences of the four coordinates, at least 0."""
    return (boxes - objects).square().sum(dim=-1)


def smooth_l1_loss(boxes: Tensor, objects: Tensor, beta: float = 1.0) -> Tensor:
    """Sum over the coordinates of `0.5 * x^2 / beta` where `|x| < beta`, else `|x| - 0.5 * beta`, at least 0.

    Fast R-CNN (Girshick, ICCV 2015), equation 3, with beta 1.
    """
    return functional.smooth_l1_loss(boxes, objects, reduction="none", beta=beta).sum(dim=-1)


def iou_loss(boxes: Tensor, objects: Tensor) -> Tensor:
    """`-ln(IoU)` (UnitBox, Yu et al., ACM Multimedia 2016), in 0..16.2.

    Boxes that do not meet have the largest loss, that of an IoU of 1e-7, and no gradient.
    """
    return -iou(boxes, objects).clamp(min=EPSILON).log()


def giou_loss(boxes: Tensor, objects: Tensor) -> Tensor:
    """`1 - GIoU` (Rezatofighi et al., CVPR 2019), in 0..2."""
    return 1 - giou(boxes, objects)


def diou_loss(boxes: Tensor, objects: Tensor) -> Tensor:
    """`1 - DIoU` (Zheng et al., AAAI 2020), in 0..2."""
    return 1 - diou(boxes, objects)


def ciou_loss(boxes: Tensor, objects: Tensor) -> Tensor:
    """`1 - CIoU` (Zheng et al., AAAI 2020), in 0..2.5."""
    return 1 - ciou(boxes, objects)


BOX_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1_loss,
    "l2": l2_loss,
    "smooth_l1": smooth_l1_loss,
    "iou": iou_loss,
    "giou": giou_loss,
    "diou": diou_loss,
    "ciou": ciou_loss,
}
"""By name; of predicted boxes and their objects."""
