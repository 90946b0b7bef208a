"""The accuracy of the very file that is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.bench.inputs import benchmark_split
from edgedet.bench.opening import NO_TRUST, Trust
from edgedet.data.find import read_dataset, split_of
from edgedet.evaluate.run import evaluate
from edgedet.progress import Track, no_progress
from edgedet.runtime.load import load_detector


@dataclass(frozen=True)
class Accuracy:
    """Of two models, on the same images.

    Attributes:
        base, head: mAP50-95.
        max_drop: points of 100 that may be lost.
        split: which images.
        images: how many.
    """

    base: float
    head: float
    max_drop: float
    split: str
    images: int

    @property
    def drop(self) -> float:
        """Points of 100 that the head lost."""
        return 100 * (self.base - self.head)

    @property
    def holds(self) -> bool:
        """Whether that is no more than it may lose."""
        return self.drop <= self.max_drop

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**vars(self), "drop": self.drop, "holds": self.holds}


def compare_accuracy(
    base: Path,
    head: Path,
    data: Path,
    *,
    split: str | None,
    max_drop: float,
    trust: Trust = NO_TRUST,
    track: Track = no_progress,
) -> Accuracy:
    """The mAP of both files, on the same images.

    Raises:
        EdgedetError: a file cannot be loaded, or the data is of other classes.
    """
    maps, name, images = measured_maps([base, head], data, split=split, trust=trust, track=track)
    return Accuracy(maps[0], maps[1], max_drop, name, images)


def measured_maps(
    models: Sequence[Path],
    data: Path,
    *,
    split: str | None,
    trust: Trust = NO_TRUST,
    track: Track = no_progress,
) -> tuple[list[float], str, int]:
    """The mAP50-95 of each file, the split it is of, and how many images that has.

    Raises:
        EdgedetError: a file cannot be loaded, or the data is of other classes.
    """
    dataset = read_dataset(data)
    name = benchmark_split(dataset, split)
    samples = split_of(dataset, name)
    maps = []
    for model in models:
        detector = load_detector(model, operators=trust.operators, force=trust.force, allow_code=trust.allow_code)
        maps.append(evaluate(detector, samples, dataset.class_names, track=track).metrics.map)
    return maps, name, len(samples)
