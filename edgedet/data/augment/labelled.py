"""What augmentation takes and makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledImage:
    """An image with its objects.

    Attributes:
        image: uint8 `[h, w, 3]`, BGR.
        boxes: `[n, 4]` float32, xyxy in pixels of `image`.
        labels: `[n]` int64.
        weights: `[n]` float32 in 0..1, how much each object counts; None where each counts once.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None
