"""Operations on colours, beside Pillow's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from edgedet.data.augment import colour

SEEDS = st.integers(0, 10_000)
Array = NDArray[np.uint8]

PILLOW: dict[str, tuple[Callable[[Array], Array], Callable[[Image.Image], Image.Image], int]] = {
    "autocontrast": (colour.autocontrast, ImageOps.autocontrast, 1),
    "equalize": (colour.equalize, ImageOps.equalize, 0),
    "solarize": (lambda image: colour.solarize(image, 100), lambda image: ImageOps.solarize(image, 100), 0),
    "posterize": (lambda image: colour.posterize(image, 5), lambda image: ImageOps.posterize(image, 5), 0),
    **{
        f"{name} {factor}": (
            lambda image, own=own, factor=factor: own(image, factor),
            lambda image, theirs=theirs, factor=factor: theirs(image).enhance(factor),
            tolerance,
        )
        for name, own, theirs, tolerance in (
            ("colour", colour.colour, ImageEnhance.Color, 2),
            ("contrast", colour.contrast, ImageEnhance.Contrast, 2),
            ("brightness", colour.brightness, ImageEnhance.Brightness, 1),
            ("sharpness", colour.sharpness, ImageEnhance.Sharpness, 2),
        )
        for factor in (0.1, 0.6, 1.0, 1.9)
    },
}


def noise(seed: int = 0, low: int = 0, high: int = 256) -> Array:
    return np.random.default_rng(seed).integers(low, high, (24, 17, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", list(PILLOW))
@given(seed=SEEDS, bounds=st.sampled_from([(0, 256), (30, 90), (200, 202)]))
@settings(max_examples=10)
def test_is_what_pillow_does(name: str, seed: int, bounds: tuple[int, int]) -> None:
    own, theirs, tolerance = PILLOW[name]
    image = noise(seed, *bounds)
    expected = np.asarray(theirs(Image.fromarray(np.ascontiguousarray(image[..., ::-1]))))[..., ::-1]
    assert_allclose(own(image).astype(int), expected.astype(int), atol=tolerance)


def test_dark_values_become_lighter_and_bright_ones_stay() -> None:
    image = np.array([[[0, 100, 127], [128, 200, 255]]], dtype=np.uint8)
    assert colour.solarize_add(image, 110).tolist() == [[[110, 210, 237], [128, 200, 255]]]
    assert colour.solarize_add(image, 150).tolist() == [[[150, 250, 255], [128, 200, 255]]]


@pytest.mark.parametrize("level", [0, 77, 255])
@pytest.mark.parametrize("operation", [colour.autocontrast, colour.equalize])
def test_an_image_of_one_level_has_no_contrast_to_stretch(operation: Callable[[Array], Array], level: int) -> None:
    image = np.full((4, 5, 3), level, dtype=np.uint8)
    assert_array_equal(operation(image), image)


@pytest.mark.parametrize("name", list(colour.OPERATIONS))
@pytest.mark.parametrize("magnitude", [0, 3, 10])
def test_every_operation_leaves_its_image_alone_and_keeps_the_type(name: str, magnitude: float) -> None:
    image = noise()
    result = colour.OPERATIONS[name](image, magnitude)
    assert_array_equal(image, noise())
    assert result.shape == image.shape
    assert result.dtype == np.uint8


@pytest.mark.parametrize("name", ["solarize", "solarize_add", "posterize"])
def test_a_larger_magnitude_changes_more_and_none_nothing(name: str) -> None:
    image = noise().astype(int)
    changes = [np.abs(colour.OPERATIONS[name](noise(), m) - image).mean() for m in range(colour.MAX_MAGNITUDE + 1)]
    assert changes[0] == 0
    assert changes == sorted(changes)
    assert changes[-1] > changes[0]


def test_every_operation_of_stac_is_drawn() -> None:
    rng = np.random.default_rng(0)
    drawn = {colour.random_operation(noise(0, 60, 200), rng).tobytes() for _ in range(400)}
    # Six operations of nine magnitudes, one (posterize) with fewer steps, three without any.
    assert 40 < len(drawn) <= 6 * 9 + 3
