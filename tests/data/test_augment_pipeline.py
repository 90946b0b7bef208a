from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.augment.layouts import fit
from edgedet.data.augment.pipeline import augment

PAD = 114
COLOURS = (40, 90, 160, 220)
STILL = AugmentConfig(
    mosaic=0, flip_horizontal=0, flip_vertical=0, scale=0, aspect=0, translate=0, hue=0, saturation=0, brightness=0
)
SHAPES = st.lists(st.tuples(st.integers(20, 90), st.integers(20, 90)), min_size=4, max_size=4)


def scene(height: int, width: int, level: int, label: int) -> LabelledImage:
    """A black image with one rectangle of a level of its own, and its box."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    x1, y1, x2, y2 = width // 4, height // 5, width - width // 8, height - height // 4
    image[y1:y2, x1:x2] = level
    return LabelledImage(image, np.array([[x1, y1, x2, y2]], dtype=np.float32), np.array([label]))


def loader(samples: list[LabelledImage]) -> tuple[Callable[[int], LabelledImage], list[int]]:
    """Loads of the list, and the indices that were asked for."""
    asked: list[int] = []

    def load(index: int) -> LabelledImage:
        asked.append(index)
        return samples[index]

    return load, asked


def empty(height: int, width: int) -> LabelledImage:
    image = np.full((height, width, 3), 50, dtype=np.uint8)
    return LabelledImage(image, np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64))


def test_fit_makes_the_longer_side_the_size() -> None:
    assert fit(100, 50, 320) == pytest.approx(3.2)
    assert fit(50, 640, 320) == pytest.approx(0.5)


class TestOneImage:
    def test_without_augmentation_it_is_fitted_to_the_middle(self) -> None:
        sample = scene(40, 80, 200, 3)
        result = augment(lambda _: sample, range(1), 0, 160, STILL, np.random.default_rng(0))
        assert result.image.shape == (160, 160, 3)
        assert (result.image[:39] == PAD).all() and (result.image[121:] == PAD).all()
        assert_allclose(result.boxes, [[40, 40 + 16, 140, 40 + 60]])
        assert result.labels.tolist() == [3]
        assert (result.image[40 + 18 : 40 + 58, 42:138] == 200).all()

    def test_a_square_of_the_right_size_comes_back_pixel_for_pixel(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        sample = LabelledImage(image, np.array([[1, 2, 50, 60]], dtype=np.float32), np.array([0]))
        result = augment(lambda _: sample, range(1), 0, 64, STILL, np.random.default_rng(0))
        assert_array_equal(result.image, image)
        assert_array_equal(result.boxes, sample.boxes)

    @given(st.integers(0, 10_000), st.integers(20, 90), st.integers(20, 90))
    @settings(max_examples=60)
    def test_boxes_follow_what_they_enclose(self, seed: int, height: int, width: int) -> None:
        config = STILL.model_copy(
            update={"flip_horizontal": 0.5, "flip_vertical": 0.5, "scale": 0.5, "aspect": 0.3, "translate": 0.3}
        )
        result = augment(lambda _: scene(height, width, 220, 1), 1, 0, 128, config, np.random.default_rng(seed))
        bright = result.image[..., 0] > 167
        if len(result.boxes) == 0:
            assert bright.mean() < 0.02
            return
        columns, rows = np.flatnonzero(bright.any(axis=0)), np.flatnonzero(bright.any(axis=1))
        expected = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        # Half way between the rectangle and the padding beside it lies up to a source pixel further in.
        assert_allclose(result.boxes[0], expected, atol=1 + 0.5 * 1.5 * 1.15 * 128 / max(height, width))


class TestMosaic:
    MOSAIC = STILL.model_copy(update={"mosaic": 1.0})

    @given(st.integers(0, 10_000), SHAPES, st.floats(0, 0.5), st.floats(0, 0.7))
    @settings(max_examples=50)
    def test_boxes_of_every_tile_enclose_its_rectangle(
        self, seed: int, shapes: list[tuple[int, int]], scale: float, translate: float
    ) -> None:
        self.check(seed, shapes, scale, translate)

    @pytest.mark.parametrize("seed", range(40))
    def test_the_same_where_the_edge_of_the_canvas_is_in_sight(self, seed: int) -> None:
        self.check(seed, [(60, 60)] * 4, 0.5, 0.7)

    def check(self, seed: int, shapes: list[tuple[int, int]], scale: float, translate: float) -> None:
        changes = {"scale": scale, "translate": translate, "flip_horizontal": 0.5, "flip_vertical": 0.5}
        config = self.MOSAIC.model_copy(update=changes)
        pairs = zip(shapes, COLOURS, strict=True)
        load, _ = loader([scene(*shape, level, label) for label, (shape, level) in enumerate(pairs)])
        result = augment(load, range(4), 0, 128, config, np.random.default_rng(seed))
        assert result.image.shape == (128, 128, 3)
        covered = np.zeros((128, 128), dtype=bool)
        for (x1, y1, x2, y2), label in zip(result.boxes, result.labels, strict=True):
            inner = result.image[int(y1 + 0.999) + 6 : max(int(y2) - 6, 0), int(x1 + 0.999) + 6 : max(int(x2) - 6, 0)]
            assert (inner == COLOURS[label]).all()
            covered[max(int(y1) - 4, 0) : int(y2) + 5, max(int(x1) - 4, 0) : int(x2) + 5] = True
        for colour in COLOURS:
            # What is left of a rectangle without a box is a small part of it, or a strip.
            uncovered = (result.image[..., 0] == colour) & ~covered
            assert uncovered.sum() < 0.11 * 192 * 192

    @pytest.mark.parametrize("seed", range(6))
    def test_flipping_mirrors_the_whole(self, seed: int) -> None:
        samples = [scene(64, 50, level, label) for label, level in enumerate(COLOURS)]
        plain, mirrored, upside_down = (
            augment(samples.__getitem__, range(4), 0, 128, config, np.random.default_rng(seed))
            for config in (
                self.MOSAIC.model_copy(update={"scale": 0.4}),
                self.MOSAIC.model_copy(update={"scale": 0.4, "flip_horizontal": 1.0}),
                self.MOSAIC.model_copy(update={"scale": 0.4, "flip_vertical": 1.0}),
            )
        )
        for flipped, expected, boxes in (
            (mirrored, plain.image[:, ::-1], plain.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [128, 0, 128, 0]),
            (upside_down, plain.image[::-1], plain.boxes[:, [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, 128, 0, 128]),
        ):
            assert np.median(np.abs(flipped.image.astype(int) - expected)) == 0
            assert np.abs(flipped.image.astype(int) - expected).mean() < 3
            assert_allclose(flipped.boxes, boxes, atol=1e-3)

    @pytest.mark.parametrize("seed", range(6))
    def test_tiles_meet_in_a_point(self, seed: int) -> None:
        colours = iter(COLOURS)

        def load(_: int) -> LabelledImage:
            return LabelledImage(np.full((64, 64, 3), next(colours), np.uint8), empty(1, 1).boxes, empty(1, 1).labels)

        image = augment(load, range(4), 0, 64, self.MOSAIC, np.random.default_rng(seed)).image[..., 0]
        column, row = (image[0] == COLOURS[0]).sum(), (image[:, 0] == COLOURS[0]).sum()
        assert 0 < column < 64 and 0 < row < 64
        expected = np.empty((64, 64), dtype=np.uint8)
        expected[:row, :column], expected[:row, column:] = COLOURS[:2]
        expected[row:, :column], expected[row:, column:] = COLOURS[2:]
        # A tile's outermost pixels are blurred with the padding, where it is shifted by a part of a pixel.
        assert (image != expected).sum() <= 4 * 64
        expected[max(row - 1, 0) : row + 1], expected[:, max(column - 1, 0) : column + 1] = PAD, PAD
        assert (image[expected != PAD] == expected[expected != PAD]).all()

    def test_is_made_of_the_sample_and_three_others(self) -> None:
        load, asked = loader([empty(50, 50)] * 20)
        augment(load, range(20), 7, 64, self.MOSAIC, np.random.default_rng(0))
        assert asked[0] == 7
        assert len(asked) == 4
        assert all(0 <= index < 20 for index in asked)

    def test_partners_are_drawn_from_all_samples(self) -> None:
        load, asked = loader([empty(20, 20)] * 5)
        for seed in range(30):
            augment(load, range(5), 0, 32, self.MOSAIC, np.random.default_rng(seed))
        assert set(asked) == set(range(5))

    def test_a_share_of_the_images_are_mosaics(self) -> None:
        load, asked = loader([empty(20, 20)])
        config = STILL.model_copy(update={"mosaic": 0.25})
        rng = np.random.default_rng(0)
        for _ in range(400):
            augment(load, range(1), 0, 32, config, rng)
        assert (len(asked) - 400) / 3 / 400 == pytest.approx(0.25, abs=0.06)

    def test_the_sample_alone_is_its_own_partner(self) -> None:
        sample = scene(60, 60, 200, 2)
        result = augment(lambda _: sample, range(1), 0, 64, self.MOSAIC, np.random.default_rng(3))
        assert set(result.labels.tolist()) <= {2}


class TestAny:
    @given(st.integers(0, 10_000), st.sampled_from([32, 64, 96]), st.booleans())
    @settings(max_examples=40)
    def test_a_result_has_its_size_and_boxes_inside(self, seed: int, size: int, mosaic: bool) -> None:
        config = AugmentConfig(mosaic=float(mosaic), flip_vertical=0.5, aspect=0.5, scale=0.9, translate=0.9, hue=0.5)
        samples = [scene(300, 20, 60, 0), scene(20, 300, 120, 1), empty(1, 1), scene(64, 64, 250, 2)]
        result = augment(samples.__getitem__, range(4), seed % 4, size, config, np.random.default_rng(seed))
        assert result.image.shape == (size, size, 3)
        assert result.image.dtype == np.uint8
        assert result.boxes.dtype == np.float32
        assert result.boxes.shape == (len(result.labels), 4)
        assert (result.boxes >= 0).all() and (result.boxes <= size).all()
        assert (result.boxes[:, 2:] - result.boxes[:, :2] > 2).all()

    @pytest.mark.parametrize("mosaic", [0.0, 1.0])
    def test_an_image_without_objects_is_background(self, mosaic: float) -> None:
        config = AugmentConfig(mosaic=mosaic)
        result = augment(lambda _: empty(30, 40), range(9), 0, 64, config, np.random.default_rng(0))
        assert result.boxes.shape == (0, 4)
        assert result.labels.shape == (0,)

    @pytest.mark.parametrize("mosaic", [0.0, 1.0])
    def test_loaded_images_may_be_used_again(self, mosaic: float) -> None:
        samples = [scene(64, 64, 200, 0), scene(32, 64, 100, 1)]
        before = [(sample.image.copy(), sample.boxes.copy()) for sample in samples]
        for seed in range(10):
            augment(samples.__getitem__, range(2), 0, 64, AugmentConfig(mosaic=mosaic), np.random.default_rng(seed))
        for sample, (image, boxes) in zip(samples, before, strict=True):
            assert_array_equal(sample.image, image)
            assert_array_equal(sample.boxes, boxes)

    @pytest.mark.parametrize("mosaic", [0.0, 0.5, 1.0])
    def test_is_a_function_of_the_generator(self, mosaic: float) -> None:
        samples = [scene(64, 50, level, label) for label, level in enumerate(COLOURS)]

        def run(seed: int) -> LabelledImage:
            config = AugmentConfig(mosaic=mosaic)
            return augment(samples.__getitem__, range(4), 1, 64, config, np.random.default_rng(seed))

        first, second, other = run(1), run(1), run(2)
        for name in ("image", "boxes", "labels"):
            assert_array_equal(getattr(first, name), getattr(second, name))
        assert (first.image != other.image).any()
