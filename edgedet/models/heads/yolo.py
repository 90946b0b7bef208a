"""Decoupled anchor-free head with objectness, as YOLOX (Ge et al., 2021, arXiv 2107.08430) of separable convolutions.

Per level, classes come from one tower, box and objectness from another.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgedet.models.heads.base import Decoder, Head
from edgedet.models.heads.geometry import bounded_exp, boxes_from_centres
from edgedet.models.heads.towers import initialise_output_, make_tower, start_at_prior_


class YOLODecoder(Decoder):
    """Of the YOLO head: a score is `class * objectness`."""

    def decode(self, raw: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        classes, objectness, boxes = decode(raw, points, strides, self.num_classes)
        return boxes, classes.sigmoid() * objectness.sigmoid()


class YOLOHead(Head):
    """Raw outputs are `[B, N, C + 5]`: class logits, objectness logit, centre, logarithms of width and height.

    The centre is relative to the cell's, the size to the cell itself: both in strides.

    Args:
        channels: channels of every input map.
        num_classes: C.
        strides: of the input maps, finest first.
        activation: name, see `edgedet.models.activations`.
    """

    def __init__(self, channels: int, num_classes: int, strides: Sequence[int], activation: str) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.row_length = num_classes + 5
        self.class_towers = nn.ModuleList(make_tower(channels, activation) for _ in strides)
        self.box_towers = nn.ModuleList(make_tower(channels, activation) for _ in strides)
        self.class_outputs = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in strides)
        self.box_outputs = nn.ModuleList(nn.Conv2d(channels, 5, 1) for _ in strides)
        for output in self.class_outputs:
            initialise_output_(output)
            start_at_prior_(output, slice(num_classes))
        for output in self.box_outputs:
            initialise_output_(output)
            start_at_prior_(output, slice(1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        classes = _rows(self.class_towers, self.class_outputs, maps)
        return torch.cat([classes, _rows(self.box_towers, self.box_outputs, maps)], dim=2)

    @property
    def decoder(self) -> Decoder:
        return YOLODecoder(self.num_classes, self.strides)


def decode(raw: Tensor, points: Tensor, strides: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Raw outputs `[B, N, C + 5]` to class logits `[B, N, C]`, objectness logits `[B, N, 1]` and boxes `[B, N, 4]`.

    Boxes are xyxy in input pixels.
    """
    classes, objectness, centres, sizes = raw.split([num_classes, 1, 2, 2], dim=-1)
    steps = strides[:, None]
    return classes, objectness, boxes_from_centres(points + centres * steps, bounded_exp(sizes) * steps)


def _rows(towers: nn.ModuleList, outputs: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
    """`[B, N, outputs]`, the cells of the finest level first."""
    levels = [output(tower(feature)).flatten(2) for tower, output, feature in zip(towers, outputs, maps, strict=True)]
    return torch.cat(levels, dim=2).transpose(1, 2)
