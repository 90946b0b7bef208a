"""FCOS (Tian et al., ICCV 2019) in the layout of the GFL head: distances as plain numbers, and centreness.

It is the simplest of the heads and has the same tower as GFL's, so the two differ in what the numbers mean alone. The
paper's scale of each level (`exp(s_i x)`) is left out: it serves towers that all levels share.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from edgedet.models.heads.base import Decoder
from edgedet.models.heads.geometry import bounded_exp, boxes_from_distances
from edgedet.models.heads.towers import TowerHead, start_at_prior_


class FCOSDecoder(Decoder):
    """Of the FCOS head: a score is `sqrt(class * centreness)`, which keeps to the scale of its factors."""

    def decode(self, raw: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        classes, centreness, boxes = decode(raw, points, strides, self.num_classes)
        return boxes, (classes.sigmoid() * centreness.sigmoid()).sqrt()


class FCOSHead(TowerHead):
    """Raw outputs are `[B, N, C + 5]`: class logits, centreness logit, logarithms of the distances in strides.

    Args:
        channels: channels of every input map.
        num_classes: C.
        strides: of the input maps, finest first.
        activation: name, see `edgedet.models.activations`.
    """

    def __init__(self, channels: int, num_classes: int, strides: Sequence[int], activation: str) -> None:
        super().__init__(channels, num_classes, strides, activation, num_classes + 5)
        for output in self.outputs:
            start_at_prior_(output, slice(num_classes))

    @property
    def decoder(self) -> Decoder:
        return FCOSDecoder(self.num_classes, self.strides)


def decode(raw: Tensor, points: Tensor, strides: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Raw outputs `[B, N, C + 5]` to class logits `[B, N, C]`, centreness logits `[B, N, 1]` and boxes `[B, N, 4]`.

    Boxes are xyxy in input pixels.
    """
    classes, centreness, logarithms = raw.split([num_classes, 1, 4], dim=-1)
    return classes, centreness, boxes_from_distances(points, bounded_exp(logarithms) * strides[:, None])
