"""One, two or four images on the canvas of a training image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.geometric import PAD_VALUE, AffineTransform, draw_transform, visible
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.augment.mosaic import tile_placements
from edgedet.data.augment.split import long_enough, split_regions


def fit(height: int, width: int, size: float) -> float:
    """The zoom that makes the longer side `size` pixels."""
    return size / max(height, width)


def arrange(
    tiles: Sequence[LabelledImage], size: int, config: AugmentConfig, rng: np.random.Generator
) -> LabelledImage:
    """One tile by itself, two as a split, four as a mosaic, on a canvas of `size` x `size` pixels."""
    if len(tiles) == 1:
        return place(tiles[0], placement(tiles[0], size, config, rng), size)
    return (_split if len(tiles) == 2 else _mosaic)(tiles, size, config, rng)


def placement(tile: LabelledImage, size: int, config: AugmentConfig, rng: np.random.Generator) -> AffineTransform:
    """From an image's pixels to those of the canvas: fitted to its middle, then transformed at random."""
    height, width = tile.image.shape[:2]
    zoom = fit(height, width, size)
    centred = AffineTransform(zoom, zoom, (size - zoom * width) / 2, (size - zoom * height) / 2)
    return draw_transform(size, size, config, rng).after(centred)


def place(tile: LabelledImage, transform: AffineTransform, size: int) -> LabelledImage:
    """An image and its boxes on a canvas of `size` x `size` pixels."""
    canvas = np.empty((size, size, 3), dtype=np.uint8)
    transform.warp_into(canvas, tile.image, (0, 0, size, size))
    boxes, keep = visible(transform.boxes(tile.boxes), _whole(size))
    return LabelledImage(canvas, boxes[keep], tile.labels[keep])


def _split(tiles: Sequence[LabelledImage], size: int, config: AugmentConfig, rng: np.random.Generator) -> LabelledImage:
    canvas = np.empty((size, size, 3), dtype=np.uint8)
    boxes, labels = [], []
    for tile, region in zip(tiles, split_regions(size, rng), strict=True):
        transform = placement(tile, size, config, rng)
        transform.warp_into(canvas, tile.image, region)
        whole, on_canvas = visible(transform.boxes(tile.boxes), _whole(size))
        cropped, keep = visible(whole, np.array(region, dtype=np.float32))
        keep &= on_canvas & long_enough(cropped, whole)
        boxes.append(cropped[keep])
        labels.append(tile.labels[keep])
    return LabelledImage(canvas, np.concatenate(boxes), np.concatenate(labels))


def _mosaic(
    tiles: Sequence[LabelledImage], size: int, config: AugmentConfig, rng: np.random.Generator
) -> LabelledImage:
    zooms = [fit(tile.image.shape[0], tile.image.shape[1], size) for tile in tiles]
    sides = [(zoom * tile.image.shape[0], zoom * tile.image.shape[1]) for zoom, tile in zip(zooms, tiles, strict=True)]
    placements = tile_placements(size, sides, rng)
    whole = draw_transform(size, 2 * size, config, rng)
    placed = [
        shift.after(AffineTransform(zoom, zoom, 0.0, 0.0)) for (shift, _), zoom in zip(placements, zooms, strict=True)
    ]
    quarters = np.array([quarter for _, quarter in placements], dtype=np.float32)
    canvas = np.full((size, size, 3), PAD_VALUE, dtype=np.uint8)
    draw = _draw_upright_tiles if whole.axis_aligned else _draw_turned_tiles
    boxes, keep = draw(canvas, tiles, placed, whole, quarters)
    return LabelledImage(canvas, boxes[keep], np.concatenate([tile.labels for tile in tiles])[keep])


def _draw_upright_tiles(
    canvas: NDArray[np.uint8],
    tiles: Sequence[LabelledImage],
    placed: Sequence[AffineTransform],
    whole: AffineTransform,
    quarters: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    transforms = [whole.after(one) for one in placed]
    windows = np.clip(whole.boxes(quarters), 0, len(canvas))
    for tile, transform, (x1, y1, x2, y2) in zip(tiles, transforms, np.rint(windows).astype(int).tolist(), strict=True):
        transform.warp_into(canvas, tile.image, (x1, y1, x2, y2))
    return visible(_boxes_of(tiles, transforms), _of_each_box(windows, tiles))


def _draw_turned_tiles(
    canvas: NDArray[np.uint8],
    tiles: Sequence[LabelledImage],
    placed: Sequence[AffineTransform],
    whole: AffineTransform,
    quarters: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes are cropped to the quarter before the turn, while it is upright, and to the canvas after it."""
    for tile, transform, corners in zip(tiles, placed, whole.corners(quarters), strict=True):
        whole.after(transform).warp_into_polygon(canvas, tile.image, corners)
    cropped, in_quarter = visible(_boxes_of(tiles, placed), _of_each_box(quarters, tiles))
    shown, on_canvas = visible(whole.boxes(cropped), _whole(len(canvas)))
    return shown, in_quarter & on_canvas


def _boxes_of(tiles: Sequence[LabelledImage], transforms: Sequence[AffineTransform]) -> NDArray[np.float32]:
    return np.concatenate([transform.boxes(tile.boxes) for tile, transform in zip(tiles, transforms, strict=True)])


def _of_each_box(windows: NDArray[np.float32], tiles: Sequence[LabelledImage]) -> NDArray[np.float32]:
    """The tile's window for each of its boxes: `[n, 4]`."""
    return windows.repeat([len(tile.boxes) for tile in tiles], axis=0)


def _whole(size: int) -> NDArray[np.float32]:
    return np.array([0, 0, size, size], dtype=np.float32)
