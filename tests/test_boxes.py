from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from edgedet import boxes as b

SIDES = st.integers(1, 10_000)
CANVAS_SIDES = st.integers(32, 2048)


@st.composite
def boxes_inside(draw: st.DrawFn, height: int, width: int) -> NDArray[np.float32]:
    """Up to 8 boxes within an image of that size."""
    shares = st.floats(0, 1, width=32)
    rows = draw(st.lists(st.tuples(shares, shares, shares, shares), max_size=8))
    corners = np.array(rows, dtype=np.float32).reshape(-1, 2, 2) * np.array([width, height], dtype=np.float32)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def one(*box: float) -> NDArray[np.float32]:
    return np.array([box], dtype=np.float32)


def test_areas_of_known_boxes() -> None:
    boxes = np.concatenate([one(0, 0, 2, 3), one(5, 5, 5, 9), one(4, 4, 2, 2)])
    assert_array_equal(b.areas(boxes), [6, 0, 0])


def test_clip_of_known_boxes() -> None:
    assert_array_equal(b.clip(one(-5, 2, 300, 400), height=100, width=200), one(0, 2, 200, 100))


def test_formats_of_a_known_box() -> None:
    box = one(10, 20, 50, 100)
    assert_array_equal(b.xywh_from_xyxy(box), one(10, 20, 40, 80))
    assert_allclose(b.cxcywh_norm_from_xyxy(box, height=200, width=100), one(0.3, 0.3, 0.4, 0.4), rtol=1e-6)
    assert_array_equal(b.xyxy_from_xywh(one(10, 20, 40, 80)), box)
    assert_allclose(b.xyxy_from_cxcywh_norm(one(0.3, 0.3, 0.4, 0.4), height=200, width=100), box, rtol=1e-6)


@pytest.mark.parametrize("convert", [b.xyxy_from_xywh, b.xywh_from_xyxy])
def test_no_boxes_stay_no_boxes(convert: object) -> None:
    empty = np.zeros((0, 4), dtype=np.float32)
    assert convert(empty).shape == (0, 4)  # type: ignore[operator]
    assert b.areas(empty).shape == (0,)
    assert b.letterbox(10, 20, 64, 64).to_source(empty).shape == (0, 4)


@given(st.data(), SIDES, SIDES)
def test_formats_round_trip(data: st.DataObject, height: int, width: int) -> None:
    boxes = data.draw(boxes_inside(height, width))
    tolerance = 1e-6 * max(height, width)
    assert_allclose(b.xyxy_from_xywh(b.xywh_from_xyxy(boxes)), boxes, atol=tolerance)
    normalized = b.cxcywh_norm_from_xyxy(boxes, height, width)
    assert normalized.dtype == np.float32
    assert ((normalized >= 0) & (normalized <= 1 + 1e-6)).all()
    assert_allclose(b.xyxy_from_cxcywh_norm(normalized, height, width), boxes, atol=tolerance)


@given(st.data(), SIDES, SIDES)
def test_clip_leaves_boxes_inside_alone_and_is_idempotent(data: st.DataObject, height: int, width: int) -> None:
    boxes = data.draw(boxes_inside(height, width))
    assert_array_equal(b.clip(boxes, height, width), boxes)
    shifted = b.clip(boxes * 3 - max(height, width), height, width)
    assert_array_equal(b.clip(shifted, height, width), shifted)


@pytest.mark.parametrize(
    ("source", "canvas", "resized"),
    [
        ((480, 640), (320, 320), (240, 320)),
        ((640, 480), (320, 320), (320, 240)),
        ((320, 320), (320, 320), (320, 320)),
        # 427 * 320 / 640 = 213.5: halves round up.
        ((427, 640), (320, 320), (214, 320)),
        # A canvas twice as wide as the image needs.
        ((100, 100), (64, 128), (64, 64)),
        # Never less than a pixel.
        ((1, 10_000), (320, 320), (1, 320)),
    ],
)
def test_resized_sides_of_a_letterbox(
    source: tuple[int, int], canvas: tuple[int, int], resized: tuple[int, int]
) -> None:
    box = b.letterbox(*source, *canvas)
    assert (box.resized_height, box.resized_width) == resized


@given(SIDES, SIDES, CANVAS_SIDES, CANVAS_SIDES)
def test_a_letterbox_fills_one_side_and_keeps_the_shape(height: int, width: int, to_height: int, to_width: int) -> None:
    box = b.letterbox(height, width, to_height, to_width)
    assert 1 <= box.resized_height <= to_height
    assert 1 <= box.resized_width <= to_width
    assert box.resized_height == to_height or box.resized_width == to_width
    scale = min(to_height / height, to_width / width)
    assert abs(box.resized_height - max(1.0, height * scale)) <= 0.5 + 1e-9
    assert abs(box.resized_width - max(1.0, width * scale)) <= 0.5 + 1e-9


@given(st.data(), SIDES, SIDES, CANVAS_SIDES, CANVAS_SIDES)
def test_boxes_come_back_from_a_letterbox(
    data: st.DataObject, height: int, width: int, to_height: int, to_width: int
) -> None:
    boxes = data.draw(boxes_inside(height, width))
    box = b.letterbox(height, width, to_height, to_width)
    canvas = box.to_canvas(boxes)
    assert canvas.dtype == np.float32
    assert (canvas[:, [0, 2]] <= box.resized_width * (1 + 1e-6)).all()
    assert (canvas[:, [1, 3]] <= box.resized_height * (1 + 1e-6)).all()
    assert_allclose(box.to_source(canvas), boxes, atol=1e-6 * max(height, width))


def test_the_whole_image_fills_the_resized_area_exactly() -> None:
    box = b.letterbox(427, 640, 320, 320)
    assert_array_equal(box.to_canvas(one(0, 0, 640, 427)), one(0, 0, 320, 214))


def test_what_lies_on_the_padding_is_clipped_to_the_source() -> None:
    box = b.letterbox(240, 320, 320, 320)
    assert_array_equal(box.to_source(one(-10, 100, 330, 320)), one(0, 100, 320, 240))


def test_overlaps_of_known_boxes() -> None:
    first = np.array([[0, 0, 2, 2], [5, 5, 5, 9]], np.float32)
    second = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [4, 4, 6, 6], [5, 5, 5, 9]], np.float32)
    assert_allclose(b.pairwise_iou(first, second), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]], rtol=1e-6)
    assert b.pairwise_iou(first[:0], second).shape == (0, 4) and b.pairwise_iou(first, second[:0]).shape == (2, 0)
