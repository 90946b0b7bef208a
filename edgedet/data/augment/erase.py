"""Parts of an image hidden; boxes stay as they are, however much of their objects is hidden.

Cutout (DeVries and Taylor, 2017), Random Erasing (Zhong et al., 2020), GridMask (Chen et al., 2020).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.data.augment.geometric import PAD_VALUE

CUTOUT_MAX_HOLES = 5
CUTOUT_MAX_SIDE = 0.2

ERASED_AREA = (0.02, 0.4)
ERASED_ASPECT = (0.3, 1 / 0.3)
ERASE_TRIES = 10

GRID_UNIT = (0.3, 0.7)
GRID_KEPT = 0.6


def cutout(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """One to five grey squares, each of up to a fifth of the shorter side, anywhere (as in STAC, Sohn et al., 2020)."""
    height, width = image.shape[:2]
    result = image.copy()
    for _ in range(int(rng.integers(1, CUTOUT_MAX_HOLES + 1))):
        half = rng.uniform(0, CUTOUT_MAX_SIDE) * min(height, width) / 2
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        x1, y1 = max(round(x - half), 0), max(round(y - half), 0)
        result[y1 : round(y + half), x1 : round(x + half)] = PAD_VALUE
    return result


def random_erasing(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A rectangle of noise, inside of the image; area and sides' ratio as in the paper.

    One that is longer than the image is drawn again, up to `ERASE_TRIES` times; then the image stays as it is.
    """
    height, width = image.shape[:2]
    result = image.copy()
    for _ in range(ERASE_TRIES):
        area, aspect = rng.uniform(*ERASED_AREA) * height * width, rng.uniform(*ERASED_ASPECT)
        erased_height, erased_width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if erased_height < height and erased_width < width:
            y, x = int(rng.integers(height - erased_height)), int(rng.integers(width - erased_width))
            noise = rng.integers(0, 256, (erased_height, erased_width, 3), dtype=np.uint8)
            result[y : y + erased_height, x : x + erased_width] = noise
            break
    return result


def gridmask(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A grid of grey squares, turned and shifted at random.

    The grid's unit has 0.3 to 0.7 of the shorter side, of which each square leaves 0.6 free in width and in height. At
    320 pixels that is 96 to 224, the published numbers, which are unconfirmed; so is the paper's growth of the
    probability over the run, which is left out.
    """
    height, width = image.shape[:2]
    smallest, largest = (max(round(share * min(height, width)), 1) for share in GRID_UNIT)
    unit = int(rng.integers(smallest, largest + 1))
    hole = round(unit * (1 - GRID_KEPT))
    shift_x, shift_y = rng.uniform(0, unit, size=2)
    # The grid is drawn upright and large enough to cover the image however it is turned.
    side = math.ceil(math.hypot(height, width)) + 2
    columns, rows = ((np.arange(side) + shift) % unit < hole for shift in (shift_x, shift_y))
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(0, 360), 1.0)
    turn[:, 2] += (width / 2 - side / 2, height / 2 - side / 2)
    grid = (rows[:, None] & columns).astype(np.uint8)
    hidden = cv2.warpAffine(grid, turn, (width, height), flags=cv2.INTER_NEAREST)
    result = image.copy()
    cv2.copyTo(np.full_like(image, PAD_VALUE), hidden, result)
    return result
