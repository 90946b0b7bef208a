"""A generated dataset for demonstrations and tests: the same bytes for the same seed, in any of the formats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from edgedet.data.convert import Conversion
from edgedet.data.sample import Dataset, Sample
from edgedet.data.synth_scene import render_scene
from edgedet.data.synth_shapes import SHAPES
from edgedet.data.writing import WRITERS, new_folder
from edgedet.errors import EdgedetError, unknown_value
from edgedet.progress import Track, no_progress

SPLITS: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Share of the images in each split."""

MIN_SIZE, MAX_SIZE = 64, 4096
MAX_IMAGES = 1_000_000

_JPEG_QUALITY = 92


def synthesize(
    out: Path,
    *,
    images: int = 300,
    classes: int = 5,
    size: int = 320,
    format: str = "coco",
    seed: int = 0,
    splits: Mapping[str, float] = SPLITS,
    track: Track = no_progress,
) -> Conversion:
    """Writes a generated dataset into the new folder `out`.

    Image `i` depends on `(seed, i)`, `size` and `classes` alone, so that a longer dataset begins like a shorter one.

    Args:
        out: must be empty or not there.
        images: in all splits together.
        classes: the first of `edgedet.data.synth_shapes.SHAPES`.
        size: of the square images, in pixels.
        format: `coco`, `voc` or `yolo`.
        seed: 0 or more.
        splits: the share of each split; the shares are scaled to add up to 1.

    Raises:
        EdgedetError: a value out of range, `out` holds something, or cannot be written.
    """
    if format not in WRITERS:
        raise unknown_value("dataset format", format, WRITERS)
    _require("images", images, len(splits), MAX_IMAGES)
    _require("classes", classes, 1, len(SHAPES))
    _require("size", size, MIN_SIZE, MAX_SIZE)
    _require("seed", seed, 0, 2**63 - 1)
    with new_folder(out) as folder:
        samples = [
            _rendered(folder / f".{index:06d}.jpg", index, seed, size, classes)
            for index in track(range(images), "drawing")
        ]
        dataset = Dataset(folder, format, tuple(SHAPES)[:classes], _shared_out(samples, splits))
        WRITERS[format](dataset, folder, Path.replace)
    boxes = sum(len(sample.boxes) for sample in samples)
    return Conversion(format, {split: len(own) for split, own in dataset.splits.items()}, boxes, ())


def _rendered(path: Path, index: int, seed: int, size: int, classes: int) -> Sample:
    """Draws image `index` into the file `path` and returns it with its labels."""
    scene = render_scene(np.random.default_rng([seed, index]), size, classes)
    encoded, data = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert encoded
    path.write_bytes(data.tobytes())
    none_ignored = np.zeros(len(scene.labels), np.bool_)
    return Sample(path, index + 1, scene.boxes, scene.labels, none_ignored, size=(size, size))


def _shared_out(samples: list[Sample], splits: Mapping[str, float]) -> dict[str, tuple[Sample, ...]]:
    """Consecutive runs of the samples in proportion to the shares, at least one sample in each."""
    total, ends = 0.0, [0]
    for position, share in enumerate(splits.values(), 1):
        total += share / sum(splits.values())
        end = min(max(round(total * len(samples)), ends[-1] + 1), len(samples) - (len(splits) - position))
        ends.append(end)
    return {split: tuple(samples[ends[i] : ends[i + 1]]) for i, split in enumerate(splits)}


def _require(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise EdgedetError(f"{name} is {value}", where=f"--{name}", fix=f"choose {low} to {high}")
