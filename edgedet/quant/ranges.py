"""Where the grid of an edge should end, from a histogram of its values' sizes on calibration images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import unknown_value

BINS = 2048
LEVELS = 128
"""Steps from 0 to the grid's end, 0 among them."""

PERCENTILE = 99.99
CANDIDATES = 100


@dataclass(frozen=True)
class Histogram:
    """How often a value of some size occurred.

    Attributes:
        counts: `[BINS]`, of equal width from 0 to `largest`.
        largest: the largest absolute value.
    """

    counts: NDArray[np.float64]
    largest: float

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        return (np.arange(len(self.counts)) + 0.5) * self.largest / len(self.counts)


def largest(histogram: Histogram) -> float:
    """The largest value: nothing is clipped."""
    return histogram.largest


def percentile(histogram: Histogram) -> float:
    """The size that 99.99 % of the values do not exceed."""
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    last = int(np.searchsorted(share, PERCENTILE / 100))
    return float((last + 1) * histogram.largest / len(histogram.counts))


def least_squares(histogram: Histogram) -> float:
    """The end with the least mean squared error, of rounding inside and of clipping beyond."""
    ends = ends_to_try(histogram)
    return float(ends[squared_errors(histogram, ends, LEVELS - 1).argmin()])


def ends_to_try(histogram: Histogram) -> NDArray[np.float64]:
    """`[CANDIDATES]`, up to the largest value."""
    return histogram.largest * np.arange(1, CANDIDATES + 1) / CANDIDATES


def squared_errors(histogram: Histogram, ends: NDArray[np.float64], highest: int) -> NDArray[np.float64]:
    """The sum over the values of the squared error of each grid, `[E]`.

    Args:
        histogram: of the values' sizes.
        ends: `[E]`, of the grids.
        highest: their last code; the first is 0.
    """
    steps = ends / highest
    sizes = histogram.centres
    rounded = np.minimum(np.rint(sizes / steps[:, None]), highest) * steps[:, None]
    # A zero is on every grid; the first bin's values are mostly zeros behind a ReLU.
    errors: NDArray[np.float64] = ((sizes - rounded) ** 2 * histogram.counts)[:, 1:].sum(axis=1)
    return errors


def entropy(histogram: Histogram) -> float:
    """The end whose grid keeps the most information: the least Kullback-Leibler divergence (TensorRT's calibrator).

    Source: Migacz, "8-bit Inference with TensorRT", GTC 2017.
    """
    counts = histogram.counts.copy()
    counts[0] = 0
    ends = np.arange(LEVELS, len(counts) + 1, 16)
    divergences = [_divergence(counts, int(end)) for end in ends]
    return float(ends[int(np.argmin(divergences))] * histogram.largest / len(counts))


def _divergence(counts: NDArray[np.float64], end: int) -> float:
    """Of the first `end` bins, what lies beyond clipped into the last, from their copy in `LEVELS` levels."""
    reference = counts[:end].copy()
    reference[-1] += counts[end:].sum()
    level = np.arange(end) * LEVELS // end
    filled = counts[:end] > 0
    totals = np.bincount(level, counts[:end], LEVELS)
    members = np.bincount(level, filled, LEVELS)
    copy = np.where(filled, (totals / np.maximum(members, 1))[level], 0)
    if copy.sum() == 0:
        return np.inf
    p, q = reference / reference.sum(), copy / copy.sum()
    shared = (p > 0) & (q > 0)
    # What the copy has no room for counts as if it had a millionth of its mass.
    return float((p[shared] * np.log(p[shared] / q[shared])).sum() + p[(p > 0) & ~shared].sum() * np.log(1e6))


METHODS: Mapping[str, Callable[[Histogram], float]] = {
    "mse": least_squares,
    "max": largest,
    "percentile": percentile,
    "entropy": entropy,
}


def require_method(method: str) -> None:
    """Refuses a name that is none of `METHODS`."""
    if method not in METHODS:
        raise unknown_value("calibration method", method, METHODS)


def range_of(histogram: Histogram, method: str) -> float:
    """The end of the grid by one of `METHODS`; 0 for an edge that is always 0."""
    require_method(method)
    return METHODS[method](histogram) if histogram.largest > 0 else 0.0
