"""From a source image to the network's input, exactly as `edgedet.spec.Preprocess` defines it."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import Letterbox, letterbox
from edgedet.errors import EdgedetError
from edgedet.spec import Preprocess


def preprocess(
    image: NDArray[np.uint8], spec: Preprocess, *, out: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], Letterbox]:
    """The network's input for one image, and where the image lies in it.

    A pixel takes one of 256 values, so normalisation is a table per channel: exact, and faster than arithmetic.

    Args:
        image: uint8 `[h, w, 3]` BGR.
        spec: sizes, padding and normalisation.
        out: float32 `[3, H, W]` to write into (a row of a batch); its rows must be contiguous. None: a new one.

    Returns:
        float32 `[3, H, W]` RGB, and the letterbox that maps boxes back.
    """
    require_image(image)
    if out is None:
        out = np.empty((3, spec.height, spec.width), np.float32)
    box = letterbox(image.shape[0], image.shape[1], spec.height, spec.width)
    height, width = box.resized_height, box.resized_width
    resized = image
    if image.shape[:2] != (height, width):
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    tables = normalisation_tables(spec.mean, spec.std)
    for plane, pixels, table in zip(out, reversed(cv2.split(resized)), tables, strict=True):
        cv2.LUT(pixels, table, dst=plane[:height, :width])
        plane[height:] = table[spec.pad_value]
        plane[:height, width:] = table[spec.pad_value]
    return out, box


@lru_cache(maxsize=8)
def normalisation_tables(mean: tuple[float, float, float], std: tuple[float, float, float]) -> NDArray[np.float32]:
    """`[3, 256]` float32: channel by channel, `(pixel / 255 - mean) / std`, computed in float64 and rounded once."""
    pixels = np.arange(256, dtype=np.float64) / 255
    tables = ((pixels - np.array(mean)[:, None]) / np.array(std)[:, None]).astype(np.float32)
    tables.flags.writeable = False
    return tables


def require_image(image: NDArray[np.uint8]) -> None:
    """Refuses what is not an 8-bit BGR image with at least one pixel."""
    if not isinstance(image, np.ndarray):
        fix = "read it with cv2.imread(path), which gives None where there is no image"
        raise EdgedetError(f"an image must be an array, not {type(image).__name__}", fix=fix)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise EdgedetError(
            f"an image must be uint8 [h, w, 3], not {image.dtype} {list(image.shape)}",
            fix="read it with cv2.imread(path), or convert it with cv2.cvtColor",
        )
