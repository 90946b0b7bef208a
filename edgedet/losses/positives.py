"""The boxes of a batch that learn an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgedet.losses.assigners import Assignment
from edgedet.losses.targets import Targets


@dataclass(frozen=True)
class Positives:
    """The rows of raw outputs `[B, N, K]` that learn an object, and what they learn.

    Attributes:
        images, rows: `[P]` int64: the first two indices.
        boxes: `[P, 4]`, xyxy in pixels.
        labels: `[P]` int64.
        weights: `[P]` in 0..1, soft targets of the classes.
        shares: `[P]` in 0..1, how much each counts.
        objects: `[P]` int64: which of all images' objects, one after the other.
    """

    images: Tensor
    rows: Tensor
    boxes: Tensor
    labels: Tensor
    weights: Tensor
    shares: Tensor
    objects: Tensor

    @property
    def at(self) -> tuple[Tensor, Tensor]:
        """The index of all of them in `[B, N, ...]`."""
        return self.images, self.rows

    def scattered(self, values: Tensor, into: Tensor) -> Tensor:
        """A copy of `[B, N]` with `values` `[P]` at the positive rows."""
        return into.index_put(self.at, values.to(into.dtype))


def positives_of(targets: Sequence[Targets], assign: Callable[[int, Targets], Assignment]) -> Positives:
    """The positive rows of B images.

    Args:
        targets: at least one image's objects.
        assign: of the image with that number and its objects; not called for an image without any.
    """
    boxes, labels = targets[0].boxes.new_zeros(0, 4), targets[0].labels.new_zeros(0)
    parts = [(labels, labels, boxes, labels, boxes[:, 0], boxes[:, 0], labels)]
    before = 0
    for image, target in enumerate(targets):
        if len(target.boxes) > 0:
            match = assign(image, target)
            parts.append(
                (
                    torch.full_like(match.points, image),
                    match.points,
                    target.boxes[match.objects],
                    target.labels[match.objects],
                    match.weights,
                    target.shares[match.objects],
                    match.objects + before,
                )
            )
        before += len(target.boxes)
    return Positives(*(torch.cat(column) for column in zip(*parts, strict=True)))
