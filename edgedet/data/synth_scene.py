"""One generated image: textured objects that overlap each other on a textured background, and their boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edgedet.data.images import Image
from edgedet.data.synth_shapes import SHAPES, Polygon

SMALLEST, LARGEST = 0.05, 0.28
"""Radius of an object as a share of the image's side; drawn so that small ones are as common as large ones."""

MIN_VISIBLE = 0.3
"""Share of an object that must be seen, of what lies inside the image and outside alike, for it to be labelled."""

_MAX_OBJECTS = 9
_EMPTY_SHARE = 0.08
_OWN_HUE_SHARE = 0.8
_GOLDEN_RATIO = 0.618034
_MIN_CONTRAST = 70
_SHIFT = 6
_COARSE = 64
_OUTLINES = tuple(outline() for outline in SHAPES.values())


@dataclass(frozen=True)
class Scene:
    """A generated image and its labels.

    Attributes:
        image: uint8 BGR `[size, size, 3]`.
        boxes: `[n, 4]` float32 xyxy, whole pixels: the full extent of each object, clipped to the image.
        labels: `[n]` int64, index into `SHAPES`.
    """

    image: Image
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def render_scene(rng: Generator, size: int, classes: int) -> Scene:
    """Draws a scene of `size` x `size` pixels with objects of the first `classes` shapes."""
    canvas = _background(rng, size)
    _draw_clutter(rng, canvas)
    count = 0 if rng.random() < _EMPTY_SHARE else 1 + rng.binomial(_MAX_OBJECTS - 1, 0.35)
    owner = np.full((size, size), -1, np.int16)
    full_areas, boxes, labels = [], [], []
    for index in range(count):
        label = int(rng.integers(classes))
        box, area = _draw_object(rng, canvas, owner, index, label)
        boxes.append(box)
        labels.append(label)
        full_areas.append(area)
    visible = np.bincount(owner[owner >= 0], minlength=count)[:count]
    seen = visible >= MIN_VISIBLE * np.array(full_areas)
    return Scene(
        _grain(rng, canvas),
        np.array(boxes, np.float32).reshape(-1, 4)[seen],
        np.array(labels, np.int64)[seen],
    )


def _background(rng: Generator, size: int) -> NDArray[np.float32]:
    """Two colours that run into each other, under noise of three scales; drawn coarse, then magnified at once."""
    first, second = _muted_colour(rng), _muted_colour(rng)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.linspace(-0.5, 0.5, _COARSE, dtype=np.float32)
    mix = np.clip(0.5 + ramp[None, :] * np.float32(np.cos(angle)) + ramp[:, None] * np.float32(np.sin(angle)), 0, 1)
    coarse = first + mix[..., None] * (second - first)
    for cells, strength in ((4, 36), (14, 26), (_COARSE, 16)):
        luma = rng.normal(0, strength * rng.uniform(0.2, 1), (cells, cells, 1))
        chroma = rng.normal(0, strength * rng.uniform(0, 0.35), (cells, cells, 3))
        coarse += _magnified((luma + chroma).astype(np.float32), _COARSE)
    return _magnified(coarse, size)


def _muted_colour(rng: Generator) -> NDArray[np.float32]:
    return (rng.uniform(45, 210) + rng.normal(0, 28, 3)).astype(np.float32)


def _magnified(coarse: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def _draw_clutter(rng: Generator, canvas: NDArray[np.float32]) -> None:
    """Lines and blots that are nothing, so that an edge alone is no object."""
    size = len(canvas)
    for _ in range(rng.integers(0, 6)):
        start, end = rng.integers(0, size, (2, 2)).tolist()
        thickness = int(rng.integers(1, max(2, size // 80) + 1))
        cv2.line(canvas, start, end, _muted_colour(rng).tolist(), thickness, cv2.LINE_AA)
    for _ in range(rng.integers(0, 4)):
        centre, axes = rng.integers(0, size, 2).tolist(), rng.integers(1, max(2, size // 20), 2).tolist()
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(canvas, centre, (3 * axes[0], axes[1] // 3 + 1), angle, 0, 360, _muted_colour(rng).tolist(), -1)


def _draw_object(
    rng: Generator, canvas: NDArray[np.float32], owner: NDArray[np.int16], index: int, label: int
) -> tuple[tuple[int, int, int, int], float]:
    """Draws one object; returns its box clipped to the image, and its area in pixels as if nothing hid it."""
    size = len(canvas)
    radius = size * SMALLEST * (LARGEST / SMALLEST) ** rng.random()
    centre = rng.uniform(0.35 * radius, size - 0.35 * radius, 2)
    pose = radius * _pose(rng)
    outline = [polygon @ pose + centre for polygon in _OUTLINES[label]]
    low = np.maximum(np.floor(outline[0].min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(outline[0].max(axis=0)).astype(int) + 1, size)
    window = np.s_[low[1] : high[1], low[0] : high[0]]

    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    # OpenCV's pixel centres lie on whole numbers, the corners of boxes between them.
    fixed_point = [np.rint((polygon - low - 0.5) * (1 << _SHIFT)).astype(np.int32) for polygon in outline]
    cv2.fillPoly(mask, fixed_point, 255, cv2.LINE_AA, _SHIFT)
    cover = (mask.astype(np.float32) / 255)[..., None]
    colour = _colour(rng, label, canvas[window].mean(axis=(0, 1)))
    canvas[window] += cover * (_texture(rng, colour, *mask.shape) - canvas[window])
    owner[window][mask > 127] = index

    area = sum(sign * _area(polygon) for sign, polygon in zip((1, -1), outline, strict=False))
    return _extent(mask, *low.tolist()), area


def _extent(mask: NDArray[np.uint8], left: int, top: int) -> tuple[int, int, int, int]:
    """The box, xyxy, of what is drawn in a mask whose corner lies at `left`, `top`."""
    rows, columns = np.flatnonzero(mask.max(axis=1) > 127), np.flatnonzero(mask.max(axis=0) > 127)
    if not len(rows):
        return left, top, left, top
    return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1


def _pose(rng: Generator) -> NDArray[np.float64]:
    """A turn by any angle after a stretch: a `[2, 2]` matrix for row vectors that lengthens nothing."""
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.diag([1.0, rng.uniform(0.75, 1.0)]) @ turn


def _colour(rng: Generator, label: int, behind: NDArray[np.float32]) -> NDArray[np.float32]:
    """A BGR colour apart from what is behind; the hue leans towards one of the class, without giving it away."""
    own_hue = label * _GOLDEN_RATIO * 180
    hue = (own_hue + rng.normal(0, 12)) % 180 if rng.random() < _OWN_HUE_SHARE else rng.uniform(0, 180)
    for _ in range(4):
        hsv = np.array([[[hue, rng.uniform(120, 255), rng.uniform(90, 255)]]]).astype(np.uint8)
        colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)
        if np.abs(colour - behind).max() > _MIN_CONTRAST:
            break
    return colour


def _texture(rng: Generator, colour: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """The colour with shading, and stripes, checks or speckles over it."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 12)
    along = np.float32(np.cos(angle)) * columns + np.float32(np.sin(angle)) * rows
    across = np.float32(np.cos(angle)) * rows - np.float32(np.sin(angle)) * columns
    kind = rng.integers(4)
    pattern = np.zeros_like(rows)
    if kind == 1:
        pattern = np.sin(along * np.float32(2 * np.pi / period))
    elif kind == 2:
        pattern = np.sign(np.sin(along * np.float32(np.pi / period)) * np.sin(across * np.float32(np.pi / period)))
    elif kind == 3:
        pattern = rng.normal(0, 0.7, (height, width)).astype(np.float32)
    shading = along * np.float32(rng.uniform(-30, 30) / max(height, width))
    return colour + (pattern * np.float32(rng.uniform(12, 38)) + shading)[..., None]


def _area(polygon: Polygon) -> float:
    """The area inside, by the shoelace formula."""
    x, y = polygon.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _grain(rng: Generator, canvas: NDArray[np.float32]) -> Image:
    """What a camera adds: a little blur, noise, 8 bits."""
    blurred = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.3, 0.9)))
    noise = np.frombuffer(rng.bytes(canvas.size), np.int8).reshape(canvas.shape)
    strength = float(rng.uniform(0.5, 8) / 128)
    return np.asarray(cv2.addWeighted(noise, strength, blurred, 1, 0, dtype=cv2.CV_8U), np.uint8)
