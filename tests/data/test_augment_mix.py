"""Mixup, CutMix and splits: which image shows where, and which objects are left of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.augment.mix import cutmix, draw_rectangle, mixup, uncovered
from edgedet.data.augment.pipeline import augment, draw_sources
from edgedet.data.augment.split import long_enough, split_regions

STILL = AugmentConfig(mosaic=0, flip_horizontal=0, scale=0, translate=0, hue=0, saturation=0, brightness=0)
SEEDS = st.integers(0, 10_000)


def boxes_of(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def plain(level: int, *rows: tuple[float, ...], label: int = 0, side: int = 64) -> LabelledImage:
    image = np.full((side, side, 3), level, dtype=np.uint8)
    return LabelledImage(image, boxes_of(*rows), np.full(len(rows), label))


def noise(seed: int) -> LabelledImage:
    image = np.random.default_rng(seed).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    return LabelledImage(image, boxes_of((2, 3, 30, 40), (10, 10, 20, 20)), np.array([1, 0]))


class TestMixup:
    @given(SEEDS, st.floats(0.1, 8))
    @settings(max_examples=50)
    def test_an_image_with_itself_is_the_image(self, seed: int, alpha: float) -> None:
        image = noise(seed)
        mixed = mixup(image, image, alpha, np.random.default_rng(seed))
        assert_array_equal(mixed.image, image.image)
        assert mixed.weights is not None
        assert_allclose(mixed.weights[:2] + mixed.weights[2:], 1, rtol=1e-6)

    @given(SEEDS)
    @settings(max_examples=50)
    def test_pixels_and_objects_are_weighted_alike(self, seed: int) -> None:
        first, second = plain(200, (1, 2, 30, 40), label=3), plain(0, (5, 5, 25, 25), (8, 8, 20, 30), label=1)
        mixed = mixup(first, second, 1.0, np.random.default_rng(seed))
        assert mixed.weights is not None and mixed.weights.dtype == np.float32
        share = mixed.image[0, 0, 0] / 200
        assert_allclose(mixed.weights, [share, 1 - share, 1 - share], atol=0.5 / 200 + 1e-6)
        assert_array_equal(mixed.boxes, np.concatenate([first.boxes, second.boxes]))
        assert mixed.labels.tolist() == [3, 1, 1]

    @pytest.mark.parametrize(("alpha", "variance"), [(1.0, 1 / 12), (8.0, 1 / 68)])
    def test_the_share_has_the_variance_of_its_beta_distribution(self, alpha: float, variance: float) -> None:
        rng = np.random.default_rng(0)
        one, none = plain(0, (0, 0, 2, 2), side=2), plain(0, side=2)
        shares = [float(mixup(one, none, alpha, rng).weights[0]) for _ in range(2000)]  # type: ignore[index]
        assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
        assert np.var(shares) == pytest.approx(variance, rel=0.1)


class TestCutMix:
    @given(SEEDS)
    @settings(max_examples=50)
    def test_the_rectangle_shows_the_second_image_and_the_rest_the_first(self, seed: int) -> None:
        mixed = cutmix(plain(10), plain(200), 0.3, np.random.default_rng(seed)).image[..., 0]
        x1, y1, x2, y2 = draw_rectangle(64, 64, np.random.default_rng(seed))
        expected = np.full((64, 64), 10)
        expected[y1:y2, x1:x2] = 200
        assert_array_equal(mixed, expected)

    @given(SEEDS, st.floats(0, 0.9))
    @settings(max_examples=80)
    def test_what_is_labelled_is_in_sight(self, seed: int, min_visible: float) -> None:
        rng = np.random.default_rng(seed)
        corners = np.sort(rng.uniform(0, 64, (2, 8, 2, 2)), axis=2).reshape(2, 8, 4).astype(np.float32)
        first, second = (
            LabelledImage(np.full((64, 64, 3), level, np.uint8), corners[label], np.full(8, label))
            for label, level in enumerate((10, 200))
        )
        mixed = cutmix(first, second, min_visible, np.random.default_rng(seed))
        assert (mixed.boxes >= 0).all() and (mixed.boxes <= 64).all()
        assert (mixed.boxes[:, 2:] - mixed.boxes[:, :2] > 2).all()
        assert mixed.weights is None
        for box, label in zip(mixed.boxes, mixed.labels, strict=True):
            x1, y1, x2, y2 = np.rint(box).astype(int)
            inside = mixed.image[y1:y2, x1:x2, 0] == (10, 200)[label]
            # Of the first image's objects, a box may also hold a part of the rectangle: as much as may be hidden.
            assert inside.all() if label == 1 else inside.mean() > min_visible - 0.25

    def test_the_size_of_the_rectangle_is_uniform_in_area(self) -> None:
        rng = np.random.default_rng(0)
        sides = np.array([draw_rectangle(1000, 500, rng) for _ in range(3000)])
        uncut = (sides[:, 0] > 0) & (sides[:, 2] < 500) & (sides[:, 1] > 0) & (sides[:, 3] < 1000)
        width, height = sides[uncut, 2] - sides[uncut, 0], sides[uncut, 3] - sides[uncut, 1]
        assert_allclose(height, 2 * width, atol=3)
        assert (sides >= 0).all() and (sides <= [500, 1000, 500, 1000]).all()
        middles = (sides[uncut][:, [0, 1]] + sides[uncut][:, [2, 3]]) / 2
        assert middles[:, 0].max() > 450 and middles[:, 0].min() < 50
        # The side is the root of a uniform area, its density 2s; it lies in the image with probability (1 - s)^2.
        # So the mean over those inside is B(3, 3) / B(2, 3).
        assert np.mean(width / 500) == pytest.approx(0.4, abs=0.02)

    @pytest.mark.parametrize(
        ("rectangle", "left", "share"),
        [
            ((50, 50, 60, 60), (10, 10, 30, 20), 1.0),
            ((0, 0, 20, 40), (20, 10, 30, 20), 0.5),
            ((25, 0, 40, 40), (10, 10, 25, 20), 0.75),
            ((0, 0, 40, 15), (10, 15, 30, 20), 0.5),
            ((0, 18, 40, 40), (10, 10, 30, 18), 0.8),
            ((0, 0, 20, 15), (10, 10, 30, 20), 0.75),
            ((15, 0, 20, 40), (10, 10, 30, 20), 0.75),
            ((0, 0, 40, 40), (10, 10, 30, 20), 0.0),
        ],
        ids=["beside", "left", "right", "top", "bottom", "a corner", "the middle", "all"],
    )
    def test_what_a_rectangle_leaves_of_a_box(
        self, rectangle: tuple[float, ...], left: tuple[float, ...], share: float
    ) -> None:
        left_over, shares = uncovered(boxes_of((10, 10, 30, 20)), boxes_of(rectangle)[0])
        assert_array_equal(left_over, boxes_of(left))
        assert_allclose(shares, [share], atol=1e-6)


class TestSplit:
    @staticmethod
    def drawn_until_the_line(seed: int) -> np.random.Generator:
        rng = np.random.default_rng(seed)
        draw_sources(range(2), 0, STILL.model_copy(update={"split": 1.0}), rng)
        return rng

    @given(SEEDS, st.integers(32, 640))
    @settings(max_examples=60)
    def test_two_parts_tile_the_square_and_meet_in_its_middle_half(self, seed: int, size: int) -> None:
        shown = np.zeros((size, size), dtype=int)
        regions = split_regions(size, np.random.default_rng(seed))
        for x1, y1, x2, y2 in regions:
            shown[y1:y2, x1:x2] += 1
        assert (shown == 1).all()
        (_, _, x2, y2), _ = regions
        assert 0.25 * size - 0.5 <= min(x2, y2) <= 0.75 * size + 0.5

    def test_both_directions_occur_equally_often(self) -> None:
        rng = np.random.default_rng(0)
        beside = [split_regions(100, rng)[0][3] == 100 for _ in range(1000)]
        assert np.mean(beside) == pytest.approx(0.5, abs=0.05)

    def test_boxes_keep_more_than_a_quarter_of_both_sides(self) -> None:
        whole = boxes_of(*[(0, 0, 40, 40)] * 4)
        cropped = boxes_of((0, 0, 11, 40), (0, 0, 10, 40), (0, 29, 40, 40), (30, 0, 40, 9))
        assert long_enough(cropped, whole).tolist() == [True, False, True, False]

    @given(SEEDS)
    @settings(max_examples=60)
    def test_a_box_of_which_less_than_a_quarter_is_left_is_dropped(self, seed: int) -> None:
        samples = [plain(100, (10, 10, 60, 60), label=0), plain(200, (4, 4, 54, 54), label=1)]
        order = iter(samples)
        config = STILL.model_copy(update={"split": 1.0})
        result = augment(lambda _: next(order), range(2), 0, 64, config, np.random.default_rng(seed))
        regions = split_regions(64, self.drawn_until_the_line(seed))
        left = [
            min(min(x2, box[2]) - max(x1, box[0]), min(y2, box[3]) - max(y1, box[1]))
            for (x1, y1, x2, y2), box in zip(regions, (sample.boxes[0] for sample in samples), strict=True)
        ]
        assert result.labels.tolist() == [label for label, side in enumerate(left) if side > 12.5]

    @given(SEEDS)
    @settings(max_examples=40)
    def test_each_part_shows_its_image_and_boxes(self, seed: int) -> None:
        samples = [plain(100, (0, 0, 64, 64), label=0), plain(200, (0, 0, 64, 64), label=1)]
        order = iter(samples)
        config = STILL.model_copy(update={"split": 1.0})
        result = augment(lambda _: next(order), range(2), 0, 64, config, np.random.default_rng(seed))
        for box, label in zip(result.boxes, result.labels, strict=True):
            x1, y1, x2, y2 = box.astype(int)
            assert (result.image[y1:y2, x1:x2] == (100, 200)[label]).all()
            assert (x2 - x1) * (y2 - y1) == (result.image[..., 0] == (100, 200)[label]).sum()
        widths = [min(x2 - x1, y2 - y1) for x1, y1, x2, y2 in split_regions(64, self.drawn_until_the_line(seed))]
        assert result.labels.tolist() == [label for label, width in enumerate(widths) if width > 16]
