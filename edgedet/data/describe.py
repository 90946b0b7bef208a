"""What a dataset holds, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.data.sample import Dataset, Sample


@dataclass(frozen=True)
class SplitSummary:
    """The numbers of one split.

    Attributes:
        name: of the split.
        images: number of images.
        background: number of images without any box.
        boxes: number of boxes, ignored ones included.
        ignored: number of boxes that are no targets in training and not counted in evaluation.
        boxes_by_class: number of boxes of each class, in label order, ignored ones included.
    """

    name: str
    images: int
    background: int
    boxes: int
    ignored: int
    boxes_by_class: tuple[int, ...]


def describe(dataset: Dataset) -> tuple[SplitSummary, ...]:
    """The numbers of each split, in the order of the dataset's splits."""
    return tuple(_summary(name, samples, len(dataset.class_names)) for name, samples in dataset.splits.items())


def _summary(name: str, samples: Sequence[Sample], classes: int) -> SplitSummary:
    labels = [np.zeros(0, np.int64), *(sample.labels for sample in samples)]
    by_class = np.bincount(np.concatenate(labels), minlength=classes).tolist()
    return SplitSummary(
        name,
        images=len(samples),
        background=sum(not len(sample.labels) for sample in samples),
        boxes=sum(by_class),
        ignored=sum(int(sample.ignore.sum()) for sample in samples),
        boxes_by_class=tuple(by_class),
    )
