"""What images teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """The objects of one image.

    Attributes:
        boxes: `[G, 4]` float32, xyxy in input pixels.
        labels: `[G]` int64.
        weights: `[G]` float32 in 0..1, how much each object counts, as Mixup's do; None where each counts once.
    """

    boxes: Tensor
    labels: Tensor
    weights: Tensor | None = None

    @property
    def shares(self) -> Tensor:
        """`[G]`, the weights, ones where there are none."""
        return self.boxes.new_ones(len(self.boxes)) if self.weights is None else self.weights


@dataclass(frozen=True)
class Objects:
    """The objects of a batch, image after image.

    Attributes:
        boxes: `[G, 4]`, float32 or wider, xyxy in input pixels.
        labels: `[G]` int64.
        images: `[G]` int64, ascending: the image of each.
        shares: `[G]` in 0..1, how much each counts.
    """

    boxes: Tensor
    labels: Tensor
    images: Tensor
    shares: Tensor


def joined(targets: Sequence[Targets]) -> Objects:
    """The objects of at least one image."""
    boxes = torch.cat([target.boxes for target in targets])
    return Objects(
        boxes.to(torch.promote_types(boxes.dtype, torch.float32)),
        torch.cat([target.labels for target in targets]),
        torch.cat([torch.full_like(target.labels, image) for image, target in enumerate(targets)]),
        torch.cat([target.shares for target in targets]),
    )


def moved(targets: Sequence[Targets], device: torch.device) -> list[Targets]:
    """The same on a device, in one copy of each kind whatever the number of images."""
    counts = [len(target.boxes) for target in targets]
    boxes = torch.cat([target.boxes for target in targets]).to(device, non_blocking=True).split(counts)
    labels = torch.cat([target.labels for target in targets]).to(device, non_blocking=True).split(counts)
    if all(target.weights is None for target in targets):
        return [Targets(*pair) for pair in zip(boxes, labels, strict=True)]
    weights = torch.cat([target.shares for target in targets]).to(device, non_blocking=True).split(counts)
    return [Targets(*parts) for parts in zip(boxes, labels, weights, strict=True)]
