"""What an image teaches."""

from __future__ import annotations

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

    def to(self, device: torch.device) -> Targets:
        """On a device."""
        weights = None if self.weights is None else self.weights.to(device, non_blocking=True)
        return Targets(self.boxes.to(device, non_blocking=True), self.labels.to(device, non_blocking=True), weights)

    @property
    def shares(self) -> Tensor:
        """`[G]`, the weights, ones where there are none."""
        return self.boxes.new_ones(len(self.boxes)) if self.weights is None else self.weights
