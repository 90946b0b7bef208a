"""Box arithmetic in NumPy. Boxes are `xyxy` in absolute pixels unless a name says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


def areas(boxes: FloatArray) -> FloatArray:
    """Areas `[n]` of boxes `[n, 4]`; an inverted box has area 0."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def pairwise_iou(first: FloatArray, second: FloatArray) -> FloatArray:
    """Intersection over union of each box of `first [N, 4]` with each of `second [M, 4]`, xyxy: `[N, M]`, 0 to 1."""
    corners = np.maximum(first[:, None, :2], second[None, :, :2]), np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.clip(corners[1] - corners[0], 0, None).prod(axis=-1)
    union = areas(first)[:, None] + areas(second)[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def clip(boxes: FloatArray, height: float, width: float) -> FloatArray:
    """Boxes `[n, 4]` clipped to an image of that size."""
    limits = np.asarray([width, height, width, height], dtype=boxes.dtype)
    return np.clip(boxes, 0, limits)


def xyxy_from_xywh(boxes_xywh: FloatArray) -> FloatArray:
    """COCO's `x, y, width, height` (top left corner) as `xyxy`."""
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)


def xywh_from_xyxy(boxes: FloatArray) -> FloatArray:
    """`xyxy` as COCO's `x, y, width, height` (top left corner)."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def xyxy_from_cxcywh_norm(boxes_cxcywh_norm: FloatArray, height: float, width: float) -> FloatArray:
    """YOLO's centre and size, as shares of the image, as `xyxy` pixels."""
    scale = np.asarray([width, height], dtype=boxes_cxcywh_norm.dtype)
    centre, half = boxes_cxcywh_norm[:, :2] * scale, boxes_cxcywh_norm[:, 2:] * scale / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def cxcywh_norm_from_xyxy(boxes: FloatArray, height: float, width: float) -> FloatArray:
    """`xyxy` pixels as YOLO's centre and size, as shares of the image."""
    scale = np.asarray([width, height], dtype=boxes.dtype)
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2 / scale, (boxes[:, 2:] - boxes[:, :2]) / scale], axis=1)


@dataclass(frozen=True)
class Letterbox:
    """Where a source image lies on the network's canvas: at the top left, `scale_x` and `scale_y` times its size.

    The two scales differ by the rounding of the resized sides to whole pixels, so boxes map back exactly.
    """

    source_height: int
    source_width: int
    resized_height: int
    resized_width: int

    @property
    def scale(self) -> NDArray[np.float64]:
        """`[scale_x, scale_y, scale_x, scale_y]`, canvas pixels per source pixel."""
        scale_x, scale_y = self.resized_width / self.source_width, self.resized_height / self.source_height
        return np.array([scale_x, scale_y, scale_x, scale_y])

    def to_canvas(self, boxes: FloatArray) -> FloatArray:
        """Boxes `[n, 4]` in source pixels as canvas pixels."""
        return (boxes * self.scale).astype(boxes.dtype)

    def to_source(self, boxes: FloatArray) -> FloatArray:
        """Boxes `[n, 4]` in canvas pixels as source pixels, clipped to the source image."""
        return clip((boxes / self.scale).astype(boxes.dtype), self.source_height, self.source_width)


def letterbox(source_height: int, source_width: int, height: int, width: int) -> Letterbox:
    """The letterbox of a source image on a canvas of `height` x `width` (`edgedet.spec.Preprocess` defines it)."""
    scale = min(height / source_height, width / source_width)
    resized_height = min(height, max(1, int(source_height * scale + 0.5)))
    resized_width = min(width, max(1, int(source_width * scale + 0.5)))
    return Letterbox(source_height, source_width, resized_height, resized_width)
