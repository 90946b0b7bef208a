"""Tests of ranks: whether differences lean to one side, and whether one series lies above another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

MOST_EXACT = 60
"""Up to so many differences the probability is counted out; above, the normal curve is as good."""


def signed_rank_probability(differences: Sequence[float]) -> float:
    """How probable ranks as one-sided as these, or more, are where both sides are equally likely (two-sided).

    Source: F. Wilcoxon, "Individual comparisons by ranking methods", 1945. Differences of 0 are left out; equal sizes
    share the mean of their ranks, for which the normal curve is taken.

    Returns:
        from 0 to 1; 1 where there is no difference at all.
    """
    values = np.asarray([value for value in differences if value != 0], np.float64)
    count = len(values)
    if count == 0:
        return 1.0
    ranks, shares = _ranks(np.abs(values))
    above = float(ranks[values > 0].sum())
    total = count * (count + 1) / 2
    smaller = min(above, total - above)
    if count <= MOST_EXACT and len(shares) == count:
        return min(1.0, 2 * _share_at_most(round(smaller), count))
    variance = count * (count + 1) * (2 * count + 1) / 24 - float((shares**3 - shares).sum()) / 48
    return _normal_probability(above - total / 2, variance)


def rank_sum_probability(one: Sequence[float], other: Sequence[float]) -> float:
    """How probable ranks as different as these, or more, are where both series are alike (two-sided).

    Source: H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is stochastically larger
    than the other", 1947, by the normal curve: good from about ten values on each side on.

    Returns:
        from 0 to 1; 1 where all values are equal.
    """
    count, others = len(one), len(other)
    total = count + others
    ranks, shares = _ranks(np.asarray([*one, *other], np.float64))
    if len(shares) == 1:
        return 1.0
    ties = float((shares**3 - shares).sum())
    variance = count * others / 12 * (total + 1 - ties / (total * (total - 1)))
    return _normal_probability(float(ranks[:count].sum()) - count * (total + 1) / 2, variance)


def _ranks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ranks from 1, equal values sharing the mean of theirs; and how many values share each."""
    _, places, shares = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(shares) - (shares - 1) / 2)[places], shares


def _normal_probability(deviation: float, variance: float) -> float:
    """Of a sum of ranks that lies so far from the middle, or farther, on either side.

    The sum moves in whole steps: half of one is taken off, so that a step is not overrated.
    """
    return math.erfc(max(abs(deviation) - 0.5, 0.0) / math.sqrt(2 * variance))


def _share_at_most(smaller: int, count: int) -> float:
    """Of the `2**count` ways to give ranks 1 to `count` a sign: those whose positive ranks sum to `smaller` at most."""
    ways = np.zeros(smaller + 1)
    ways[0] = 1
    for rank in range(1, min(count, smaller) + 1):
        ways[rank:] += ways[:-rank].copy()
    return float(ways.sum() / 2**count)
