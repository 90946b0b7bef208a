"""Operations on colours, as Pillow defines them, and how strong each is at a magnitude of 0 to 10.

The names and ranges are those of AutoAugment (Cubuk et al., CVPR 2019, table of operations; SolarizeAdd: Zoph et al.,
2019). Which way a magnitude turns is unconfirmed for posterize and solarize: here a larger one changes more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
FloatArray = NDArray[np.floating]

MAX_MAGNITUDE = 10

_LEVELS = np.arange(256)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], dtype=np.float32) / 13


def autocontrast(image: Image) -> Image:
    """Each channel stretched so that its darkest value becomes 0 and its brightest 255."""
    low, high = image.min(axis=(0, 1)).astype(np.float64), image.max(axis=(0, 1)).astype(np.float64)
    scale = 255 / np.maximum(high - low, 1)
    stretched = np.clip((_LEVELS[:, None] - low) * scale, 0, 255)
    return _look_up(image, np.where(high > low, stretched, _LEVELS[:, None]))


def equalize(image: Image) -> Image:
    """Each channel with all of its values about equally frequent."""
    tables = np.empty((256, 3))
    for channel in range(3):
        counts = np.bincount(image[..., channel].ravel(), minlength=256)
        # The brightest value takes no part, as it goes to 255 anyway.
        step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
        below = np.concatenate([[0], np.cumsum(counts)[:-1]])
        tables[:, channel] = _LEVELS if step == 0 else np.minimum((below + step // 2) // step, 255)
    return _look_up(image, tables)


def solarize(image: Image, threshold: float) -> Image:
    """Values of at least `threshold` inverted."""
    inverted = threshold <= _LEVELS
    return _look_up(image, np.where(inverted, 255 - _LEVELS, _LEVELS))


def solarize_add(image: Image, added: float) -> Image:
    """`added` to the values below 128, at most 255."""
    return _look_up(image, np.where(_LEVELS < 128, np.minimum(_LEVELS + added, 255), _LEVELS))


def posterize(image: Image, bits: int) -> Image:
    """The upper `bits` (0 to 8) of each value, the others 0."""
    return _look_up(image, _LEVELS & ~(2 ** (8 - bits) - 1))


def colour(image: Image, factor: float) -> Image:
    """Colours away from grey: a factor of 0 gives the grey image (ITU-R BT.601), 1 the image."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return _blend(grey.astype(np.uint8, copy=False), image, factor)


def contrast(image: Image, factor: float) -> Image:
    """Values away from the image's mean brightness: a factor of 0 gives a grey area, 1 the image."""
    mean = int(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean() + 0.5)
    return _look_up(image, np.clip(mean + factor * (_LEVELS - mean), 0, 255))


def brightness(image: Image, factor: float) -> Image:
    """Values times a factor."""
    return _look_up(image, np.clip(factor * _LEVELS, 0, 255))


def sharpness(image: Image, factor: float) -> Image:
    """Details away from the image smoothed 3x3: a factor of 0 gives the smooth image, 1 the image; borders stay."""
    smooth = image.copy()
    filtered = cv2.filter2D(image, -1, _SMOOTH, borderType=cv2.BORDER_REPLICATE)
    smooth[1:-1, 1:-1] = filtered[1:-1, 1:-1]
    return _blend(smooth, image, factor)


def _enhancement(magnitude: float) -> float:
    return 0.1 + 1.8 * magnitude / MAX_MAGNITUDE


OPERATIONS: Mapping[str, Callable[[Image, float], Image]] = {
    "identity": lambda image, magnitude: image,
    "autocontrast": lambda image, magnitude: autocontrast(image),
    "equalize": lambda image, magnitude: equalize(image),
    "solarize": lambda image, magnitude: solarize(image, 256 * (1 - magnitude / MAX_MAGNITUDE)),
    "solarize_add": lambda image, magnitude: solarize_add(image, 110 * magnitude / MAX_MAGNITUDE),
    "posterize": lambda image, magnitude: posterize(image, 8 - round(4 * magnitude / MAX_MAGNITUDE)),
    "colour": lambda image, magnitude: colour(image, _enhancement(magnitude)),
    "contrast": lambda image, magnitude: contrast(image, _enhancement(magnitude)),
    "brightness": lambda image, magnitude: brightness(image, _enhancement(magnitude)),
    "sharpness": lambda image, magnitude: sharpness(image, _enhancement(magnitude)),
}
"""Of an image uint8 `[h, w, 3]` BGR and a magnitude of 0 to `MAX_MAGNITUDE`; the image is left as it is."""

STAC_OPERATIONS = (
    "identity",
    "autocontrast",
    "equalize",
    "solarize",
    "colour",
    "contrast",
    "brightness",
    "sharpness",
    "posterize",
)


def random_operation(image: Image, rng: np.random.Generator) -> Image:
    """One of STAC's operations (Sohn et al., 2020), of a magnitude of 1 to 9: the strong view's colours."""
    name = STAC_OPERATIONS[int(rng.integers(len(STAC_OPERATIONS)))]
    return OPERATIONS[name](image, float(rng.integers(1, MAX_MAGNITUDE)))


def _look_up(image: Image, table: NDArray) -> Image:
    """`table`: `[256]`, or `[256, 3]` for each channel; fractions are cut off."""
    tables = np.broadcast_to(table.reshape(256, 1, -1), (256, 1, 3)).astype(np.uint8)
    return cv2.LUT(image, tables).astype(np.uint8, copy=False)


def _blend(from_: Image, to: Image, factor: float) -> Image:
    return cv2.addWeighted(from_, 1 - factor, to, factor, 0.0).astype(np.uint8, copy=False)
