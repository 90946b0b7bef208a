from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, wilcoxon

from edgedet.bench.comparison.ranks import MOST_EXACT, rank_sum_probability, signed_rank_probability

DISTINCT = st.lists(st.integers(1, 10_000), min_size=1, max_size=12, unique=True)


def enumerated(values: list[float]) -> float:
    """Of all ways to give the sizes signs, the share that is as one-sided or more."""
    ranks = np.argsort(np.argsort(np.abs(values))) + 1
    middle = ranks.sum() / 2
    sums = [
        sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
        for signs in product((0, 1), repeat=len(ranks))
    ]
    found = abs(sum(ranks[np.asarray(values) > 0]) - middle)
    return sum(abs(one - middle) >= found for one in sums) / len(sums)


class TestSignedRanks:
    @given(DISTINCT, st.data())
    def test_few_differences_are_counted_out(self, sizes: list[int], data: st.DataObject) -> None:
        signs = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=len(sizes), max_size=len(sizes)))
        values = [float(size * sign) for size, sign in zip(sizes, signs, strict=True)]
        assert signed_rank_probability(values) == pytest.approx(enumerated(values))

    @pytest.mark.parametrize("count", [12, 27, MOST_EXACT])
    def test_many_are_as_scipy_counts_them(self, count: int) -> None:
        values = np.random.default_rng(count).normal(0.3, 1, count)
        assert signed_rank_probability(values.tolist()) == pytest.approx(wilcoxon(values, method="exact").pvalue)

    @pytest.mark.parametrize("count", [MOST_EXACT + 1, 400])
    def test_very_many_follow_the_normal_curve(self, count: int) -> None:
        values = np.random.default_rng(count).normal(0.1, 1, count)
        expected = wilcoxon(values, method="asymptotic", correction=True).pvalue
        assert signed_rank_probability(values.tolist()) == pytest.approx(expected)

    def test_equal_sizes_share_their_ranks(self) -> None:
        values = [float(value) for value in (3, 3, -3, 5, 5, -1, 2, 2, 7, 7, -7, 4, 6, 6)]
        expected = wilcoxon(values, method="asymptotic", correction=True).pvalue
        assert signed_rank_probability(values) == pytest.approx(expected)

    def test_no_difference_is_no_evidence(self) -> None:
        assert signed_rank_probability([0.0] * 20) == 1
        assert signed_rank_probability([1.0, -2.0, 3.0, 0.0, 0.0]) == signed_rank_probability([1.0, -2.0, 3.0])

    def test_either_side_counts_the_same(self) -> None:
        values = np.random.default_rng(0).normal(0.5, 1, 20)
        assert signed_rank_probability(values.tolist()) == signed_rank_probability((-values).tolist()) < 0.2


class TestRankSums:
    @pytest.mark.parametrize("shift", [0, 0.7, -2])
    @pytest.mark.parametrize("digits", [9, 0], ids=["distinct", "tied"])
    def test_are_as_scipy_has_them(self, shift: float, digits: int) -> None:
        random = np.random.default_rng(1)
        one, other = random.normal(0, 1, 24).round(digits), random.normal(shift, 1, 17).round(digits)
        expected = mannwhitneyu(one, other, method="asymptotic", use_continuity=True).pvalue
        assert rank_sum_probability(one.tolist(), other.tolist()) == pytest.approx(expected)

    def test_equal_values_are_no_evidence(self) -> None:
        assert rank_sum_probability([2.0] * 12, [2.0] * 12) == 1
