from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.boxes import letterbox
from edgedet.errors import EdgedetError
from edgedet.runtime.preprocess import preprocess
from edgedet.spec import Preprocess

SPEC = Preprocess(height=96, width=64)


def as_documented(image: np.ndarray, spec: Preprocess) -> np.ndarray:
    """The specification's sentences, one by one, in float64."""
    scale = min(spec.height / image.shape[0], spec.width / image.shape[1])
    height, width = (max(1, int(np.floor(side * scale + 0.5))) for side in image.shape[:2])
    canvas = np.full((spec.height, spec.width, 3), spec.pad_value, np.uint8)
    canvas[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    rgb = canvas[:, :, ::-1].astype(np.float64)
    return ((rgb / 255 - np.array(spec.mean)) / np.array(spec.std)).transpose(2, 0, 1).astype(np.float32)


@settings(deadline=None)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    pad_value=st.integers(0, 255),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_value_is_the_documented_one_to_the_last_bit(height: int, width: int, pad_value: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    spec = Preprocess(height=96, width=64, pad_value=pad_value)
    tensor, box = preprocess(image, spec)
    assert tensor.dtype == np.float32
    assert box == letterbox(height, width, 96, 64)
    np.testing.assert_array_equal(tensor, as_documented(image, spec))


def test_channels_are_red_green_blue_and_normalised() -> None:
    image = np.full((96, 64, 3), (10, 20, 30), np.uint8)  # blue 10, green 20, red 30
    tensor, _ = preprocess(image, SPEC)
    expected = [(30 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (10 / 255 - 0.406) / 0.225]
    np.testing.assert_allclose(tensor[:, 0, 0], expected, rtol=1e-6)
    assert all(len(np.unique(plane)) == 1 for plane in tensor)


def test_halving_averages_four_pixels_and_padding_is_at_the_bottom_right() -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    image[0, 0], image[1, 1] = 100, 60
    plain = Preprocess(height=96, width=64, mean=(0, 0, 0), std=(1, 1, 1), pad_value=51)
    tensor, box = preprocess(image, plain)
    assert (box.resized_height, box.resized_width) == (64, 64)
    np.testing.assert_allclose(tensor[:, 0, 0], 40 / 255, rtol=1e-6)
    np.testing.assert_allclose(tensor[:, 64:], 0.2, rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(96, 64), (100, 20), (20, 100), (1, 1), (1, 500), (500, 1)])
def test_writes_only_its_row_of_a_batch(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    batch = np.full((3, 3, 96, 64), -7, np.float32)
    tensor, _ = preprocess(image, SPEC, out=batch[1])
    assert np.shares_memory(tensor, batch)
    np.testing.assert_array_equal(batch[1], as_documented(image, SPEC))
    assert (batch[[0, 2]] == -7).all()


def test_images_that_are_views_are_read_right_and_left_alone() -> None:
    whole = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    for view in (whole[::-1, ::-1], whole[10:110, 20:90], whole[:96, :64], np.rot90(whole)):
        before = view.copy()
        np.testing.assert_array_equal(preprocess(view, SPEC)[0], as_documented(np.ascontiguousarray(view), SPEC))
        np.testing.assert_array_equal(view, before)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.uint16),
    ],
)
def test_other_arrays_are_refused(image: np.ndarray) -> None:
    with pytest.raises(EdgedetError, match=r"uint8 \[h, w, 3\]") as caught:
        preprocess(image, SPEC)
    assert caught.value.fix
