"""Cutout, Random Erasing and GridMask: how much of an image is hidden, and where."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from edgedet.data.augment.erase import cutout, gridmask, random_erasing

Hide = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]
SEEDS = st.integers(0, 10_000)
PAD = 114


def black(height: int = 200, width: int = 160) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("hide", [cutout, random_erasing, gridmask])
@given(seed=SEEDS, height=st.integers(1, 90), width=st.integers(1, 90))
@settings(max_examples=20)
def test_any_image_stays_as_it_was_and_gets_a_result_of_its_size(
    hide: Hide, seed: int, height: int, width: int
) -> None:
    image = black(height, width)
    result = hide(image, np.random.default_rng(seed))
    assert not image.any()
    assert result.shape == image.shape
    assert result.dtype == np.uint8


@pytest.mark.parametrize("hide", [cutout, random_erasing, gridmask])
def test_is_a_function_of_the_generator(hide: Hide) -> None:
    first, second, third = (hide(black(), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert_array_equal(first, second)
    assert (first != third).any()


def test_cutout_hides_up_to_five_squares_of_up_to_a_fifth_of_the_shorter_side() -> None:
    rng = np.random.default_rng(0)
    shares = [(cutout(black(), rng)[..., 0] == PAD).mean() for _ in range(400)]
    assert max(shares) <= 5 * 33 * 33 / (200 * 160)
    # Three squares in the mean, a third of the largest area each, a little less at the borders.
    assert np.mean(shares) == pytest.approx(3 * 32 * 32 / 3 / (200 * 160), rel=0.15)


def test_a_cutout_square_is_square() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        if int(np.random.default_rng(seed).integers(1, 6)) != 1:
            continue
        rows, columns = np.nonzero(cutout(black(), rng)[..., 0])
        if len(rows) and rows.min() > 0 and columns.min() > 0 and rows.max() < 199 and columns.max() < 159:
            assert abs(np.ptp(rows) - np.ptp(columns)) <= 1


@given(SEEDS)
@settings(max_examples=60)
def test_random_erasing_hides_one_rectangle_of_noise(seed: int) -> None:
    result = random_erasing(black(), np.random.default_rng(seed))
    hidden = result.any(axis=2)
    rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert 0.019 < height * width / hidden.size < 0.405
    assert 0.28 < height / width < 3.5
    inside = result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert inside.mean() == pytest.approx(127.5, abs=12)
    assert hidden.sum() > 0.99 * height * width


def test_gridmask_hides_a_sixth_of_the_image_in_the_mean() -> None:
    rng = np.random.default_rng(0)
    shares = [(gridmask(black(300, 300), rng)[..., 0] == PAD).mean() for _ in range(200)]
    assert np.mean(shares) == pytest.approx(0.4**2, abs=0.015)
    assert min(shares) > 0


@pytest.mark.parametrize("side", [96, 640])
def test_gridmask_hides_the_same_parts_at_any_size(side: int) -> None:
    for seed in range(20):
        at_320, hidden = (
            gridmask(black(size, size), np.random.default_rng(seed))[..., 0] == PAD for size in (320, side)
        )
        assert hidden.mean() == pytest.approx(at_320.mean(), abs=0.02)
        nearest = ((np.arange(side) + 0.5) * 320 / side).astype(int)
        assert (hidden == at_320[nearest][:, nearest]).mean() > 0.9


def test_gridmask_s_squares_have_the_published_size_at_320_pixels() -> None:
    sides = []
    for seed in range(200):
        hidden = (gridmask(black(320, 320), np.random.default_rng(seed))[..., 0] == PAD).astype(np.uint8)
        for x, y, width, height, area in cv2.connectedComponentsWithStats(hidden)[2][1:]:
            if x > 0 and y > 0 and x + width < 320 and y + height < 320:
                sides.append(math.sqrt(area))
    assert min(sides) == pytest.approx(0.4 * 96, abs=2)
    assert max(sides) == pytest.approx(0.4 * 224, abs=2)


def test_gridmask_turns_the_grid() -> None:
    rng = np.random.default_rng(0)
    masks = [gridmask(black(300, 300), rng)[..., 0] == PAD for _ in range(20)]
    # Upright squares would leave most rows and columns of a mask equal to the one before.
    assert np.mean([(mask[1:] != mask[:-1]).any(axis=1).mean() for mask in masks]) > 0.5
