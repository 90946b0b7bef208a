"""Weak and strong views: what is found in one is found in the other, by their matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.geometric import visible
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.augment.views import STRONG, WEAK, weak_and_strong

SEEDS = st.integers(0, 10_000)
STILL = WEAK.of_single_images().model_copy(update={"scale": 0.0, "flip_horizontal": 0.0})


def scene() -> LabelledImage:
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[20:45, 30:62] = 240
    return LabelledImage(image, np.array([[30, 20, 62, 45]], dtype=np.float32), np.array([2]))


@given(SEEDS)
@settings(max_examples=40)
def test_the_matrices_lead_from_one_view_s_boxes_to_the_other_s(seed: int) -> None:
    source = scene()
    weak, strong = weak_and_strong(source, 96, np.random.default_rng(seed))
    assert_allclose(weak.transform.matrix[[0, 1], [1, 0]], 0)
    in_weak = weak.transform.boxes(source.boxes)
    to_strong = strong.transform.after(weak.transform.inverse())
    assert_allclose(to_strong.matrix, strong.transform.matrix @ np.linalg.inv(weak.transform.matrix), atol=1e-9)
    shown, keep = visible(to_strong.boxes(in_weak), np.array([0, 0, 96, 96], dtype=np.float32))
    if len(strong.labelled.boxes):
        assert_allclose(shown, strong.labelled.boxes, atol=1e-3)
    else:
        assert not keep.any()


@given(SEEDS)
@settings(max_examples=40)
def test_a_view_shows_the_object_where_its_matrix_says(seed: int) -> None:
    strong = [config.model_copy(update={"colour_operation": 0.0, "cutout": 0.0}) for config in STRONG]
    for view in weak_and_strong(scene(), 96, np.random.default_rng(seed), strong=strong):
        rows, columns = np.mgrid[0:96, 0:96] + 0.5
        x, y = (view.transform.inverse().matrix @ np.stack([columns.ravel(), rows.ravel(), np.ones(96 * 96)]))[:2]
        # Strong views enlarge little: two pixels of the source are enough of a margin for the blur.
        inside = ((x > 32) & (x < 60) & (y > 22) & (y < 43)).reshape(96, 96)
        beside = ((x > 2) & (x < 28) & (y > 2) & (y < 58)).reshape(96, 96)
        assert (view.labelled.image[inside] > 230).all()
        assert (view.labelled.image[beside] < 10).all()


def test_views_without_changes_are_the_fitted_image() -> None:
    weak, strong = weak_and_strong(scene(), 80, np.random.default_rng(0), weak=STILL, strong=[STILL])
    assert_array_equal(weak.labelled.image, strong.labelled.image)
    assert_allclose(weak.transform.matrix, [[1, 0, 0], [0, 1, 10], [0, 0, 1]])
    assert_array_equal(weak.labelled.image[10:70], scene().image)


def test_joining_images_plays_no_part() -> None:
    joining = STILL.model_copy(update={"mosaic": 1.0, "split": 1.0, "mixup": 1.0, "cutmix": 1.0})
    weak, strong = weak_and_strong(scene(), 80, np.random.default_rng(0), weak=STILL, strong=[joining])
    assert_array_equal(strong.labelled.image, weak.labelled.image)


def test_the_strong_view_changes_more_than_the_weak() -> None:
    changes = {"weak": 0.0, "strong": 0.0}
    for seed in range(20):
        views = weak_and_strong(scene(), 80, np.random.default_rng(seed))
        for name, view in zip(changes, views, strict=True):
            changes[name] += abs(view.transform.shear_x) + abs(view.transform.shear_y)
    assert changes["weak"] == 0 < changes["strong"]


def test_the_strong_view_is_shifted_or_turned_or_sheared() -> None:
    moves, rng = [], np.random.default_rng(0)
    for _ in range(600):
        _, strong = weak_and_strong(scene(), 96, rng)
        matrix = strong.transform.matrix
        middle = matrix @ (40, 30, 1)
        moved = {
            "shifted": np.abs(middle[:2] - 48).max() > 1e-6,
            "turned": abs(matrix[1, 0]) > 1e-6 and abs(matrix[:2, 0] @ matrix[:2, 1]) < 1e-6,
            "sheared": abs(matrix[:2, 0] @ matrix[:2, 1]) > 1e-6,
        }
        assert sum(moved.values()) == 1
        assert np.abs(middle[:2] - 48).max() <= 0.1 * 96
        moves += [name for name, yes in moved.items() if yes]
    for name in ("shifted", "turned", "sheared"):
        assert moves.count(name) / len(moves) == pytest.approx(1 / 3, abs=0.06)


def test_an_unlabelled_image_has_views_without_boxes() -> None:
    unlabelled = LabelledImage(scene().image, np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64))
    for view in weak_and_strong(unlabelled, 64, np.random.default_rng(0), strong=[AugmentConfig(mosaic=0)]):
        assert view.labelled.boxes.shape == (0, 4)
        assert view.labelled.image.shape == (64, 64, 3)
