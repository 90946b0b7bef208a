"""The loss of the SSDLite head (SSD, Liu et al., ECCV 2016, section 2.2): cross entropy and smooth L1 of offsets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.losses.assigners import Assignment, max_iou
from edgedet.losses.assigners.precision import at_least_single
from edgedet.losses.box_losses import smooth_l1_loss
from edgedet.losses.negatives import hard_negatives
from edgedet.losses.positives import positives_of
from edgedet.losses.processes import Mean, alone
from edgedet.losses.targets import Objects, Targets
from edgedet.models.heads.geometry import boxes_from_centres
from edgedet.models.heads.ssdlite import anchor_sizes, offsets_of

MATCH_IOU = 0.5
NEGATIVE_RATIO = 3.0


def ssd_loss(
    raw: Tensor,
    points: Tensor,
    strides: Tensor,
    targets: Sequence[Targets],
    num_classes: int,
    *,
    mean: Mean = alone,
) -> dict[str, Tensor]:
    """The parts of the loss of a batch, scalars over the number of positive anchors; their sum is what is minimised.

    `classification` is cross entropy over the classes and the background, of the positive anchors and, per image, of
    three times as many others, but some in any image: those that it is highest for. `box` is smooth L1 of the positive
    anchors' offsets.

    Args:
        raw: `[B, N, C + 5]` from `SSDLiteHead.forward`.
        points: `[N, 2]`, see `Head.points`.
        strides: `[N]`, see `Head.points`.
        targets: B images' objects; one without objects is background.
        num_classes: C.
        mean: of a tensor over the processes that share the batch, see `gfl_loss`.
    """
    (raw,) = at_least_single(raw)
    class_logits, offsets = raw[..., : num_classes + 1], raw[..., num_classes + 1 :]
    sizes = anchor_sizes(strides)
    anchors = boxes_from_centres(points, sizes)

    def assign(objects: Objects) -> Assignment:
        return max_iou(anchors, objects, len(targets), positive=MATCH_IOU, negative=MATCH_IOU)

    positives = positives_of(targets, assign)
    count = mean(positives.shares.sum()).clamp(min=1)
    background = torch.full(raw.shape[:2], num_classes, device=raw.device)
    losses = functional.cross_entropy(
        class_logits.transpose(1, 2), positives.scattered(positives.labels, background), reduction="none"
    )
    counts = positives.scattered(positives.shares, _hard(losses.detach(), positives.mask(losses)))
    rows = positives.rows
    wanted = offsets_of(positives.boxes, points[rows], sizes[rows])
    box = smooth_l1_loss(offsets[positives.at], wanted.to(raw.dtype))
    return {
        "classification": (losses * counts).sum() / count,
        "box": (box * positives.shares).sum() / count,
    }


def _hard(losses: Tensor, positive: Tensor) -> Tensor:
    """`[B, N]`: 1 at the anchors without an object that are learned from, 0 elsewhere."""
    chosen = [hard_negatives(*image, ratio=NEGATIVE_RATIO) for image in zip(losses, positive, strict=True)]
    return torch.stack(chosen).to(losses.dtype)
