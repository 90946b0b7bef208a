from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.photometric import jitter_colour

FULL = AugmentConfig(hue=0.5, saturation=0.9, brightness=0.9)
SEEDS = st.integers(0, 10_000)


class Fixed:
    """Draws the values it was given: shares of the largest change in hue, saturation and brightness."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def uniform(self, low: float, high: float, size: int) -> NDArray[np.float64]:
        assert (low, high, size) == (-1, 1, 3)
        return np.array(self.values)


def noise(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)


def jittered(bgr: tuple[int, int, int], *shares: float) -> list[int]:
    image = np.full((2, 3, 3), bgr, dtype=np.uint8)
    result = jitter_colour(image, FULL, Fixed(*shares))  # type: ignore[arg-type]
    assert (result == result[0, 0]).all()
    return [int(value) for value in result[0, 0]]


@given(SEEDS)
def test_settings_of_zero_change_nothing(seed: int) -> None:
    config = AugmentConfig(hue=0, saturation=0, brightness=0)
    image = noise(seed)
    assert_array_equal(jitter_colour(image, config, np.random.default_rng(seed)), noise(seed))


@given(SEEDS, st.sampled_from([0, 1, 77, 128, 254, 255]))
def test_grey_stays_grey(seed: int, level: int) -> None:
    grey = np.full((3, 4, 3), level, dtype=np.uint8)
    result = jitter_colour(grey, FULL, np.random.default_rng(seed)).astype(int)
    assert (result.max(axis=2) - result.min(axis=2)).max() == 0


@given(SEEDS)
@settings(max_examples=50)
def test_the_source_stays_as_it_was_and_the_result_is_like_it(seed: int) -> None:
    image = noise(seed)
    result = jitter_colour(image, FULL, np.random.default_rng(seed))
    assert_array_equal(image, noise(seed))
    assert result.shape == image.shape
    assert result.dtype == np.uint8


@given(SEEDS)
@settings(max_examples=50)
def test_the_order_of_colours_is_blue_green_red_and_values_are_those_of_colorsys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bgr = rng.integers(20, 236, 3)
    shares = rng.uniform(-1, 1, 3) * (1, 0.4, 0.4)
    result = jittered(tuple(bgr.tolist()), *shares)
    hue, saturation, value = colorsys.rgb_to_hsv(*(bgr[::-1] / 255).tolist())
    changed = (
        (hue + shares[0] * 0.5) % 1,
        min(saturation * (1 + shares[1] * 0.9), 1),
        min(value * (1 + shares[2] * 0.9), 1),
    )
    expected = np.array(colorsys.hsv_to_rgb(*changed))[::-1] * 255
    # OpenCV's 8-bit hue has steps of 2 degrees, each channel of HSV is rounded.
    assert_allclose(result, expected, atol=14)


@pytest.mark.parametrize(
    ("bgr", "shares", "expected"),
    [
        ((0, 0, 200), (2 / 3, 0, 0), (0, 200, 0)),
        ((0, 0, 200), (-2 / 3, 0, 0), (200, 0, 0)),
        ((0, 200, 0), (2 / 3, 0, 0), (200, 0, 0)),
        ((0, 0, 200), (0, 0, 1), (0, 0, 255)),
        ((0, 0, 200), (0, 0, -0.5), (0, 0, 110)),
        ((100, 100, 200), (0, 1, 0), (10, 10, 200)),
        ((0, 0, 200), (0, -1, 0), (180, 180, 200)),
        ((0, 0, 0), (1, 1, 1), (0, 0, 0)),
        ((255, 255, 255), (1, 1, 1), (255, 255, 255)),
    ],
    ids=[
        "red to green",
        "red to blue",
        "green to blue",
        "brighter",
        "darker",
        "more colour",
        "less colour",
        "black",
        "white",
    ],
)
def test_known_colours(bgr: tuple[int, int, int], shares: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert_allclose(jittered(bgr, *shares), expected, atol=4)


def test_is_a_function_of_the_generator() -> None:
    first, second, third = (jitter_colour(noise(), FULL, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert_array_equal(first, second)
    assert (first != third).any()
