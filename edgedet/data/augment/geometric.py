"""Flips, zoom, shift, rotation, shear and crop, as one affine transform.

Images are resampled once, straight from the source into the final canvas, however many steps the transform has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import areas
from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.scale_aware_zoom import draw_zoom

PAD_VALUE = 114
MIN_SIDE = 2.0
MIN_VISIBLE = 0.1
MAX_ASPECT = 20.0

_POLYGON_BITS = 4


@dataclass(frozen=True)
class AffineTransform:
    """`x' = scale_x * x + shear_x * y + shift_x`, `y' = shear_y * x + scale_y * y + shift_y`, in pixels.

    Coordinates are measured from the edge of the first pixel, y down. A negative scale flips.
    """

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float
    shear_x: float = 0.0
    shear_y: float = 0.0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """`[3, 3]`, of homogeneous coordinates `(x, y, 1)`."""
        return np.array(
            [[self.scale_x, self.shear_x, self.shift_x], [self.shear_y, self.scale_y, self.shift_y], [0.0, 0.0, 1.0]]
        )

    @property
    def axis_aligned(self) -> bool:
        """Whether upright rectangles stay upright."""
        return self.shear_x == 0 and self.shear_y == 0

    def after(self, first: AffineTransform) -> AffineTransform:
        """The transform that does `first` and then this one."""
        return AffineTransform(
            self.scale_x * first.scale_x + self.shear_x * first.shear_y,
            self.shear_y * first.shear_x + self.scale_y * first.scale_y,
            self.scale_x * first.shift_x + self.shear_x * first.shift_y + self.shift_x,
            self.shear_y * first.shift_x + self.scale_y * first.shift_y + self.shift_y,
            self.scale_x * first.shear_x + self.shear_x * first.scale_y,
            self.shear_y * first.scale_x + self.scale_y * first.shear_y,
        )

    def inverse(self) -> AffineTransform:
        """The transform back; there is one as long as no scale is 0."""
        determinant = self.scale_x * self.scale_y - self.shear_x * self.shear_y
        linear = AffineTransform(
            self.scale_y / determinant,
            self.scale_x / determinant,
            0.0,
            0.0,
            -self.shear_x / determinant,
            -self.shear_y / determinant,
        )
        return linear.after(translation(-self.shift_x, -self.shift_y))

    def corners(self, boxes: NDArray[np.float32]) -> NDArray[np.float64]:
        """The corners `[n, 4, 2]` of boxes `[n, 4]` transformed, in the order of a walk around each box."""
        matrix = self.matrix
        return boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] @ matrix[:2, :2].T + matrix[:2, 2]

    def boxes(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes `[n, 4]` transformed: the upright ones around their corners."""
        if not self.axis_aligned:
            corners = self.corners(boxes)
            return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, dtype=np.float32)
        shift = np.array([self.shift_x, self.shift_y] * 2, dtype=np.float32)
        left, right = (0, 2) if self.scale_x > 0 else (2, 0)
        top, bottom = (1, 3) if self.scale_y > 0 else (3, 1)
        return (boxes * scale + shift)[:, [left, top, right, bottom]]

    def warp_into(self, canvas: NDArray[np.uint8], image: NDArray[np.uint8], region: tuple[int, int, int, int]) -> None:
        """Draws `image` into the part `region` (x1, y1, x2, y2) of `canvas`; what the image leaves free is padding."""
        x1, y1, x2, y2 = region
        if x2 <= x1 or y2 <= y1:
            return
        # OpenCV samples at pixel centres, boxes are measured from pixel edges: shift by half a pixel each way.
        shift_x = self.shift_x + 0.5 * self.scale_x + 0.5 * self.shear_x - 0.5 - x1
        shift_y = self.shift_y + 0.5 * self.scale_y + 0.5 * self.shear_y - 0.5 - y1
        matrix = np.array([[self.scale_x, self.shear_x, shift_x], [self.shear_y, self.scale_y, shift_y]])
        # OpenCV warps four channels in less than half the time of three, to the same values.
        warped = cv2.warpAffine(
            cv2.cvtColor(image, cv2.COLOR_BGR2BGRA),
            matrix,
            (x2 - x1, y2 - y1),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(PAD_VALUE, PAD_VALUE, PAD_VALUE, PAD_VALUE),
        )
        cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR, dst=canvas[y1:y2, x1:x2])

    def warp_into_polygon(
        self, canvas: NDArray[np.uint8], image: NDArray[np.uint8], corners: NDArray[np.float64]
    ) -> None:
        """Draws `image` into the convex polygon `corners [k, 2]` of `canvas`; what it leaves free there is padding."""
        height, width = canvas.shape[:2]
        low = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int).tolist()
        high = np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)).astype(int).tolist()
        part = canvas[low[1] : high[1], low[0] : high[0]]
        if part.size == 0:
            return
        moved = translation(-low[0], -low[1]).after(self)
        drawn = np.empty_like(part, order="C")
        moved.warp_into(drawn, image, (0, 0, part.shape[1], part.shape[0]))
        inside = np.zeros(part.shape[:2], dtype=np.uint8)
        fixed_point = np.rint((corners - low - 0.5) * 2**_POLYGON_BITS).astype(np.int32)
        cv2.fillConvexPoly(inside, fixed_point, 1, shift=_POLYGON_BITS)
        cv2.copyTo(drawn, inside, part)


IDENTITY = AffineTransform(1.0, 1.0, 0.0, 0.0)


def draw_transform(size: int, source_size: float, config: AugmentConfig, rng: np.random.Generator) -> AffineTransform:
    """A random zoom about the centre, shift, flip, rotation and shear.

    Args:
        size: side of the square that it leads to, in pixels.
        source_size: side of the square that it comes from, in pixels.
        config: how much.
        rng: source of every choice.
    """
    zoom = rng.uniform(1 - config.scale, 1 + config.scale)
    stretch = np.sqrt(rng.uniform(1 - config.aspect, 1 + config.aspect))
    shift_x, shift_y = rng.uniform(0.5 - config.translate, 0.5 + config.translate, size=2) * size
    flip_x = -1.0 if rng.random() < config.flip_horizontal else 1.0
    flip_y = -1.0 if rng.random() < config.flip_vertical else 1.0
    if config.scale_aware:
        zoom *= draw_zoom(rng)
    zoomed = AffineTransform(flip_x * zoom * stretch, flip_y * zoom / stretch, 0.0, 0.0)
    turned = _draw_turn(config, rng).after(zoomed)
    centre = source_size / 2
    return translation(shift_x, shift_y).after(turned).after(translation(-centre, -centre))


def translation(x: float, y: float) -> AffineTransform:
    """A shift in pixels."""
    return AffineTransform(1.0, 1.0, float(x), float(y))


def rotation(degrees: float) -> AffineTransform:
    """A turn about the origin, clockwise on the screen."""
    angle = math.radians(degrees)
    return AffineTransform(math.cos(angle), math.cos(angle), 0.0, 0.0, -math.sin(angle), math.sin(angle))


def visible(boxes: NDArray[np.float32], window: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes `[n, 4]` clipped to a window `(x1, y1, x2, y2)`, and `[n]` which of them are still worth learning.

    The window is one `[4]` for all boxes, or one for each, `[n, 4]`.

    A box is kept when both sides exceed 2 px, more than a tenth of it is visible and its sides differ less than
    20 times.
    """
    clipped = np.minimum(np.maximum(boxes, window[..., [0, 1, 0, 1]]), window[..., [2, 3, 2, 3]])
    width, height = (clipped[:, 2:] - clipped[:, :2]).T
    elongation = np.maximum(width, height) / np.maximum(np.minimum(width, height), 1e-6)
    keep = (
        (width > MIN_SIDE)
        & (height > MIN_SIDE)
        & (areas(clipped) > MIN_VISIBLE * areas(boxes))
        & (elongation < MAX_ASPECT)
    )
    return clipped, keep


def _draw_turn(config: AugmentConfig, rng: np.random.Generator) -> AffineTransform:
    turn = IDENTITY
    if config.rotate > 0:
        turn = rotation(rng.uniform(-config.rotate, config.rotate))
    if config.shear > 0:
        shear_x, shear_y = np.tan(np.radians(rng.uniform(-config.shear, config.shear, size=2))).tolist()
        # One shear after the other keeps areas: both at once would flatten an image to a line at 45 degrees.
        horizontal = AffineTransform(1.0, 1.0, 0.0, 0.0, shear_x=shear_x)
        vertical = AffineTransform(1.0, 1.0, 0.0, 0.0, shear_y=shear_y)
        turn = vertical.after(horizontal).after(turn)
    return turn
