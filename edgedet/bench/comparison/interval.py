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
        error: the probability that the interval misses, both sides together. Of few values it misses more often,
            whatever they are distributed as: of 13 in 0.34 % where 0.09 % is asked for and in 2.2 % where it is 1 %,
            of 41 in 0.15 % and 1.2 %, from some 60 on as often as asked for.
    """
    medians = resampled_medians(values, np.random.default_rng(SEED))
    low, high = np.quantile(medians, [error / 2, 1 - error / 2], method="inverted_cdf")
    return Interval(float(np.median(values)), float(low), float(high))


def resampled_medians(values: Sequence[float], random: np.random.Generator) -> np.ndarray:
    """The medians of `RESAMPLES` resamples, `[RESAMPLES]`, drawn without drawing the resamples.

    The k-th smallest of n numbers drawn evenly from 0 to 1 has the distribution Beta(k, n + 1 - k), and the one below
    it is the largest of k - 1 drawn evenly up to it (David and Nagaraja, "Order Statistics", 2003, chapter 2). Times n
    and rounded down, they are places in the sorted values: those that the middle of a resample was drawn from.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    count, middle = len(ordered), len(ordered) // 2
    upper = random.beta(middle + 1, count - middle, RESAMPLES)
    lower = upper if count % 2 else upper * random.random(RESAMPLES) ** (1 / middle)
    places = [np.minimum(count * place, count - 1).astype(np.intp) for place in (lower, upper)]
    medians: np.ndarray = (ordered[places[0]] + ordered[places[1]]) / 2
    return medians
