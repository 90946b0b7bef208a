"""What the layers of every runtime are measured beside."""

from __future__ import annotations

import statistics
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

from edgedet.runtime.detector import Detector


def median_run_ms(detector: Detector, tensor: NDArray[Any], *, runs: int, warmup: int) -> float:
    """The median milliseconds of the network alone, not profiled, from host to host.

    Args:
        detector: any.
        tensor: of its `preprocess`.
        runs: that are timed.
        warmup: runs before them.
    """
    times = []
    for _ in range(warmup + runs):
        start = perf_counter()
        detector.run(tensor)
        times.append((perf_counter() - start) * 1e3)
    return statistics.median(times[warmup:])
