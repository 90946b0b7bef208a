"""From sample indices to one augmented training image with its boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.geometric import PAD_VALUE, AxisTransform, draw_transform, visible
from edgedet.data.augment.mosaic import tile_placements
from edgedet.data.augment.photometric import jitter_colour


@dataclass(frozen=True)
class LabelledImage:
    """An image with its objects.

    Attributes:
        image: uint8 `[h, w, 3]`, BGR.
        boxes: `[n, 4]` float32, xyxy in pixels of `image`.
        labels: `[n]` int64.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def augment(
    load: Callable[[int], LabelledImage],
    count: int,
    index: int,
    size: int,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> LabelledImage:
    """The augmented training image of sample `index`, `size` x `size` pixels.

    Args:
        load: gives the labelled image of an index.
        count: number of samples, from which a mosaic draws three more.
        index: of the sample, below `count`.
        size: side of the result in pixels.
        config: what to do and how much.
        rng: the source of every random choice.
    """
    tiles = [load(i) for i in sources(count, index, config, rng)]
    canvas, boxes, labels = (_place if len(tiles) == 1 else _join)(tiles, size, config, rng)
    return LabelledImage(jitter_colour(canvas, config, rng), boxes, labels)


def sources(count: int, index: int, config: AugmentConfig, rng: np.random.Generator) -> list[int]:
    """The samples that `augment` makes an image of, by its first draws: `index`, and three more for a mosaic."""
    if rng.random() < config.mosaic:
        return [index, *rng.integers(count, size=3).tolist()]
    return [index]


def fit(height: int, width: int, size: float) -> float:
    """The zoom that makes the longer side `size` pixels."""
    return size / max(height, width)


def _place(
    tiles: list[LabelledImage], size: int, config: AugmentConfig, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    (sample,) = tiles
    height, width = sample.image.shape[:2]
    zoom = fit(height, width, size)
    centred = AxisTransform(zoom, zoom, (size - zoom * width) / 2, (size - zoom * height) / 2)
    transform = draw_transform(size, size, config, rng).after(centred)
    canvas = np.empty((size, size, 3), dtype=np.uint8)
    transform.warp_into(canvas, sample.image, (0, 0, size, size))
    boxes, keep = visible(transform.boxes(sample.boxes), np.array([0, 0, size, size], dtype=np.float32))
    return canvas, boxes[keep], sample.labels[keep]


def _join(
    tiles: list[LabelledImage], size: int, config: AugmentConfig, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    zooms = [fit(tile.image.shape[0], tile.image.shape[1], size) for tile in tiles]
    sides = [(zoom * tile.image.shape[0], zoom * tile.image.shape[1]) for zoom, tile in zip(zooms, tiles, strict=True)]
    placements = tile_placements(size, sides, rng)
    whole = draw_transform(size, 2 * size, config, rng)
    canvas = np.full((size, size, 3), PAD_VALUE, dtype=np.uint8)
    boxes, labels = [], []
    for tile, zoom, (shift, quarter) in zip(tiles, zooms, placements, strict=True):
        transform = whole.after(shift).after(AxisTransform(zoom, zoom, 0.0, 0.0))
        window = np.clip(whole.boxes(np.asarray([quarter], dtype=np.float32))[0], 0, size)
        x1, y1, x2, y2 = np.rint(window).astype(int).tolist()
        transform.warp_into(canvas, tile.image, (x1, y1, x2, y2))
        shown, keep = visible(transform.boxes(tile.boxes), window)
        boxes.append(shown[keep])
        labels.append(tile.labels[keep])
    return canvas, np.concatenate(boxes), np.concatenate(labels)
