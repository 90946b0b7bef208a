"""Backbone, neck and head as one module, and its decoded form for inference and export."""

from __future__ import annotations

from torch import Tensor, nn

from edgedet.models.backbones.base import Backbone
from edgedet.models.heads.base import Head
from edgedet.models.necks.pan import PAN

STRIDES = (8, 16, 32, 64)
INPUT_MULTIPLE = 32

Architecture = dict[str, str | int | float]
"""What a detector is built of, by the names of `edgedet.models.zoo.build_detector`'s arguments."""


class DetectionNetwork(nn.Module):
    """What every detector is, whatever it computes with.

    Attributes:
        architecture: what `edgedet.models.zoo.build_detector` needs to build it again.
    """

    architecture: Architecture

    @property
    def num_classes(self) -> int:
        """C."""
        raise NotImplementedError

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the head's levels."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Images `[B, 3, H, W]` (H and W divisible by 32) to the head's raw outputs `[B, N, K]`."""
        raise NotImplementedError

    def points(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Centres `[N, 2]` (x, y in input pixels) and strides `[N]` of the boxes' cells, see `Head.points`."""
        raise NotImplementedError

    def decode(self, raw: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        """Raw outputs to boxes `[B, N, 4]` (xyxy, input pixels) and scores `[B, N, C]` in 0..1, see `Head.decode`."""
        raise NotImplementedError


class Detector(DetectionNetwork):
    """A trainable detector in float."""

    def __init__(self, backbone: Backbone, neck: PAN, head: Head, architecture: Architecture) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.architecture = architecture

    @property
    def num_classes(self) -> int:
        """C."""
        return self.head.num_classes

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the head's levels."""
        return self.head.strides

    def forward(self, images: Tensor) -> Tensor:
        raw: Tensor = self.head(self.neck(self.backbone(images)))
        return raw

    def points(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        return self.head.points(height, width)

    def decode(self, raw: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        return self.head.decode(raw, points, strides)


class DecodedDetector(nn.Module):
    """A detector that returns boxes and scores, for one input size; what is exported.

    Args:
        detector: the detector; shared, not copied.
        height: input height in pixels, divisible by 32.
        width: input width in pixels, divisible by 32.
    """

    points: Tensor
    point_strides: Tensor

    def __init__(self, detector: DetectionNetwork, height: int, width: int) -> None:
        super().__init__()
        self.detector = detector
        points, point_strides = detector.points(height, width)
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("point_strides", point_strides, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images `[B, 3, H, W]` to boxes `[B, N, 4]` (xyxy, input pixels) and scores `[B, N, C]` in 0..1."""
        return self.detector.decode(self.detector(images), self.points, self.point_strides)
