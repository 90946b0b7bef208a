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
    canvas = np.full((size, size, 3), PAD_VALUE, dtype=np.uint8)
    draw = _draw_upright_tile if whole.axis_aligned else _draw_turned_tile
    boxes, labels = [], []
    for tile, zoom, (shift, quarter) in zip(tiles, zooms, placements, strict=True):
        zoomed = AffineTransform(zoom, zoom, 0.0, 0.0)
        shown, keep = draw(canvas, tile, zoomed, shift, whole, np.asarray([quarter], dtype=np.float32))
        boxes.append(shown[keep])
        labels.append(tile.labels[keep])
    return LabelledImage(canvas, np.concatenate(boxes), np.concatenate(labels))


def _draw_upright_tile(
    canvas: NDArray[np.uint8],
    tile: LabelledImage,
    zoomed: AffineTransform,
    shift: AffineTransform,
    whole: AffineTransform,
    quarter: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    transform = whole.after(shift).after(zoomed)
    window = np.clip(whole.boxes(quarter)[0], 0, len(canvas))
    x1, y1, x2, y2 = np.rint(window).astype(int).tolist()
    transform.warp_into(canvas, tile.image, (x1, y1, x2, y2))
    return visible(transform.boxes(tile.boxes), window)


def _draw_turned_tile(
    canvas: NDArray[np.uint8],
    tile: LabelledImage,
    zoomed: AffineTransform,
    shift: AffineTransform,
    whole: AffineTransform,
    quarter: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes are cropped to the quarter before the turn, while it is upright, and to the canvas after it."""
    placed = shift.after(zoomed)
    whole.after(placed).warp_into_polygon(canvas, tile.image, whole.corners(quarter)[0])
    cropped, in_quarter = visible(placed.boxes(tile.boxes), quarter[0])
    shown, on_canvas = visible(whole.boxes(cropped), _whole(len(canvas)))
    return shown, in_quarter & on_canvas


def _whole(size: int) -> NDArray[np.float32]:
    return np.array([0, 0, size, size], dtype=np.float32)
