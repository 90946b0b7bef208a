"""Where the median of a quantity lies, by the bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 20_000
SEED = 0
"""The same times give the same interval."""


@dataclass(frozen=True)
class Interval:
    """A median and where it lies.

    Attributes:
        estimate: the median of what was measured.
        low, high: the ends between which it lies with the confidence asked for.
    """

    estimate: float
    low: float
    high: float


def median_interval(values: Sequence[float], *, error: float) -> Interval:
    """The interval of the median: percentiles of the medians of resamples (Efron and Tibshirani, 1993, chapter 13).

    Args:
        values: independent measurements, at least one.
        error: the probability that the interval misses, both sides together.
    """
    measured = np.asarray(values, np.float64)
    random = np.random.default_rng(SEED)
    medians = np.concatenate([_medians(measured, random, size) for size in _batches(len(measured))])
    low, high = np.quantile(medians, [error / 2, 1 - error / 2], method="inverted_cdf")
    return Interval(float(np.median(measured)), float(low), float(high))


def _medians(values: np.ndarray, random: np.random.Generator, count: int) -> np.ndarray:
    picked = random.integers(0, len(values), (count, len(values)))
    medians: np.ndarray = np.median(values[picked], axis=1)
    return medians


def _batches(length: int) -> list[int]:
    """How many resamples at once: a few million values, whatever the length."""
    size = max(1, min(RESAMPLES, 2_000_000 // length))
    return [size] * (RESAMPLES // size) + ([RESAMPLES % size] if RESAMPLES % size else [])
