"""Where grids end."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.errors import EdgedetError
from edgedet.quant.ranges import BINS, METHODS, Histogram, range_of


def histogram_of(values: np.ndarray) -> Histogram:
    sizes = np.abs(values)
    counts, _ = np.histogram(sizes, BINS, (0, sizes.max()))
    return Histogram(counts.astype(float), float(sizes.max()))


def error_of(values: np.ndarray, end: float) -> float:
    """Mean squared error of rounding to the grid that ends there, by plain arithmetic."""
    step = end / 127
    return float(np.mean((np.clip(np.rint(values / step), -128, 127) * step - values) ** 2))


UNIFORM = histogram_of(np.random.default_rng(0).uniform(-2, 2, 100_000))
BELL = np.random.default_rng(1).normal(0, 1, 200_000)
OUTLIER = np.concatenate([BELL, [60.0]])


def test_max_clips_nothing() -> None:
    assert range_of(histogram_of(OUTLIER), "max") == 60


def test_percentile_leaves_out_a_ten_thousandth() -> None:
    end = range_of(histogram_of(OUTLIER), "percentile")
    assert np.mean(np.abs(OUTLIER) > end) < 1e-4
    assert np.mean(np.abs(OUTLIER) > end - 2 * 60 / BINS) > 1e-4


def test_least_squares_finds_the_end_with_the_least_error() -> None:
    assert range_of(UNIFORM, "mse") == pytest.approx(2, rel=0.02)
    end = range_of(histogram_of(OUTLIER), "mse")
    best = min(np.linspace(0.6, 60, 100), key=lambda one: error_of(OUTLIER, one))
    assert error_of(OUTLIER, end) <= error_of(OUTLIER, best) * 1.1
    assert error_of(OUTLIER, end) < error_of(OUTLIER, 60) / 1.5


def test_entropy_clips_what_hardly_occurs_and_keeps_what_often_does() -> None:
    assert 2 < range_of(histogram_of(OUTLIER), "entropy") < 20
    assert range_of(UNIFORM, "entropy") > 1.9


@pytest.mark.parametrize("method", METHODS)
def test_an_edge_that_is_always_zero_has_no_range(method: str) -> None:
    assert range_of(Histogram(np.zeros(BINS), 0.0), method) == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_range_grows_with_its_values(method: str) -> None:
    one = range_of(histogram_of(BELL), method)
    assert range_of(histogram_of(BELL * 7), method) == pytest.approx(7 * one, rel=1e-6)
    assert 0 < one <= np.abs(BELL).max()


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(EdgedetError, match="unknown calibration method 'entropi'") as caught:
        range_of(UNIFORM, "entropi")
    assert "did you mean 'entropy'" in str(caught.value.fix)
