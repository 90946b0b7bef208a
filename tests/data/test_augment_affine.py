"""Rotation and shear: images, boxes and matrices tell the same story."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.geometric import AffineTransform, draw_transform, rotation
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.augment.pipeline import augment

STILL = AugmentConfig(mosaic=0, flip_horizontal=0, scale=0, translate=0, hue=0, saturation=0, brightness=0)
SEEDS = st.integers(0, 10_000)
SHIFTS = st.floats(-60, 60)
TRANSFORMS = st.builds(
    lambda angle, zoom, stretch, shear, x, y: (
        AffineTransform(1.0, 1.0, x, y)
        .after(rotation(angle))
        .after(AffineTransform(zoom, zoom * stretch, 0.0, 0.0, shear_x=shear))
    ),
    st.floats(-180, 180),
    st.floats(0.4, 2),
    st.floats(0.5, 2),
    st.floats(-0.5, 0.5),
    SHIFTS,
    SHIFTS,
)


def one(*box: float) -> NDArray[np.float32]:
    return np.array([box], dtype=np.float32)


def coloured(side: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A black image with a white rectangle."""
    image = np.zeros((side, side, 3), dtype=np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image


def extent(canvas: NDArray[np.uint8]) -> list[int]:
    bright = canvas[..., 0] > 127
    columns, rows = np.flatnonzero(bright.any(axis=0)), np.flatnonzero(bright.any(axis=1))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@given(TRANSFORMS)
@settings(max_examples=60)
def test_a_turned_and_sheared_rectangle_is_found_where_its_box_is(transform: AffineTransform) -> None:
    image = coloured(60, (12, 18, 44, 40))
    moved = AffineTransform(1.0, 1.0, 250.0, 250.0).after(transform)
    canvas = np.zeros((500, 500, 3), dtype=np.uint8)
    moved.warp_into(canvas, image, (0, 0, 500, 500))
    # The tip of a sharp corner is dim, all the more so where pixels were small before they were enlarged.
    assert_allclose(extent(canvas), moved.boxes(one(12, 18, 44, 40))[0], atol=4)
    middle = moved.matrix @ [28, 29, 1]
    assert canvas[int(middle[1]), int(middle[0]), 0] > 200


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(90, (-8, 1, -2, 5)), (180, (-5, -8, -1, -2)), (-90, (2, -5, 8, -1))],
)
def test_quarter_turns_are_clockwise_on_the_screen(degrees: float, expected: tuple[float, ...]) -> None:
    assert_allclose(rotation(degrees).boxes(one(1, 2, 5, 8)), one(*expected), atol=1e-5)


def test_a_square_turned_by_45_degrees_has_a_box_of_its_diagonal() -> None:
    half = math.sqrt(2)
    assert_allclose(rotation(45).boxes(one(-1, -1, 1, 1)), one(-half, -half, half, half), rtol=1e-6)


def test_a_shear_moves_corners_along_the_axis() -> None:
    sheared = AffineTransform(1.0, 1.0, 0.0, 0.0, shear_x=0.5)
    assert_allclose(sheared.corners(one(0, 0, 4, 2))[0], [[0, 0], [4, 0], [5, 2], [1, 2]])
    assert_allclose(sheared.boxes(one(0, 0, 4, 2)), one(0, 0, 5, 2))


def test_a_quarter_turn_of_an_image_is_exact() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    canvas = np.zeros((30, 20, 3), dtype=np.uint8)
    AffineTransform(1.0, 1.0, 20.0, 0.0).after(rotation(90)).warp_into(canvas, image, (0, 0, 20, 30))
    assert_array_equal(canvas, cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE))


@given(TRANSFORMS, TRANSFORMS)
@settings(max_examples=50)
def test_one_after_the_other_is_the_product_of_the_matrices(first: AffineTransform, second: AffineTransform) -> None:
    assert_allclose(second.after(first).matrix, second.matrix @ first.matrix, atol=1e-9)


@given(TRANSFORMS)
@settings(max_examples=50)
def test_the_inverse_is_that_of_the_matrix(transform: AffineTransform) -> None:
    assert_allclose(transform.inverse().matrix, np.linalg.inv(transform.matrix), atol=1e-9)


def test_no_boxes_stay_no_boxes() -> None:
    boxes = rotation(30).boxes(np.zeros((0, 4), dtype=np.float32))
    assert boxes.shape == (0, 4)
    assert boxes.dtype == np.float32


def test_only_the_polygon_is_drawn_as_it_would_be_on_the_whole_canvas() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    transform = AffineTransform(1.0, 1.0, 30.0, 4.0).after(rotation(30))
    whole, part = (np.full((64, 64, 3), 7, dtype=np.uint8) for _ in range(2))
    transform.warp_into(whole, image, (0, 0, 64, 64))
    corners = transform.corners(one(10, 10, 30, 30))[0]
    transform.warp_into_polygon(part, image, corners)
    rows, columns = np.mgrid[0:64, 0:64] + 0.5
    back = transform.inverse().matrix @ np.stack([columns.ravel(), rows.ravel(), np.ones(64 * 64)])
    from_edge = np.minimum(back[:2] - 10, 30 - back[:2]).min(axis=0).reshape(64, 64)
    assert (np.abs(part.astype(int) - whole)[from_edge > 1] <= 20).all()
    assert (part[from_edge < -1] == 7).all()


@pytest.mark.parametrize("corners", [[[-9, -9], [-1, -9], [-1, -1], [-9, -1]], [[70, 2], [80, 2], [80, 9], [70, 9]]])
def test_a_polygon_beside_the_canvas_draws_nothing(corners: list[list[float]]) -> None:
    canvas = np.full((64, 64, 3), 7, dtype=np.uint8)
    AffineTransform(1.0, 1.0, 0.0, 0.0).warp_into_polygon(canvas, canvas.copy() + 1, np.array(corners, np.float64))
    assert (canvas == 7).all()


class TestDrawing:
    def test_settings_bound_the_angle_and_are_used_in_full(self) -> None:
        config = STILL.model_copy(update={"rotate": 20.0})
        rng = np.random.default_rng(0)
        drawn = [draw_transform(64, 64, config, rng) for _ in range(800)]
        angles = np.degrees([math.atan2(t.shear_y, t.scale_x) for t in drawn])
        assert -20 <= angles.min() < -19 and 19 < angles.max() <= 20
        areas = [t.scale_x * t.scale_y - t.shear_x * t.shear_y for t in drawn]
        assert_allclose(areas, 1, rtol=1e-9)

    def test_settings_bound_the_shear_and_it_keeps_areas(self) -> None:
        config = STILL.model_copy(update={"shear": 30.0})
        rng = np.random.default_rng(0)
        drawn = [draw_transform(64, 64, config, rng) for _ in range(800)]
        horizontal = np.degrees(np.arctan([t.shear_x for t in drawn]))
        vertical = np.degrees(np.arctan([t.shear_y for t in drawn]))
        for angles in (horizontal, vertical):
            assert -30 <= angles.min() < -29 and 29 < angles.max() <= 30
        areas = [t.scale_x * t.scale_y - t.shear_x * t.shear_y for t in drawn]
        assert_allclose(areas, 1, rtol=1e-9)

    @pytest.mark.parametrize("update", [{"rotate": 90.0}, {"shear": 20.0}, {"rotate": 30.0, "shear": 10.0}])
    @given(seed=SEEDS)
    @settings(max_examples=20)
    def test_the_centre_stays_the_centre(self, update: dict[str, float], seed: int) -> None:
        transform = draw_transform(64, 100, STILL.model_copy(update=update), np.random.default_rng(seed))
        assert_allclose(transform.matrix @ [50, 50, 1], [32, 32, 1], atol=1e-9)

    @given(SEEDS)
    @settings(max_examples=30)
    def test_the_other_choices_are_those_without_rotation(self, seed: int) -> None:
        config = AugmentConfig()
        plain = draw_transform(64, 64, config, np.random.default_rng(seed))
        turned = draw_transform(64, 64, config.model_copy(update={"rotate": 45.0}), np.random.default_rng(seed))
        for transform in (plain, turned):
            linear = transform.matrix[:2, :2]
            assert np.linalg.det(linear) == pytest.approx(np.linalg.det(plain.matrix[:2, :2]))
        assert_allclose(turned.matrix @ [32, 32, 1], plain.matrix @ [32, 32, 1], atol=1e-9)


class TestTurnedMosaic:
    COLOURS = (40, 90, 160, 220)

    def scene(self, level: int, label: int) -> LabelledImage:
        image = np.zeros((64, 64, 3), dtype=np.uint8)
        image[20:44, 16:52] = level
        return LabelledImage(image, one(16, 20, 52, 44), np.array([label]))

    def corners_scene(self, level: int, label: int) -> LabelledImage:
        image = np.zeros((64, 64, 3), dtype=np.uint8)
        boxes = [(x, y, x + 14, y + 14) for x in (4, 46) for y in (4, 46)]
        for x1, y1, x2, y2 in boxes:
            image[y1:y2, x1:x2] = level
        return LabelledImage(image, np.array(boxes, dtype=np.float32), np.full(4, label))

    @given(SEEDS)
    @settings(max_examples=40)
    def test_no_box_is_left_of_what_the_other_tiles_hide(self, seed: int) -> None:
        # Only a zoom out or a shift brings the outer edges of the quarters into sight.
        config = STILL.model_copy(update={"mosaic": 1.0, "rotate": 60.0, "scale": 0.5, "translate": 0.6})
        samples = [self.corners_scene(level, label) for label, level in enumerate(self.COLOURS)]
        order = iter([0, 1, 2, 3])
        result = augment(lambda _: samples[next(order)], range(4), 0, 128, config, np.random.default_rng(seed))
        for box, label in zip(result.boxes, result.labels, strict=True):
            x1, y1, x2, y2 = box.astype(int)
            level = result.image[y1 : y2 + 1, x1 : x2 + 1, 0]
            assert (level == self.COLOURS[label]).any()

    @given(SEEDS)
    @settings(max_examples=40)
    def test_what_a_box_encloses_is_its_own_tile_and_all_of_it(self, seed: int) -> None:
        config = STILL.model_copy(update={"mosaic": 1.0, "rotate": 60.0, "shear": 10.0, "scale": 0.3})
        samples = [self.scene(level, label) for label, level in enumerate(self.COLOURS)]
        order = iter([0, 1, 2, 3])
        result = augment(lambda _: samples[next(order)], range(4), 0, 128, config, np.random.default_rng(seed))
        assert (result.boxes >= 0).all() and (result.boxes <= 128).all()
        for box, label in zip(result.boxes, result.labels, strict=True):
            # A level that lies between two others occurs at the edges of brighter tiles too, but only in thin lines.
            level = (result.image[..., 0] == self.COLOURS[label]).astype(np.uint8)
            own = cv2.erode(level, np.ones((3, 3), np.uint8), borderValue=1)
            if not own.any():
                continue
            columns, rows = np.flatnonzero(own.any(axis=0)), np.flatnonzero(own.any(axis=1))
            assert box[0] - 2 <= columns[0] and columns[-1] + 1 <= box[2] + 2
            assert box[1] - 2 <= rows[0] and rows[-1] + 1 <= box[3] + 2
