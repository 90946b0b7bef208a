"""Two images joined at a line (Instant-Teaching, Zhou et al., CVPR 2021, where it is called Mosaic)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_SIDE_SHARE = 0.25


def split_regions(size: int, rng: np.random.Generator) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """The parts (x1, y1, x2, y2) of a square of `size` pixels that show each image.

    They lie side by side or one above the other; the line between them lies in the middle half of the square.
    """
    line = round(size * rng.uniform(0.25, 0.75))
    if rng.random() < 0.5:
        return (0, 0, line, size), (line, 0, size, size)
    return (0, 0, size, line), (0, line, size, size)


def long_enough(cropped: NDArray[np.float32], whole: NDArray[np.float32]) -> NDArray[np.bool_]:
    """`[n]` which boxes `[n, 4]` keep more than a quarter of their width and of their height."""
    width, height = (cropped[:, 2:] - cropped[:, :2] > MIN_SIDE_SHARE * (whole[:, 2:] - whole[:, :2])).T
    return width & height
