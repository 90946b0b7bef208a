"""The loss of the GFL head: quality focal, GIoU and distribution focal loss over a dynamic assignment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgedet.losses.assign import assign
from edgedet.losses.focal import distribution_focal_loss, quality_focal_loss
from edgedet.losses.overlap import giou
from edgedet.models.heads.gfl import BINS, boxes_from_distances, expected_distances

QUALITY_WEIGHT = 1.0
GIOU_WEIGHT = 2.0
DISTRIBUTION_WEIGHT = 0.25


@dataclass(frozen=True)
class Targets:
    """The objects of one image.

    Attributes:
        boxes: `[G, 4]` float32, xyxy in input pixels.
        labels: `[G]` int64.
    """

    boxes: Tensor
    labels: Tensor


@dataclass(frozen=True)
class GFLLoss:
    """Weighted parts of the loss, scalars.

    Attributes:
        quality: quality focal loss, over the number of positive points.
        giou: GIoU loss, weighted by each point's highest class score.
        distribution: distribution focal loss, weighted likewise.
    """

    quality: Tensor
    giou: Tensor
    distribution: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum: what is minimised."""
        return self.quality + self.giou + self.distribution


def _same(value: Tensor) -> Tensor:
    return value


def gfl_loss(
    logits: Tensor,
    points: Tensor,
    strides: Tensor,
    targets: Sequence[Targets],
    *,
    mean: Callable[[Tensor], Tensor] = _same,
) -> GFLLoss:
    """The loss of a batch.

    Args:
        logits: `[B, N, C + 4 * (REG_MAX + 1)]` from `Detector.forward`.
        points: `[N, 2]`, see `anchor_points`.
        strides: `[N]`, see `anchor_points`.
        targets: B images' objects; one without objects is background.
        mean: of a tensor over the processes that share the batch; called once, in every process. The mean of the
            processes' losses is then the loss of the whole batch, however unevenly its objects are spread.
    """
    # Half precision has too few digits for boxes in pixels and for the logarithms below.
    logits = logits.float()
    class_logits, box_logits = logits[..., : -4 * BINS], logits[..., -4 * BINS :]
    with torch.no_grad():
        boxes = boxes_from_distances(points, expected_distances(box_logits) * strides[:, None])
    quality = torch.zeros_like(class_logits)
    positive_images, positive_points, positive_boxes = [], [], []
    for image, target in enumerate(targets):
        if len(target.boxes) == 0:
            continue
        match = assign(class_logits[image], boxes[image], points, strides, target.boxes, target.labels)
        quality[image, match.points, target.labels[match.objects]] = match.ious
        positive_images.append(torch.full_like(match.points, image))
        positive_points.append(match.points)
        positive_boxes.append(target.boxes[match.objects])

    nobody = torch.zeros(0, dtype=torch.int64, device=logits.device)
    image_index, point_index = torch.cat([nobody, *positive_images]), torch.cat([nobody, *positive_points])
    weights = class_logits[image_index, point_index].detach().sigmoid().amax(dim=-1)
    positives, total_weight = mean(torch.stack([weights.new_tensor(len(weights)), weights.sum()])).unbind()
    quality_loss = quality_focal_loss(class_logits, quality).sum() / positives.clamp(min=1)
    giou_loss, distribution_loss = _box_losses(
        box_logits[image_index, point_index],
        points[point_index],
        strides[point_index],
        torch.cat([points.new_zeros(0, 4), *positive_boxes]),
        weights / total_weight.clamp(min=1e-6),
    )
    return GFLLoss(QUALITY_WEIGHT * quality_loss, GIOU_WEIGHT * giou_loss, DISTRIBUTION_WEIGHT * distribution_loss)


def _box_losses(
    box_logits: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    predicted = boxes_from_distances(points, expected_distances(box_logits) * strides[:, None])
    sides = torch.cat([points - gt_boxes[:, :2], gt_boxes[:, 2:] - points], dim=-1) / strides[:, None]
    distribution = distribution_focal_loss(box_logits.reshape(-1, 4, BINS), sides).mean(dim=-1)
    return ((1 - giou(predicted, gt_boxes)) * weights).sum(), (distribution * weights).sum()
