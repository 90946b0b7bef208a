"""Flips, zoom, shift and crop, as one axis-aligned transform `x' = a x + b` of each axis.

Images are resampled once, straight from the source into the final canvas, however many steps the transform has.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import areas
from edgedet.data.augment.config import AugmentConfig

PAD_VALUE = 114
MIN_SIDE = 2.0
MIN_VISIBLE = 0.1
MAX_ASPECT = 20.0


@dataclass(frozen=True)
class AxisTransform:
    """`x' = scale_x * x + shift_x` and the same for y, in pixels; a negative scale flips."""

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float

    def after(self, first: AxisTransform) -> AxisTransform:
        """The transform that does `first` and then this one."""
        return AxisTransform(
            self.scale_x * first.scale_x,
            self.scale_y * first.scale_y,
            self.scale_x * first.shift_x + self.shift_x,
            self.scale_y * first.shift_y + self.shift_y,
        )

    def boxes(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes `[n, 4]` transformed; corners are put back in order after a flip."""
        scale = np.array([self.scale_x, self.scale_y], dtype=np.float32)
        shift = np.array([self.shift_x, self.shift_y], dtype=np.float32)
        first, second = boxes[:, :2] * scale + shift, boxes[:, 2:] * scale + shift
        return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)

    def warp_into(self, canvas: NDArray[np.uint8], image: NDArray[np.uint8], region: tuple[int, int, int, int]) -> None:
        """Draws `image` into the part `region` (x1, y1, x2, y2) of `canvas`; what the image leaves free is padding."""
        x1, y1, x2, y2 = region
        if x2 <= x1 or y2 <= y1:
            return
        # OpenCV samples at pixel centres, boxes are measured from pixel edges: shift by half a pixel each way.
        shift_x = self.shift_x + 0.5 * self.scale_x - 0.5 - x1
        shift_y = self.shift_y + 0.5 * self.scale_y - 0.5 - y1
        matrix = np.array([[self.scale_x, 0.0, shift_x], [0.0, self.scale_y, shift_y]])
        canvas[y1:y2, x1:x2] = cv2.warpAffine(
            image,
            matrix,
            (x2 - x1, y2 - y1),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(PAD_VALUE, PAD_VALUE, PAD_VALUE),
        )


def draw_transform(size: int, source_size: float, config: AugmentConfig, rng: np.random.Generator) -> AxisTransform:
    """A random zoom about the centre, shift and flip from a square of `source_size` to a square of `size` pixels."""
    zoom = rng.uniform(1 - config.scale, 1 + config.scale)
    stretch = np.sqrt(rng.uniform(1 - config.aspect, 1 + config.aspect))
    shift_x, shift_y = rng.uniform(0.5 - config.translate, 0.5 + config.translate, size=2) * size
    flip_x = -1.0 if rng.random() < config.flip_horizontal else 1.0
    flip_y = -1.0 if rng.random() < config.flip_vertical else 1.0
    scale_x, scale_y = flip_x * zoom * stretch, flip_y * zoom / stretch
    centre = source_size / 2
    return AxisTransform(scale_x, scale_y, shift_x - scale_x * centre, shift_y - scale_y * centre)


def visible(boxes: NDArray[np.float32], window: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes `[n, 4]` clipped to a window `[x1, y1, x2, y2]`, and `[n]` which of them are still worth learning.

    A box is kept when both sides exceed 2 px, more than a tenth of it is visible and its sides differ less than
    20 times.
    """
    clipped = np.concatenate(
        [np.clip(boxes[:, :2], window[:2], window[2:]), np.clip(boxes[:, 2:], window[:2], window[2:])], axis=1
    )
    width, height = (clipped[:, 2:] - clipped[:, :2]).T
    elongation = np.maximum(width, height) / np.maximum(np.minimum(width, height), 1e-6)
    keep = (
        (width > MIN_SIDE)
        & (height > MIN_SIDE)
        & (areas(clipped) > MIN_VISIBLE * areas(boxes))
        & (elongation < MAX_ASPECT)
    )
    return clipped, keep
