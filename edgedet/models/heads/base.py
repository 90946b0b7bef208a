"""What every head offers to its loss and to the decoded detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from edgedet.models.heads.geometry import anchor_points


@dataclass(frozen=True)
class Decoder:
    """What a head's raw outputs mean, without its layers.

    Attributes:
        num_classes: C.
        strides: of the head's levels, finest first.
        anchors: boxes a cell.
    """

    num_classes: int
    strides: tuple[int, ...]
    anchors: int = 1

    def points(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Centres `[N, 2]` (x, y in input pixels) and strides `[N]` of the boxes' cells, in the order of the rows."""
        points, strides = anchor_points(height, width, self.strides)
        return points.repeat_interleave(self.anchors, dim=0), strides.repeat_interleave(self.anchors)

    def decode(self, raw: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        """Raw outputs to boxes and scores.

        Args:
            raw: `[B, N, K]`.
            points: `[N, 2]`, see `points`.
            strides: `[N]`, see `points`.

        Returns:
            Boxes `[B, N, 4]` (xyxy, input pixels) and scores `[B, N, C]` in 0..1.
        """
        raise NotImplementedError


class Head(nn.Module):
    """Feature maps in, raw outputs out.

    Raw outputs have a row for each box: the finest level first, its cells row by row, a cell's anchors in turn. A row
    starts with the logits of the C classes.

    Attributes:
        num_classes: C.
        strides: of the input maps, finest first.
        anchors: boxes a cell.
        row_length: K, the numbers a box.
    """

    num_classes: int
    strides: tuple[int, ...]
    anchors: int = 1
    row_length: int

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps `[B, channels, H_i, W_i]`, one for each stride, to raw outputs `[B, N, K]`."""
        raise NotImplementedError

    @property
    def decoder(self) -> Decoder:
        """What the raw outputs mean."""
        raise NotImplementedError

    def decode(self, raw: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.decode`."""
        return self.decoder.decode(raw, points, strides)

    def points(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """See `Decoder.points`."""
        return self.decoder.points(height, width)
