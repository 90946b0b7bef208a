"""What training leaves out, and the one line that says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade_datasets import write_image
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.data.clean import trainable
from edgedet.data.find import read_dataset, split_of
from edgedet.data.sample import Sample

NAN, INF = float("nan"), float("inf")


def sample(image: Path, boxes: list[list[float]], **changes: object) -> Sample:
    count = len(boxes)
    values: dict = {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "labels": np.arange(count, dtype=np.int64),
        "ignore": np.zeros(count, np.bool_),
        "origins": tuple(f"box {index}" for index in range(count)),
    }
    return Sample(image=image, image_id=0, **{**values, **changes})


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image(tmp_path_factory.mktemp("images") / "a.jpg")


def test_sound_samples_pass_without_a_word(image: Path) -> None:
    (kept,), summary = trainable([sample(image, [[0, 0, 80, 60], [10, 10, 20, 20]])])
    assert summary is None
    assert kept.boxes.tolist() == [[0, 0, 80, 60], [10, 10, 20, 20]]
    assert kept.size == (60, 80)


def test_bad_boxes_go_with_everything_that_belongs_to_them(image: Path) -> None:
    boxes = [[5, 5, 5, 9], [NAN, 0, 5, 5], [0, 0, INF, 5], [90, 5, 99, 9], [9, 9, 5, 5], [-5, 50, 10, 70]]
    areas = np.arange(6, dtype=np.float32)
    ignore = np.array([False] * 5 + [True])
    (kept,), summary = trainable([sample(image, boxes, areas=areas, ignore=ignore)])
    assert kept.boxes.tolist() == [[0, 50, 10, 60]]
    assert kept.boxes.dtype == np.float32
    assert kept.labels.tolist() == [5]
    assert kept.ignore.tolist() == [True]
    assert kept.origins == ("box 5",)
    assert kept.areas is not None
    assert kept.areas.tolist() == [5]
    assert summary == (
        "left out 2 boxes with infinite coordinates, 2 boxes without area, 1 box outside its image "
        "(`edgedet data check` names them)"
    )


def test_a_sample_that_loses_all_boxes_is_background(image: Path) -> None:
    (kept,), _ = trainable([sample(image, [[5, 5, 5, 9]])])
    assert kept.boxes.shape == (0, 4)


def test_an_empty_sample_stays(image: Path) -> None:
    (kept,), summary = trainable([sample(image, [])])
    assert kept.boxes.shape == (0, 4)
    assert summary is None


def test_images_that_cannot_be_read_are_counted(image: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(image.read_bytes()[:-100])
    samples = [sample(broken, []), sample(tmp_path / "missing.jpg", []), sample(image, [])]
    kept, summary = trainable(samples)
    assert [item.image for item in kept] == [image]
    assert summary is not None
    assert summary.startswith("left out 2 images that cannot be read (")


def test_boxes_are_clipped_to_the_file_not_to_what_the_annotation_states(image: Path) -> None:
    (kept,), _ = trainable([sample(image, [[0, 0, 200, 200]], size=(300, 300))])
    assert kept.boxes.tolist() == [[0, 0, 80, 60]]
    assert kept.size == (60, 80)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.floats(width=32), min_size=4, max_size=4), max_size=5))
def test_whatever_is_kept_can_be_learned(image: Path, boxes: list[list[float]]) -> None:
    original = sample(image, boxes)
    before = original.boxes.copy()
    (kept,), summary = trainable([original])
    x1, y1, x2, y2 = kept.boxes.T
    assert (x1 >= 0).all() and (x1 < x2).all() and (x2 <= 80).all()
    assert (y1 >= 0).all() and (y1 < y2).all() and (y2 <= 60).all()
    assert (summary is None) == (len(kept.boxes) == len(boxes))
    assert np.array_equal(before, original.boxes, equal_nan=True)


def test_bccd(bccd: Path) -> None:
    samples, summary = trainable(split_of(read_dataset(bccd), "train"))
    assert len(samples) == 205
    assert summary == "left out 1 box without area (`edgedet data check` names them)"
