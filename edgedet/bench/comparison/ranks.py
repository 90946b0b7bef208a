"""The signed-rank test: whether differences lean to one side."""

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
    sizes, places, shares = np.unique(np.abs(values), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(shares) - (shares - 1) / 2)[places]
    above = float(ranks[values > 0].sum())
    total = count * (count + 1) / 2
    smaller = min(above, total - above)
    if count <= MOST_EXACT and len(sizes) == count:
        return min(1.0, 2 * _share_at_most(round(smaller), count))
    variance = count * (count + 1) * (2 * count + 1) / 24 - float((shares**3 - shares).sum()) / 48
    # The sum of ranks moves in whole steps: half of one is taken off, so that a step is not overrated.
    deviation = max(abs(above - total / 2) - 0.5, 0.0) / math.sqrt(variance)
    return math.erfc(deviation / math.sqrt(2))


def _share_at_most(smaller: int, count: int) -> float:
    """Of the `2**count` ways to give ranks 1 to `count` a sign: those whose positive ranks sum to `smaller` at most."""
    ways = np.zeros(smaller + 1)
    ways[0] = 1
    for rank in range(1, min(count, smaller) + 1):
        ways[rank:] += ways[:-rank].copy()
    return float(ways.sum() / 2**count)
