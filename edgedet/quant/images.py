"""The images that a detector's grids are chosen on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgedet.data.clean import readable
from edgedet.data.images import read_image
from edgedet.data.sample import Sample
from edgedet.data.sheet import spread
from edgedet.errors import EdgedetError
from edgedet.progress import Track
from edgedet.runtime.preprocess import preprocess
from edgedet.spec import Preprocess

MIN_IMAGES = 8


def calibration_images(samples: Sequence[Sample], count: int, *, where: object = None) -> tuple[list[Sample], str]:
    """`count` samples spread evenly over those whose image can be read, and the SHA-256 of their pixels.

    Raises:
        EdgedetError: there are fewer, fewer than 8 were asked for, or they all look alike.
    """
    if count < MIN_IMAGES:
        fix = f"calibrate on {MIN_IMAGES} or more: grids that fit a few images clip the others"
        raise EdgedetError(f"{count} calibration images are too few", where="--images", fix=fix)
    samples, _ = readable(samples)
    if len(samples) < count:
        what = f"{count} calibration images were asked for, but only {len(samples)} can be read"
        raise EdgedetError(what, where=where, fix=f"--images {len(samples)}, or another --split")
    chosen = list(spread(samples, count))
    digest, seen = hashlib.sha256(), set[bytes]()
    for sample in chosen:
        pixels = hashlib.sha256(read_image(sample.image).tobytes()).digest()
        digest.update(pixels)
        seen.add(pixels)
    if len(seen) == 1:
        raise EdgedetError(
            "the calibration images are all alike", where=where, fix="calibrate on what the camera will see"
        )
    return chosen, digest.hexdigest()


def tensors(
    samples: Sequence[Sample],
    spec: Preprocess,
    track: Track,
    read: Callable[[Path], NDArray[np.uint8]] = read_image,
) -> Iterator[tuple[Tensor, str]]:
    """The network's input `[1, 3, H, W]` for each sample, with the image's path."""
    for sample in track(samples, "calibrating"):
        yield torch.from_numpy(preprocess(read(sample.image), spec)[0])[None], str(sample.image)
