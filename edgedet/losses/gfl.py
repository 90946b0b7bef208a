"""The loss of the GFL head: of scores, of boxes and of the distributions that the boxes come of.

As it is by default, NanoDet-Plus' quality focal, GIoU and distribution focal loss over TOOD's task-aligned assignment.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.assigners import ASSIGNERS, Assignment
from edgedet.losses.box_losses import BOX_LOSSES
from edgedet.losses.classification import CLASSIFICATION_LOSSES, smooth_labels
from edgedet.losses.config import DEFAULT, LossConfig
from edgedet.losses.focal import distribution_focal_loss
from edgedet.losses.negatives import hard_negatives, top_k_negatives
from edgedet.losses.positives import Positives, positives_of
from edgedet.losses.processes import Mean, alone
from edgedet.losses.repulsion import Sums, repulsion_from_boxes, repulsion_from_objects, repulsion_loss
from edgedet.losses.targets import Objects, Targets, joined
from edgedet.models.heads.gfl import BINS, boxes_from_distances, expected_distances


def gfl_loss(
    logits: Tensor,
    points: Tensor,
    strides: Tensor,
    targets: Sequence[Targets],
    config: LossConfig = DEFAULT,
    *,
    mean: Mean = alone,
) -> dict[str, Tensor]:
    """The weighted parts of the loss of a batch, scalars; their sum is what is minimised.

    `classification` is over the number of positive points. `box` and `distribution` are weighted by each point's
    highest class score, over the sum of these; `repulsion`, where there is one, is a mean over points and one over
    pairs of predicted boxes that meet.

    Args:
        logits: `[B, N, C + 4 * (REG_MAX + 1)]` from `Detector.forward`.
        points: `[N, 2]`, see `Head.points`.
        strides: `[N]`, see `Head.points`.
        targets: B images' objects; one without objects is background.
        config: which losses, and which points learn which object.
        mean: of a tensor over the processes that share the batch; called once, in every process. The mean of the
            processes' losses is then the loss of the whole batch, however unevenly its objects are spread.
    """
    # Half precision has too few digits for boxes in pixels and for the logarithms below.
    logits = logits.float()
    class_logits, box_logits = logits[..., : -4 * BINS], logits[..., -4 * BINS :]
    with torch.no_grad():
        boxes = boxes_from_distances(points, expected_distances(box_logits) * strides[:, None])

    def assign(objects: Objects) -> Assignment:
        return ASSIGNERS[config.assigner](class_logits.detach(), boxes, points, strides, objects)

    positives = positives_of(targets, assign)
    weights = class_logits[positives.at].detach().sigmoid().amax(dim=-1) * positives.shares
    units = strides[positives.rows, None]
    predicted, distribution = _boxes_and_distributions(
        box_logits[positives.at], points[positives.rows], units, positives.boxes
    )
    repulsion = _repulsion(predicted, positives, joined(targets)) if config.repulsion_weight > 0 else ()
    sums = [positives.shares.sum(), weights.sum(), *(part.weight for part in repulsion)]
    count, total_weight, *repulsion_weights = mean(torch.stack(sums)).unbind()
    weights = weights / total_weight.clamp(min=1e-6)
    box = BOX_LOSSES[config.box](predicted / units, positives.boxes / units)
    classification = _classification_loss(class_logits, positives, config).sum() / count.clamp(min=1)
    parts = {
        "classification": config.classification_weight * classification,
        "box": config.box_weight * (box * weights).sum(),
        "distribution": config.distribution_weight * (distribution * weights).sum(),
    }
    if repulsion:
        means = (part.over(weight) for part, weight in zip(repulsion, repulsion_weights, strict=True))
        parts["repulsion"] = config.repulsion_weight * repulsion_loss(*means)
    return parts


def _classification_loss(class_logits: Tensor, positives: Positives, config: LossConfig) -> Tensor:
    """Of every point and class `[B, N, C]`; 0 for points that take no part."""
    wanted = torch.zeros_like(class_logits)
    if config.classification in ("qfl", "vfl"):
        wanted[(*positives.at, positives.labels)] = positives.weights
    else:
        hot = functional.one_hot(positives.labels, class_logits.shape[-1]).to(wanted.dtype)
        wanted[positives.at] = smooth_labels(hot, config.label_smoothing)
    losses = CLASSIFICATION_LOSSES[config.classification](class_logits, wanted)
    counts = positives.scattered(positives.shares, torch.ones_like(class_logits[..., 0]))
    if config.negatives != "all":
        counts = counts * _taking_part(losses.detach().sum(dim=-1), positives, config)
    return losses * counts[..., None]


def _taking_part(losses: Tensor, positives: Positives, config: LossConfig) -> Tensor:
    """`[B, N]`: the positive points and, per image, the negative ones that are learned from."""
    positive = positives.mask(losses)
    if config.negatives == "hard":
        chosen = [hard_negatives(*pair, ratio=config.negative_ratio) for pair in zip(losses, positive, strict=True)]
    else:
        chosen = [top_k_negatives(*pair, k=config.top_k) for pair in zip(losses, positive, strict=True)]
    return positive | torch.stack(chosen)


def _repulsion(predicted: Tensor, positives: Positives, objects: Objects) -> tuple[Sums, Sums]:
    """RepGT and RepBox of this process, of boxes `[P, 4]` in pixels."""
    return (
        repulsion_from_objects(predicted, positives.objects, objects),
        repulsion_from_boxes(predicted, positives.objects, objects),
    )


def _boxes_and_distributions(
    box_logits: Tensor, points: Tensor, units: Tensor, gt_boxes: Tensor
) -> tuple[Tensor, Tensor]:
    """Predicted boxes `[P, 4]` in pixels, and the distribution focal loss `[P]` of their sides."""
    predicted = boxes_from_distances(points, expected_distances(box_logits) * units)
    sides = torch.cat([points - gt_boxes[:, :2], gt_boxes[:, 2:] - points], dim=-1) / units
    return predicted, distribution_focal_loss(box_logits.reshape(-1, 4, BINS), sides).mean(dim=-1)
