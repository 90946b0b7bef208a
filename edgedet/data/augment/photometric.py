"""Colour jitter in hue, saturation and brightness."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.data.augment.config import AugmentConfig

HUE_LEVELS = 180


def jitter_colour(image: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A BGR image `[h, w, 3]` with its hue shifted and its saturation and brightness scaled, by lookup tables."""
    gains = rng.uniform(-1, 1, size=3) * (config.hue, config.saturation, config.brightness)
    if not gains.any():
        return image
    levels = np.arange(256, dtype=np.float64)
    table = np.empty((256, 1, 3), dtype=np.uint8)
    table[:, 0, 0] = (levels + gains[0] * HUE_LEVELS) % HUE_LEVELS
    table[:, 0, 1:] = np.clip(levels[:, None] * (1 + gains[1:]), 0, 255)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    cv2.LUT(hsv, table, dst=hsv)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR, dst=hsv).astype(np.uint8, copy=False)
