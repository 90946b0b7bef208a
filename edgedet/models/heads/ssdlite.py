"""SSD (Liu et al., ECCV 2016) with separable convolutions, as SSDLite (Sandler et al., CVPR 2018): boxes from anchors.

Scores are a softmax over the classes and the background, as in the paper: its mining of hard negatives ranks anchors by
that loss, and methods that compare two views need the probability of background.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgedet.models.heads.base import Decoder
from edgedet.models.heads.geometry import bounded_exp, boxes_from_centres
from edgedet.models.heads.towers import TowerHead

ANCHOR_STRIDES = 4.0
"""Side of a level's square anchor in strides (RetinaNet, section 4: 32 pixels at stride 8)."""

ANCHOR_SHAPES = tuple(
    (scale * ratio**0.5, scale / ratio**0.5)
    for scale, ratio in ((1.0, 1.0), (2.0**0.5, 1.0), (1.0, 2.0), (1.0, 1 / 2), (1.0, 3.0), (1.0, 1 / 3))
)
"""Width and height of each anchor of a cell, as shares of the square one (SSD, section 2.2): the ratios 1, 2 and 3, and
a second square between this level's and the next one's, which is twice as large."""

CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
"""What the offsets of centre and size are multiplied by (amdegroot/ssd.pytorch, data/config.py)."""


class SSDLiteDecoder(Decoder):
    """Of the SSDLite head: a score is the class's share of a softmax over all classes and the background."""

    def decode(self, raw: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        scores = raw[..., : self.num_classes + 1].softmax(dim=-1)[..., : self.num_classes]
        return boxes_from_offsets(raw[..., self.num_classes + 1 :], points, anchor_sizes(strides)), scores


class SSDLiteHead(TowerHead):
    """Raw outputs are `[B, N, C + 5]`: class logits, background logit, offsets of centre and size.

    Args:
        channels: channels of every input map.
        num_classes: C.
        strides: of the input maps, finest first.
        activation: name, see `edgedet.models.activations`.
    """

    anchors = len(ANCHOR_SHAPES)

    def __init__(self, channels: int, num_classes: int, strides: Sequence[int], activation: str) -> None:
        super().__init__(channels, num_classes, strides, activation, num_classes + 5)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        cells = super().forward(maps)
        # Only the batch is left to infer: an exported graph with a free batch needs no arithmetic of shapes.
        return cells.reshape(-1, cells.shape[1] * self.anchors, self.row_length)

    @property
    def decoder(self) -> Decoder:
        return SSDLiteDecoder(self.num_classes, self.strides, self.anchors)


def anchor_sizes(strides: Tensor) -> Tensor:
    """Strides `[N]` of the boxes' cells, see `Head.points`, to width and height of the anchors `[N, 2]` in pixels."""
    shapes = strides.new_tensor(ANCHOR_SHAPES) * ANCHOR_STRIDES
    return (strides.reshape(-1, len(ANCHOR_SHAPES), 1) * shapes).reshape(-1, 2)


def boxes_from_offsets(offsets: Tensor, centres: Tensor, sizes: Tensor) -> Tensor:
    """Offsets `[..., N, 4]` from anchors to xyxy boxes `[..., N, 4]`: the inverse of `offsets_of`.

    Args:
        offsets: of the centre in shares of the anchor's size, of the size's logarithm; both over their variances.
        centres: `[N, 2]` of the anchors, in pixels.
        sizes: `[N, 2]` of the anchors, in pixels.
    """
    moved = centres + CENTRE_VARIANCE * offsets[..., :2] * sizes
    return boxes_from_centres(moved, sizes * bounded_exp(SIZE_VARIANCE * offsets[..., 2:]))


def offsets_of(boxes: Tensor, centres: Tensor, sizes: Tensor) -> Tensor:
    """The offsets `[..., 4]` by which anchors become xyxy boxes `[..., 4]` (SSD, equation 2, over the variances).

    Args:
        boxes: of some width and height.
        centres: `[..., 2]` of the anchors, in pixels.
        sizes: `[..., 2]` of the anchors, in pixels.
    """
    moved = ((boxes[..., :2] + boxes[..., 2:]) / 2 - centres) / sizes
    scaled = ((boxes[..., 2:] - boxes[..., :2]) / sizes).log()
    return torch.cat([moved / CENTRE_VARIANCE, scaled / SIZE_VARIANCE], dim=-1)
