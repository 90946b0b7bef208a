from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from edgedet.bench.comparison.interval import median_interval, resampled_medians

DRAWS = 600


@pytest.mark.parametrize("count", [12, 41])
@pytest.mark.parametrize("shape", ["normal", "heavy", "skewed"])
def test_it_misses_about_as_rarely_as_asked_for(count: int, shape: str) -> None:
    random = np.random.default_rng(count)
    draw = {
        "normal": lambda: random.normal(0, 1, count),
        "heavy": lambda: random.standard_t(1, count),
        "skewed": lambda: random.exponential(1, count) - np.log(2),
    }[shape]
    intervals = [median_interval(draw().tolist(), error=0.1) for _ in range(DRAWS)]
    missed = sum(not found.low <= 0 <= found.high for found in intervals)
    assert 0.05 * DRAWS < missed < 0.13 * DRAWS + 3 * np.sqrt(0.09 * DRAWS)


@pytest.mark.parametrize(("count", "error", "misses"), [(13, 0.01, 0.0225), (13, 0.0009, 0.0034), (41, 0.01, 0.0115)])
def test_of_few_values_it_misses_more_often_by_as_much_as_is_said(count: int, error: float, misses: float) -> None:
    """Whatever the distribution: as many of the values lie below the median as heads fall of as many coins."""
    found = median_interval([float(place) for place in range(count)], error=error)
    below, above = binom.cdf(found.low, count, 0.5), 1 - binom.cdf(found.high, count, 0.5)
    assert below + above == pytest.approx(misses, rel=0.02)


def test_a_smaller_error_gives_a_wider_interval_around_the_same_estimate() -> None:
    values = np.random.default_rng(0).normal(0, 1, 41).tolist()
    wide, narrow = median_interval(values, error=0.001), median_interval(values, error=0.1)
    assert wide.low < narrow.low < narrow.estimate == wide.estimate == np.median(values) < narrow.high < wide.high


def test_more_values_give_a_narrower_one() -> None:
    random = np.random.default_rng(0)
    widths = [
        found.high - found.low
        for found in (median_interval(random.normal(0, 1, count).tolist(), error=0.01) for count in (12, 48, 192))
    ]
    assert widths[0] > 1.4 * widths[1] > 1.9 * widths[2]


def test_the_same_values_give_the_same_interval() -> None:
    values = np.random.default_rng(0).normal(0, 1, 30).tolist()
    assert median_interval(values, error=0.01) == median_interval(values, error=0.01)


def test_one_value_is_its_own_interval() -> None:
    found = median_interval([3.0], error=0.01)
    assert (found.low, found.estimate, found.high) == (3, 3, 3)


@pytest.mark.parametrize("count", [1, 2, 3, 12, 13, 40])
def test_medians_are_distributed_as_those_of_resamples(count: int) -> None:
    random = np.random.default_rng(count)
    values = random.normal(0, 1, count)
    drawn = np.median(values[random.integers(0, count, (200_000, count))], axis=1)
    found = np.concatenate([resampled_medians(values.tolist(), random) for _ in range(10)])
    ends = np.linspace(values.min(), values.max(), 50)
    shares = [np.searchsorted(np.sort(medians), ends, side="right") / len(medians) for medians in (found, drawn)]
    assert np.abs(shares[0] - shares[1]).max() < 0.006
