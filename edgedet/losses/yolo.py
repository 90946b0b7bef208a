"""The loss of the YOLO head (YOLOX, Ge et al., 2021, with the weights of its released code)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.assigners import ASSIGNERS, Assignment
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.box_losses import giou_loss
from edgedet.losses.classification import binary_cross_entropy
from edgedet.losses.positives import positives_of
from edgedet.losses.processes import Mean, alone
from edgedet.losses.targets import Objects, Targets
from edgedet.models.heads.yolo import decode

BOX_WEIGHT = 5.0


def yolo_loss(
    raw: Tensor,
    points: Tensor,
    strides: Tensor,
    targets: Sequence[Targets],
    num_classes: int,
    *,
    mean: Mean = alone,
) -> dict[str, Tensor]:
    """The weighted parts of the loss of a batch, scalars over the number of positive points; their sum is minimised.

    `objectness` is binary cross entropy of every point, 1 where it is positive. `classification` is that of the
    positive points' classes, the label's target being the IoU of the predicted box. `box` is 5 times GIoU loss: the
    released code's IoU gives a box that does not meet its object no gradient.

    Args:
        raw: `[B, N, C + 5]` from `YOLOHead.forward`.
        points: `[N, 2]`, see `Head.points`.
        strides: `[N]`, see `Head.points`.
        targets: B images' objects; one without objects is background.
        num_classes: C.
        mean: of a tensor over the processes that share the batch, see `gfl_loss`.
    """
    (raw,) = at_least_single(raw)
    class_logits, objectness_logits, boxes = decode(raw, points, strides, num_classes)
    scores = product_logits(class_logits, objectness_logits).detach()

    def assign(objects: Objects) -> Assignment:
        return ASSIGNERS["simota"](scores, boxes.detach(), points, strides, objects)

    positives = positives_of(targets, assign)
    count = mean(positives.shares.sum()).clamp(min=1)
    nothing = torch.zeros_like(objectness_logits[..., 0])
    is_object = positives.scattered(torch.ones_like(positives.shares), nothing)
    counts = positives.scattered(positives.shares, torch.ones_like(nothing))
    objectness = binary_cross_entropy(objectness_logits[..., 0], is_object)
    wanted = functional.one_hot(positives.labels, num_classes) * positives.weights[:, None]
    classification = binary_cross_entropy(class_logits[positives.at], wanted.to(raw.dtype)).sum(dim=-1)
    box = giou_loss(boxes[positives.at], positives.boxes)
    return {
        "objectness": (objectness * counts).sum() / count,
        "classification": (classification * positives.shares).sum() / count,
        "box": BOX_WEIGHT * (box * positives.shares).sum() / count,
    }


def product_logits(first: Tensor, second: Tensor) -> Tensor:
    """The logits of `sigmoid(first) * sigmoid(second)`; the shapes broadcast.

    `1 - pq = (1 - p) + p(1 - q)`, summed as logarithms: finite where a probability rounds to 0 or 1.
    """
    log_p, log_q = functional.logsigmoid(first), functional.logsigmoid(second)
    log_rest = torch.logaddexp(functional.logsigmoid(-first), log_p + functional.logsigmoid(-second))
    return log_p + log_q - log_rest
