"""The loss of the FCOS head (Tian et al., ICCV 2019, equation 2): focal, GIoU and centreness loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgedet.losses.assigners import ASSIGNERS, Assignment
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.assigners.regions import side_distances
from edgedet.losses.box_losses import giou_loss
from edgedet.losses.classification import binary_cross_entropy
from edgedet.losses.focal import focal_loss
from edgedet.losses.positives import positives_of
from edgedet.losses.processes import Mean, alone
from edgedet.losses.targets import Objects, Targets
from edgedet.models.heads.fcos import decode


def fcos_loss(
    raw: Tensor,
    points: Tensor,
    strides: Tensor,
    targets: Sequence[Targets],
    num_classes: int,
    *,
    mean: Mean = alone,
) -> dict[str, Tensor]:
    """The parts of the loss of a batch, scalars; their sum is what is minimised.

    `classification` and `centreness` are over the number of positive points. `box` is a mean weighted by the target of
    centreness, as in the released code; GIoU stands for the paper's IoU, as in its journal version (TPAMI 2022).

    Args:
        raw: `[B, N, C + 5]` from `FCOSHead.forward`.
        points: `[N, 2]`, see `Head.points`.
        strides: `[N]`, see `Head.points`.
        targets: B images' objects; one without objects is background.
        num_classes: C.
        mean: of a tensor over the processes that share the batch, see `gfl_loss`.
    """
    (raw,) = at_least_single(raw)
    class_logits, centreness_logits, boxes = decode(raw, points, strides, num_classes)

    def assign(objects: Objects) -> Assignment:
        return ASSIGNERS["fcos"](class_logits.detach(), boxes.detach(), points, strides, objects)

    positives = positives_of(targets, assign)
    centreness = centreness_of(points[positives.rows], positives.boxes)
    weights = centreness * positives.shares
    count, total_weight = mean(torch.stack([positives.shares.sum(), weights.sum()])).unbind()
    wanted = torch.zeros_like(class_logits)
    wanted[(*positives.at, positives.labels)] = 1
    counts = positives.scattered(positives.shares, torch.ones_like(class_logits[..., 0]))
    centreness_losses = binary_cross_entropy(centreness_logits[positives.at].squeeze(-1), centreness.to(raw.dtype))
    return {
        "classification": (focal_loss(class_logits, wanted) * counts[..., None]).sum() / count.clamp(min=1),
        "box": (giou_loss(boxes[positives.at], positives.boxes) * weights).sum() / total_weight.clamp(min=1e-6),
        "centreness": (centreness_losses * positives.shares).sum() / count.clamp(min=1),
    }


def centreness_of(points: Tensor, boxes: Tensor) -> Tensor:
    """How near points `[P, 2]` are to the centres of the boxes `[P, 4]` that they are inside of, in 0..1 (equation 3).

    `sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b))`: `[P]`, 1 at the centre and 0 at the edge.
    """
    opposite = side_distances(points, boxes).reshape(-1, 2, 2)
    return (opposite.amin(dim=1) / opposite.amax(dim=1)).prod(dim=1).sqrt()
