"""Anchor-free head of Generalized Focal Loss (Li et al., NeurIPS 2020), laid out as in NanoDet-Plus.

One tower per level gives class logits (joint class and quality, no objectness) and, for each side of the box,
a distribution over `reg_max + 1` distances in units of the level's stride.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgedet.models.heads.base import Decoder
from edgedet.models.heads.geometry import boxes_from_distances
from edgedet.models.heads.towers import TowerHead, start_at_prior_

REG_MAX = 7
BINS = REG_MAX + 1


class GFLDecoder(Decoder):
    """Of the GFL head."""

    def decode(self, raw: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        return decode(raw, points, strides, self.num_classes)


class GFLHead(TowerHead):
    """Raw outputs are `[B, N, C + 4 * (REG_MAX + 1)]`: class logits, then the bins of left, top, right and bottom.

    Args:
        channels: channels of every input map.
        num_classes: C.
        strides: of the input maps, finest first.
        activation: name, see `edgedet.models.activations`.
    """

    def __init__(self, channels: int, num_classes: int, strides: Sequence[int], activation: str) -> None:
        super().__init__(channels, num_classes, strides, activation, num_classes + 4 * BINS)
        for output in self.outputs:
            start_at_prior_(output, slice(num_classes))

    @property
    def decoder(self) -> Decoder:
        return GFLDecoder(self.num_classes, self.strides)


def expected_distances(box_logits: Tensor) -> Tensor:
    """Logits `[..., 4 * (REG_MAX + 1)]` to the expected distance of each side `[..., 4]`, in strides."""
    probabilities = box_logits.reshape(*box_logits.shape[:-1], 4, BINS).softmax(dim=-1)
    bins = torch.arange(BINS, dtype=probabilities.dtype, device=probabilities.device)
    # Not as a matrix product: ONNX Runtime makes thousands of tiny ones of it, which take longer than a small backbone.
    return (probabilities * bins).sum(dim=-1)


def decode(logits: Tensor, points: Tensor, strides: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Logits `[B, N, C + 4 * (REG_MAX + 1)]` to boxes `[B, N, 4]` (xyxy, input pixels) and scores `[B, N, C]`.

    Bins, sides and coordinates are computed as planes over all cells, as the head's convolutions give them: a softmax
    over rows of 8 numbers takes a CPU several times as long, and to transpose the head's output only to slice it is
    left out by a runtime.
    """
    class_logits, box_logits = logits[..., :num_classes], logits[..., num_classes:]
    cells = points.shape[0]
    # Images and sides are one dimension: a runtime cannot put off this transpose until behind a sum, where it is slow.
    planes = box_logits.transpose(1, 2).reshape(-1, BINS, cells)
    weights = (planes - planes.amax(dim=1, keepdim=True)).exp()
    bins = torch.arange(BINS, dtype=weights.dtype, device=weights.device)[:, None]
    distances = ((weights * bins).sum(dim=1) / weights.sum(dim=1)).reshape(-1, 4, cells) * strides
    return boxes_from_distances(points.T, distances, dim=1).transpose(1, 2), class_logits.sigmoid()
