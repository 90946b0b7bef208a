from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from edgedet.config import parse
from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.geometric import AffineTransform, draw_transform, visible
from edgedet.errors import EdgedetError

PAD = 114
SCALES = st.floats(0.3, 3).flatmap(lambda scale: st.sampled_from([scale, -scale]))
SHIFTS = st.floats(-60, 60)
TRANSFORMS = st.builds(AffineTransform, SCALES, SCALES, SHIFTS, SHIFTS)
STILL = AugmentConfig(mosaic=0, flip_horizontal=0, scale=0, translate=0, hue=0, saturation=0, brightness=0)


def one(*box: float) -> NDArray[np.float32]:
    return np.array([box], dtype=np.float32)


def measured_extent(canvas: NDArray[np.uint8]) -> list[int]:
    """The rectangle of the canvas that is brighter than half."""
    bright = canvas[..., 0] > 125
    columns, rows = np.flatnonzero(bright.any(axis=0)), np.flatnonzero(bright.any(axis=1))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@st.composite
def rectangles(draw: st.DrawFn, side: int) -> tuple[int, int, int, int]:
    """At least 6 pixels wide and high, 2 from the image's border, where it blurs into the padding."""
    x1, y1 = draw(st.integers(2, side - 8)), draw(st.integers(2, side - 8))
    return x1, y1, draw(st.integers(x1 + 6, side - 2)), draw(st.integers(y1 + 6, side - 2))


class TestAffineTransform:
    @given(TRANSFORMS, rectangles(60))
    @settings(max_examples=100)
    def test_a_box_follows_the_image(self, transform: AffineTransform, box: tuple[int, int, int, int]) -> None:
        x1, y1, x2, y2 = box
        image = np.zeros((60, 60, 3), dtype=np.uint8)
        image[y1:y2, x1:x2] = 250
        canvas = np.zeros((500, 500, 3), dtype=np.uint8)
        moved = AffineTransform(transform.scale_x, transform.scale_y, transform.shift_x + 250, transform.shift_y + 250)
        moved.warp_into(canvas, image, (0, 0, 500, 500))
        assert_allclose(measured_extent(canvas), moved.boxes(one(*box))[0], atol=1.0)

    @pytest.mark.parametrize(
        ("transform", "expected"),
        [
            (AffineTransform(1, 1, 0, 0), (1, 2, 5, 8)),
            (AffineTransform(2, 3, 10, 20), (12, 26, 20, 44)),
            (AffineTransform(-1, 1, 10, 0), (5, 2, 9, 8)),
            (AffineTransform(1, -1, 0, 10), (1, 2, 5, 8)),
            (AffineTransform(-0.5, -2, 4, 20), (1.5, 4, 3.5, 16)),
        ],
        ids=["nothing", "zoom and shift", "mirror", "upside down", "both, zoomed"],
    )
    def test_known_boxes(self, transform: AffineTransform, expected: tuple[float, ...]) -> None:
        assert_array_equal(transform.boxes(one(1, 2, 5, 8)), one(*expected))
        assert transform.boxes(np.zeros((0, 4), dtype=np.float32)).shape == (0, 4)
        assert transform.boxes(one(1, 2, 5, 8)).dtype == np.float32

    @given(TRANSFORMS, TRANSFORMS, st.lists(rectangles(60), max_size=4))
    @settings(max_examples=50)
    def test_after_is_one_after_the_other(
        self, first: AffineTransform, second: AffineTransform, rows: list[object]
    ) -> None:
        boxes = np.array(rows, dtype=np.float32).reshape(-1, 4)
        assert_allclose(second.after(first).boxes(boxes), second.boxes(first.boxes(boxes)), rtol=1e-4, atol=1e-3)

    def test_whole_pixels_are_moved_exactly(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        canvas = np.zeros((40, 50, 3), dtype=np.uint8)
        AffineTransform(1, 1, 5, 7).warp_into(canvas, image, (0, 0, 50, 40))
        assert_array_equal(canvas[7:27, 5:35], image)
        canvas[7:27, 5:35] = PAD
        assert (canvas == PAD).all()

    def test_mirroring_is_exact(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        canvas = np.zeros((20, 30, 3), dtype=np.uint8)
        AffineTransform(-1, 1, 30, 0).warp_into(canvas, image, (0, 0, 30, 20))
        assert_array_equal(canvas, image[:, ::-1])
        AffineTransform(1, -1, 0, 20).warp_into(canvas, image, (0, 0, 30, 20))
        assert_array_equal(canvas, image[::-1])

    @given(TRANSFORMS, st.tuples(*(st.integers(0, 40) for _ in range(4))))
    @settings(max_examples=50)
    def test_only_the_region_is_drawn_as_it_would_be_on_the_whole_canvas(
        self, transform: AffineTransform, corners: tuple[int, int, int, int]
    ) -> None:
        x1, x2, y1, y2 = *sorted(corners[:2]), *sorted(corners[2:])
        image = np.indices((32, 32)).sum(axis=0).astype(np.uint8)[..., None].repeat(3, axis=2) * 4
        whole, part = (np.full((40, 40, 3), 7, dtype=np.uint8) for _ in range(2))
        transform.warp_into(whole, image, (0, 0, 40, 40))
        transform.warp_into(part, image, (x1, y1, x2, y2))
        # OpenCV rounds sampling positions to 1/32 pixel, from another origin; it shows most at the image's border.
        assert_allclose(part[y1:y2, x1:x2].astype(int), whole[y1:y2, x1:x2], atol=20)
        part[y1:y2, x1:x2] = 7
        assert (part == 7).all()


class TestVisible:
    WINDOW = np.array([0, 0, 100, 100], dtype=np.float32)

    @pytest.mark.parametrize(
        ("box", "kept"),
        [
            ((10, 10, 50, 50), True),
            ((0, 0, 100, 100), True),
            ((-50, -50, 150, 150), True),
            ((-89, 10, 11, 20), True),
            ((-91, 10, 9, 20), False),
            ((10, 10, 12.5, 12.5), True),
            ((10, 10, 12, 40), False),
            ((10, 10, 40, 12), False),
            ((98.5, 10, 110, 40), False),
            ((10, 10, 90, 14.1), True),
            ((10, 10, 90, 13.9), False),
            ((10, 10, 10, 10), False),
            ((40, 40, 20, 20), False),
            ((120, 120, 150, 150), False),
            ((-30, -30, 0, 0), False),
            ((math.nan, 10, 50, 50), False),
        ],
        ids=str,
    )
    def test_which_are_kept(self, box: tuple[float, ...], kept: bool) -> None:
        _, keep = visible(one(*box), self.WINDOW)
        assert keep.tolist() == [kept]

    @given(st.lists(st.tuples(*(st.floats(-300, 300, width=32) for _ in range(4))), max_size=6), st.data())
    @settings(max_examples=50)
    def test_kept_boxes_are_within_the_window_and_of_some_size(self, rows: list[object], data: st.DataObject) -> None:
        boxes = np.array(rows, dtype=np.float32).reshape(-1, 4)
        x1, y1 = data.draw(st.floats(-50, 50, width=32)), data.draw(st.floats(-50, 50, width=32))
        window = np.array([x1, y1, x1 + 64, y1 + 48], dtype=np.float32)
        clipped, keep = visible(boxes, window)
        assert clipped.shape == boxes.shape
        assert keep.shape == (len(boxes),)
        for before, after in zip(boxes[keep], clipped[keep], strict=True):
            sides, full = after[2:] - after[:2], before[2:] - before[:2]
            assert (after[:2] >= window[:2]).all() and (after[2:] <= window[2:]).all()
            assert sides.min() > 2
            assert sides.max() < 20 * sides.min()
            assert sides.prod() > 0.099 * full.prod()
            assert_array_equal(after, np.clip(before, window[[0, 1, 0, 1]], window[[2, 3, 2, 3]]))

    def test_a_box_inside_comes_back_as_it_was(self) -> None:
        boxes = np.concatenate([one(3, 4, 50, 60), one(0.5, 0.25, 99.5, 99.75)])
        clipped, keep = visible(boxes, self.WINDOW)
        assert_array_equal(clipped, boxes)
        assert keep.all()

    def test_no_boxes(self) -> None:
        clipped, keep = visible(np.zeros((0, 4), dtype=np.float32), self.WINDOW)
        assert clipped.shape == (0, 4)
        assert keep.shape == (0,)


class TestDrawTransform:
    @given(st.integers(0, 1000), st.integers(32, 640), st.floats(32, 1280))
    @settings(max_examples=50)
    def test_without_augmentation_centre_goes_to_centre(self, seed: int, size: int, source: float) -> None:
        transform = draw_transform(size, source, STILL, np.random.default_rng(seed))
        assert (transform.scale_x, transform.scale_y) == (1, 1)
        middle = one(source / 2, source / 2, source / 2, source / 2)
        assert_allclose(transform.boxes(middle), np.full((1, 4), size / 2), rtol=1e-5)

    def test_settings_bound_what_is_drawn_and_are_used_in_full(self) -> None:
        changes = {"scale": 0.3, "aspect": 0.2, "translate": 0.25, "flip_horizontal": 0.5, "flip_vertical": 0.25}
        config = STILL.model_copy(update=changes)
        rng = np.random.default_rng(0)
        drawn = [draw_transform(100, 200, config, rng) for _ in range(3000)]
        zooms = np.array([math.sqrt(abs(t.scale_x * t.scale_y)) for t in drawn])
        ratios = np.array([abs(t.scale_x / t.scale_y) for t in drawn])
        centres = np.array([(100 * t.scale_x + t.shift_x, 100 * t.scale_y + t.shift_y) for t in drawn])
        for values, low, high in ((zooms, 0.7, 1.3), (ratios, 0.8, 1.2), (centres, 25, 75)):
            span = high - low
            assert low - 1e-9 <= values.min() < low + 0.02 * span
            assert high - 0.02 * span < values.max() <= high + 1e-9
        assert np.mean([t.scale_x < 0 for t in drawn]) == pytest.approx(0.5, abs=0.04)
        assert np.mean([t.scale_y < 0 for t in drawn]) == pytest.approx(0.25, abs=0.04)

    def test_is_a_function_of_the_generator(self) -> None:
        config = AugmentConfig()
        first, second = (draw_transform(64, 64, config, np.random.default_rng(5)) for _ in range(2))
        assert first == second != draw_transform(64, 64, config, np.random.default_rng(6))


@pytest.mark.parametrize(
    "wrong",
    [{"mosaic": 1.1}, {"flip_horizontal": -0.1}, {"scale": 1.0}, {"hue": 0.6}, {"translate": math.nan}, {"x": 1}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(EdgedetError, match=next(iter(wrong))):
        parse(AugmentConfig, wrong)


@given(TRANSFORMS)
@settings(max_examples=50)
def test_there_and_back(transform: AffineTransform) -> None:
    back = AffineTransform(
        1 / transform.scale_x,
        1 / transform.scale_y,
        -transform.shift_x / transform.scale_x,
        -transform.shift_y / transform.scale_y,
    )
    assert_allclose(back.after(transform).boxes(one(1, 2, 30, 40)), one(1, 2, 30, 40), atol=1e-3)
