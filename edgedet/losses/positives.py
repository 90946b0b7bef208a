"""The boxes of a batch that learn an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgedet.losses.assigners import Assignment
from edgedet.losses.targets import Objects, Targets, joined


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

    def mask(self, like: Tensor) -> Tensor:
        """`[B, N]` bool, on the device of `[B, N]`: the positive rows."""
        return torch.zeros_like(like, dtype=torch.bool).index_put(self.at, torch.tensor(True, device=like.device))

    def scattered(self, values: Tensor, into: Tensor) -> Tensor:
        """A copy of `[B, N]` with `values` `[P]` at the positive rows."""
        return into.index_put(self.at, values.to(into.dtype))


def positives_of(targets: Sequence[Targets], assign: Callable[[Objects], Assignment]) -> Positives:
    """The positive rows of B images.

    Args:
        targets: at least one image's objects.
        assign: which points learn which of all images' objects.
    """
    objects = joined(targets)
    match = assign(objects)
    return Positives(
        match.images,
        match.points,
        objects.boxes[match.objects],
        objects.labels[match.objects],
        match.weights,
        objects.shares[match.objects],
        match.objects,
    )
