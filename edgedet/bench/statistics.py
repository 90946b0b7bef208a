"""What is said of a series of times, as trtexec says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgedet.config import Frozen

PERCENTILES = (90.0, 95.0, 99.0)


class Statistics(Frozen):
    """Of times in milliseconds.

    Attributes:
        min, max, mean: of all.
        median: the middle one, or the mean of the two in the middle.
        percentiles: times that were measured (nearest rank), by percentage.
        variation: standard deviation over mean (the coefficient of variance), in percent; 0 where nothing took time.
    """

    min: float
    max: float
    mean: float
    median: float
    percentiles: Mapping[float, float]
    variation: float


def statistics(times: Sequence[float], percentages: Sequence[float] = PERCENTILES) -> Statistics:
    """Of times in milliseconds, at least one; the definitions are those of trtexec.

    It sums in float32, and its mean of very many times is less exact than this one.

    Source: NVIDIA/TensorRT, samples/common/sampleReporting.cpp (`getPerformanceResult`, `findPercentile`).
    """
    array = np.sort(np.asarray(times, np.float64))
    ordered, mean = array.tolist(), float(array.mean())
    return Statistics(
        min=ordered[0],
        max=ordered[-1],
        mean=mean,
        median=float(np.median(array)),
        percentiles={percentage: percentile(ordered, percentage) for percentage in percentages},
        variation=100 * float(array.std()) / mean if mean else 0.0,
    )


def percentile(ordered: Sequence[float], percentage: float) -> float:
    """Nearest rank, as trtexec reports it: `ordered[max(n - 1 - int((1 - percentage / 100) * n), 0)]`.

    trtexec computes the rank in float32, so that of 100 times its 99th percentile is the largest and not the 99th.
    Whoever holds figures of both against each other must find the same.

    Args:
        ordered: times from the smallest to the largest.
        percentage: from 0 to 100.
    """
    count = len(ordered)
    excluded = int((np.float32(1) - np.float32(percentage) / np.float32(100)) * np.float32(count))
    return ordered[max(count - 1 - excluded, 0)]
