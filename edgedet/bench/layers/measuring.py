"""What the layers of every runtime are measured beside."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.bench.inputs import generated_image
from edgedet.bench.timing import each_ms
from edgedet.data.images import read_image
from edgedet.runtime.detector import Detector


def median_run_ms(detector: Detector, tensor: NDArray[Any], *, runs: int, warmup: int) -> float:
    """The median milliseconds of the network alone, not profiled, from host to host.

    Args:
        detector: any.
        tensor: of its `preprocess`.
        runs: that are timed.
        warmup: runs before them.
    """
    return statistics.median(each_ms(lambda: detector.run(tensor), warmup + runs)[warmup:])


def picture_tensor(detector: Detector, image: Path | None) -> NDArray[np.float32]:
    """One batch of the image in a file, or of a generated one, as the network takes it."""
    picture = generated_image() if image is None else read_image(image)
    return detector.preprocess([picture] * (detector.backend.inputs[0].shape[0] or 1))[0]
