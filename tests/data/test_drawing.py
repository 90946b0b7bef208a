"""Boxes with captions, and contact sheets of them."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from handmade_datasets import write_image
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from edgedet.data.draw import MUTED, class_colour, draw_boxes, readable_on, text_size
from edgedet.data.sample import Sample
from edgedet.data.sheet import contact_sheet, save_sheet, spread
from edgedet.errors import EdgedetError

NAMES = tuple(f"class {label}" for label in range(10))
GREY = np.full((240, 320, 3), 128, np.uint8)


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def labels(count: int, label: int = 0) -> np.ndarray:
    return np.full(count, label, np.int64)


def is_colour(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (image == np.array(colour, np.uint8)).all(axis=2)


class TestBoxes:
    def test_the_source_stays_as_it_is(self) -> None:
        source = GREY.copy()
        drawn = draw_boxes(source, boxes([10, 50, 100, 100]), labels(1), NAMES)
        assert np.array_equal(source, GREY)
        assert drawn.shape == source.shape
        assert drawn.dtype == np.uint8
        assert not np.array_equal(drawn, source)

    def test_no_boxes_change_nothing(self) -> None:
        assert np.array_equal(draw_boxes(GREY, boxes(), labels(0), NAMES), GREY)

    def test_the_outline_is_where_the_box_is(self) -> None:
        drawn = draw_boxes(GREY, boxes([40, 80, 200, 180]), labels(1, 3), NAMES)
        mask = is_colour(drawn, class_colour(3))
        assert mask[130, 40] and mask[130, 200] and mask[80, 120] and mask[180, 120]
        assert np.array_equal(drawn[90:170, 50:190], GREY[90:170, 50:190])
        assert np.array_equal(drawn[190:], GREY[190:])

    def test_the_caption_says_name_and_score(self) -> None:
        one = draw_boxes(GREY, boxes([40, 80, 200, 180]), labels(1), NAMES, scores=np.array([0.87]))
        other = draw_boxes(GREY, boxes([40, 80, 200, 180]), labels(1), NAMES, scores=np.array([0.12]))
        without = draw_boxes(GREY, boxes([40, 80, 200, 180]), labels(1), NAMES)
        assert not np.array_equal(one, other)
        assert is_colour(one, class_colour(0)).sum() > is_colour(without, class_colour(0)).sum()

    def test_small_objects_stay_visible_below_all_captions(self) -> None:
        """Thirty crowded boxes: what is inside the small one is not painted over."""
        rng = np.random.default_rng(0)
        for _ in range(10):
            corners = rng.uniform([20, 40], [200, 160], (8, 2))
            large = np.hstack([corners, corners + rng.uniform(60, 110, (8, 2))])
            x, y = rng.uniform(40, 260), rng.uniform(40, 190)
            small = boxes([x, y, x + 14, y + 12])
            names = ("large thing", "s")
            drawn = draw_boxes(GREY, np.vstack([large, small]), np.array([0] * 8 + [1]), names)
            inside = drawn[int(y) + 4 : int(y) + 9, int(x) + 4 : int(x) + 11]
            text_or_chip = is_colour(inside, class_colour(0)) | is_colour(inside, class_colour(1))
            assert text_or_chip.mean() < 0.5

    @pytest.mark.parametrize(
        "box", [[-500, -500, 900, 900], [310, 230, 320, 240], [0, 0, 5, 5], [315, 0, 320, 3], [0, 235, 9, 240]]
    )
    def test_captions_stay_inside(self, box: list[float]) -> None:
        """The same caption as in the middle of the image is there in full, whatever the box."""
        middle = draw_boxes(GREY, boxes([100, 100, 200, 200]), labels(1, 1), NAMES)
        height, width = text_size(NAMES[1], 0.38)
        drawn = draw_boxes(GREY, boxes(box), labels(1, 1), NAMES)
        dark = readable_on(class_colour(1))
        assert is_colour(drawn, dark).sum() >= 0.9 * is_colour(middle, dark).sum() > 0
        assert is_colour(drawn, class_colour(1)).sum() > 0.5 * height * width

    def test_muted_boxes_are_thin_and_grey(self) -> None:
        drawn = draw_boxes(GREY, boxes([40, 80, 200, 180]), labels(1, 2), NAMES, muted=np.array([True]))
        assert not is_colour(drawn, class_colour(2)).any()
        assert is_colour(drawn, MUTED).any()

    def test_a_class_without_name(self) -> None:
        draw_boxes(GREY, boxes([40, 80, 200, 180]), labels(1, 99), NAMES)

    def test_a_view_that_is_not_contiguous(self) -> None:
        drawn = draw_boxes(GREY[::-1, ::-1], boxes([40, 80, 200, 180]), labels(1), NAMES)
        assert drawn.shape == GREY.shape

    @settings(max_examples=100, deadline=None)
    @given(
        shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
        rows=st_numpy.arrays(np.float32, st.tuples(st.integers(0, 6), st.just(4)), elements=st.floats(width=32)),
    )
    def test_anything_can_be_drawn(self, shape: tuple[int, int], rows: np.ndarray) -> None:
        image = np.zeros((*shape, 3), np.uint8)
        drawn = draw_boxes(image, rows, labels(len(rows)), NAMES, scores=np.zeros(len(rows)))
        assert drawn.shape == image.shape
        if not np.isfinite(rows).all(axis=1).any():
            assert np.array_equal(drawn, image)


class TestColours:
    def test_the_first_twenty_are_far_apart(self) -> None:
        """In CIELAB, where 2.3 is just noticeable."""
        colours = np.array([class_colour(label) for label in range(20)], np.uint8)[None]
        lab = cv2.cvtColor(colours.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[0]
        distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)]
        assert min(distances) > 25

    def test_all_are_colours_and_rarely_the_same(self) -> None:
        colours = [class_colour(label) for label in range(200)]
        assert len(set(colours)) >= 190
        assert all(0 <= value <= 255 for colour in colours for value in colour)

    def test_text_on_a_colour_is_readable(self) -> None:
        assert readable_on((255, 255, 255)) != readable_on((0, 0, 0))


def sample(path: Path, *rows: list[float], ignore: bool = False) -> Sample:
    count = len(rows)
    return Sample(path, 0, boxes(*rows), labels(count), np.full(count, ignore))


class TestSheets:
    def test_images_of_any_size_and_broken_ones(self, tmp_path: Path) -> None:
        (tmp_path / "broken.jpg").write_text("no image")
        samples = [
            sample(write_image(tmp_path / "tiny.png", width=3, height=2), [0, 0, 2, 2]),
            sample(write_image(tmp_path / "wide.jpg", width=4000, height=50), [10, 10, 3000, 40]),
            sample(write_image(tmp_path / "tall.jpg", width=30, height=3000)),
            sample(tmp_path / "broken.jpg", [0, 0, 2, 2]),
            sample(tmp_path / "missing.jpg"),
            sample(write_image(tmp_path / "a.jpg"), [float("nan"), 0, 5, 5], [5, 5, 20, 30], ignore=True),
        ]
        sheet = contact_sheet(samples, NAMES, title="a title " * 50)
        assert sheet.dtype == np.uint8
        assert sheet.shape[2] == 3
        assert sheet.shape[0] < 3000
        assert sheet.shape[1] < 3000
        assert is_colour(sheet, class_colour(0)).any()

    def test_every_image_is_on_it(self, tmp_path: Path) -> None:
        """Each of seven plain images of its own grey covers a part of the sheet."""
        samples = []
        for index in range(7):
            path = tmp_path / f"{index}.png"
            cv2.imwrite(str(path), np.full((60, 80, 3), 100 + 10 * index, np.uint8))
            samples.append(sample(path))
        sheet = contact_sheet(samples, NAMES, title="")
        assert [is_colour(sheet, (100 + 10 * i,) * 3).sum() > 10_000 for i in range(7)] == [True] * 7

    def test_many_classes(self, tmp_path: Path) -> None:
        path = write_image(tmp_path / "a.jpg")
        names = tuple(f"a rather long class name {label}" for label in range(100))
        many = Sample(path, 0, np.tile(boxes([5, 5, 20, 30]), (100, 1)), np.arange(100), np.zeros(100, np.bool_))
        assert contact_sheet([many], names, title="x").shape[0] < 3000

    @pytest.mark.parametrize("count", [0, 201])
    def test_too_few_and_too_many(self, count: int, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match="1 to 200"):
            contact_sheet([sample(tmp_path / "a.jpg")] * count, NAMES, title="")

    @pytest.mark.parametrize(("count", "expected"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (99, list(range(10)))])
    def test_samples_are_spread_evenly(self, count: int, expected: list[int], tmp_path: Path) -> None:
        samples = [sample(tmp_path / f"{index}") for index in range(10)]
        assert [int(chosen.image.name) for chosen in spread(samples, count)] == expected

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".PNG"])
    def test_saving(self, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / f"new/sheet{suffix}"
        save_sheet(GREY, path)
        assert cv2.imread(str(path)).shape == GREY.shape

    @pytest.mark.parametrize("name", ["sheet", "sheet.pdf", "sheet.py"])
    def test_a_format_that_is_none(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match=r"name it \.png"):
            save_sheet(GREY, tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    def test_a_picture_too_large_for_its_format(self, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match="cannot be encoded"):
            save_sheet(np.zeros((20_000, 8, 3), np.uint8), tmp_path / "sheet.webp")
