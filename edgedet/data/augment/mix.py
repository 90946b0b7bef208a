"""Two training images made one: Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019) for detection."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import areas
from edgedet.data.augment.geometric import MIN_VISIBLE, visible
from edgedet.data.augment.labelled import LabelledImage


def mixup(first: LabelledImage, second: LabelledImage, alpha: float, rng: np.random.Generator) -> LabelledImage:
    """`share * first + (1 - share) * second`, with the objects of both, each weighted by the share of its image.

    Args:
        first: objects count once each.
        second: of the same size; objects count once each.
        alpha: the share is drawn from `Beta(alpha, alpha)`.
        rng: source of the share.
    """
    share = rng.beta(alpha, alpha)
    blended = cv2.addWeighted(first.image, share, second.image, 1 - share, 0.0).astype(np.uint8, copy=False)
    weights = np.repeat([share, 1 - share], [len(first.boxes), len(second.boxes)]).astype(np.float32)
    return LabelledImage(
        blended,
        np.concatenate([first.boxes, second.boxes]),
        np.concatenate([first.labels, second.labels]),
        weights,
    )


def cutmix(first: LabelledImage, second: LabelledImage, min_visible: float, rng: np.random.Generator) -> LabelledImage:
    """`first` with a rectangle of `second` at the same place.

    Objects of `second` are cropped to the rectangle, those of `first` to what it leaves free where that is a rectangle
    too. Those that show no more than `min_visible` of their area, or a tenth, are dropped. The others keep their
    classes: nothing is weighted by areas, as the classes of whole images are in the paper.

    Args:
        first: objects count once each.
        second: of the same size; objects count once each.
        min_visible: 0 to 1.
        rng: source of the rectangle.
    """
    height, width = first.image.shape[:2]
    region = draw_rectangle(height, width, rng)
    x1, y1, x2, y2 = region
    image = first.image.copy()
    image[y1:y2, x1:x2] = second.image[y1:y2, x1:x2]
    rectangle = np.array(region, dtype=np.float32)
    left_over, share = uncovered(first.boxes, rectangle)
    left_over, stay = visible(left_over, np.array([0, 0, width, height], dtype=np.float32))
    stay &= share > max(min_visible, MIN_VISIBLE)
    cropped, enter = visible(second.boxes, rectangle)
    enter &= areas(cropped) > min_visible * areas(second.boxes)
    return LabelledImage(
        image,
        np.concatenate([left_over[stay], cropped[enter]]),
        np.concatenate([first.labels[stay], second.labels[enter]]),
    )


def draw_rectangle(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """CutMix's rectangle (x1, y1, x2, y2) in an image: of its shape, `1 - U(0, 1)` of its area before it is clipped.

    Its middle lies anywhere in the image, so that it is clipped at the border.
    """
    side = np.sqrt(1 - rng.uniform())
    middle_x, middle_y = rng.uniform(0, width), rng.uniform(0, height)
    x1, x2 = np.clip(np.rint([middle_x - side * width / 2, middle_x + side * width / 2]), 0, width).astype(int)
    y1, y2 = np.clip(np.rint([middle_y - side * height / 2, middle_y + side * height / 2]), 0, height).astype(int)
    return int(x1), int(y1), int(x2), int(y2)


def uncovered(
    boxes: NDArray[np.float32], rectangle: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes `[n, 4]` under an opaque `rectangle [4]`: what is left of each, and `[n]` the share of its area that is.

    A box is cropped where the rectangle spans its whole width or height from one of its ends; where it hides a corner
    or the middle, the box around what is left is the box itself.
    """
    low, high = np.maximum(boxes[:, :2], rectangle[:2]), np.minimum(boxes[:, 2:], rectangle[2:])
    hidden = np.maximum(high - low, 0).prod(axis=1)
    full = areas(boxes)
    share = 1 - np.divide(hidden, full, out=np.zeros_like(hidden), where=full > 0)
    left_over = boxes.copy()
    for axis in (0, 1):
        across = 1 - axis
        spans = (rectangle[across] <= boxes[:, across]) & (rectangle[2 + across] >= boxes[:, 2 + across])
        first_end = spans & (rectangle[axis] <= boxes[:, axis]) & (rectangle[2 + axis] < boxes[:, 2 + axis])
        last_end = spans & (rectangle[axis] > boxes[:, axis]) & (rectangle[2 + axis] >= boxes[:, 2 + axis])
        left_over[first_end, axis] = np.maximum(boxes[first_end, axis], rectangle[2 + axis])
        left_over[last_end, 2 + axis] = np.minimum(boxes[last_end, 2 + axis], rectangle[axis])
    return left_over, share.astype(np.float32)
