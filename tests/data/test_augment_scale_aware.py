"""Scale-aware AutoAugment: the zoom's frequencies, and changes that stay around their boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from edgedet.boxes import pairwise_iou
from edgedet.data.augment import scale_aware
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.augment.scale_aware import POLICY, Operation, Pair, change_objects, gaussian_sigmas
from edgedet.data.augment.scale_aware_zoom import draw_zoom

SEEDS = st.integers(0, 10_000)
NOTHING = Operation("identity", 0.0, 0)


def boxes_of(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def scene(*rows: tuple[float, ...], level: int = 100, side: int = 160) -> LabelledImage:
    image = np.full((side, side, 3), level, dtype=np.uint8)
    return LabelledImage(image, boxes_of(*rows), np.arange(len(rows)))


def only(monkeypatch: pytest.MonkeyPatch, colour: Operation = NOTHING, shape: Operation = NOTHING) -> None:
    monkeypatch.setattr(scale_aware, "POLICY", (Pair(colour, shape),))


def test_the_zoom_has_the_frequencies_of_the_policy() -> None:
    rng = np.random.default_rng(0)
    zooms = np.array([draw_zoom(rng) for _ in range(4000)])
    for zoom, share in ((1.2, 0.2), (0.5, 0.4), (1.0, 0.4)):
        assert np.mean(zooms == zoom) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    ("box", "ratio"), [((0, 0, 20, 30), 6.0), ((0, 0, 31, 33), 6.0), ((5, 5, 55, 85), 2.0), ((0, 0, 100, 150), 0.4)]
)
def test_the_gaussian_covers_the_policy_s_share_of_the_box(box: tuple[float, ...], ratio: float) -> None:
    sigma_x, sigma_y = gaussian_sigmas(boxes_of(box)[0])
    width, height = box[2] - box[0], box[3] - box[1]
    assert 2 * math.pi * sigma_x * sigma_y == pytest.approx(ratio * width * height)
    assert sigma_x / sigma_y == pytest.approx(width / height)


def test_a_change_of_colour_is_full_at_the_box_and_fades_away(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, colour=Operation("solarize_add", 1.0, 5))
    box = (55, 74, 85, 86)
    labelled = scene(box)
    result = change_objects(labelled, np.random.default_rng(0))
    added = result.image[..., 0].astype(float) - 100
    rows, columns = np.mgrid[0:160, 0:160] + 0.5
    sigma_x, sigma_y = gaussian_sigmas(labelled.boxes[0])
    expected = 55 * np.exp(-((columns - 70) ** 2) / (2 * sigma_x**2) - (rows - 80) ** 2 / (2 * sigma_y**2))
    assert_allclose(added, expected, atol=0.51)
    assert_array_equal(result.boxes, labelled.boxes)


@pytest.mark.parametrize(
    ("name", "shift"), [("translate_x", (30 * 150 / 331, 0)), ("translate_y", (0, 40 * 150 / 331))]
)
def test_a_box_follows_the_shift_of_its_object_either_way(
    monkeypatch: pytest.MonkeyPatch, name: str, shift: tuple[float, float]
) -> None:
    only(monkeypatch, shape=Operation(name, 1.0, 10))
    found = {
        tuple(change_objects(scene((35, 40, 65, 80)), np.random.default_rng(seed)).boxes[0].round(3).tolist())
        for seed in range(12)
    }
    there = {tuple((boxes_of((35, 40, 65, 80))[0] + sign * np.tile(shift, 2)).round(3).tolist()) for sign in (-1, 1)}
    assert_allclose(sorted(found), sorted(there), atol=2e-3)


@pytest.mark.parametrize(("name", "magnitude"), [("rotate", 2), ("shear_x", 6), ("flip", 0)])
def test_a_box_stays_where_its_object_is_turned_sheared_or_mirrored(
    monkeypatch: pytest.MonkeyPatch, name: str, magnitude: float
) -> None:
    only(monkeypatch, shape=Operation(name, 1.0, magnitude))
    labelled = scene((35, 40, 65, 80))
    labelled.image[40:80, 35:50] = 200
    result = change_objects(labelled, np.random.default_rng(0))
    assert (result.image != labelled.image).any()
    assert_array_equal(result.boxes, labelled.boxes)


def drawn(shape: str, width: int, height: int, side: int = 480) -> LabelledImage:
    """A white object in the middle of a black canvas."""
    x, y = (side - width) // 2, (side - height) // 2
    image = np.zeros((side, side, 3), dtype=np.uint8)
    if shape == "rectangle":
        image[y : y + height, x : x + width] = 255
    else:
        rows, columns = np.mgrid[0:side, 0:side] + 0.5
        far = ((columns - side / 2) / (width / 2)) ** 2 + ((rows - side / 2) / (height / 2)) ** 2
        image[far < 1] = 255
    return LabelledImage(image, boxes_of((x, y, x + width, y + height)), np.zeros(1, dtype=np.int64))


def around_what_is_seen(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The box around the pixels that show more of the white object than of the black canvas."""
    rows, columns = np.nonzero(image[..., 0] >= 128)
    return boxes_of((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))


@pytest.mark.parametrize("operation", [pair.shape for pair in POLICY], ids=lambda operation: operation.name)
@pytest.mark.parametrize(("width", "height"), [(28, 30), (60, 72), (88, 92), (100, 110), (150, 130)])
@pytest.mark.parametrize("shape", ["rectangle", "ellipse"])
def test_a_box_is_around_what_is_seen_of_its_object(
    monkeypatch: pytest.MonkeyPatch, shape: str, width: int, height: int, operation: Operation
) -> None:
    only(monkeypatch, shape=operation._replace(probability=1.0))
    for seed in range(4):
        result = change_objects(drawn(shape, width, height), np.random.default_rng(seed))
        assert len(result.boxes) == 1
        assert pairwise_iou(result.boxes, around_what_is_seen(result.image))[0, 0] >= 0.8


def test_a_small_or_medium_object_that_is_shifted_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, shape=Operation("translate_y", 1.0, 8))
    for width, height in ((28, 30), (60, 72), (88, 92)):
        labelled = drawn("rectangle", width, height)
        result = change_objects(labelled, np.random.default_rng(0))
        left = labelled.image[..., 0] > 0
        x1, y1, x2, y2 = np.rint(result.boxes[0]).astype(int)
        left[y1:y2, x1:x2] = False
        assert left.sum() > 0.3 * width * height
        assert result.image[left].mean() < 0.25 * 255


def test_a_flip_mirrors_what_is_in_the_middle_of_the_box(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, shape=Operation("flip", 1.0, 0))
    labelled = scene((20, 20, 140, 140))
    labelled.image[:, :78] = 0
    labelled.image[:, 82:] = 200
    row = change_objects(labelled, np.random.default_rng(0)).image[80, :, 0].astype(int)
    # At the middle the mirrored image has nearly full strength: bright left of it, dark right of it.
    assert row[76] > 190 and row[83] < 10


def test_probabilities_are_those_of_the_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, colour=Operation("solarize_add", 0.3, 10))
    labelled = scene((70, 70, 90, 90))
    rng = np.random.default_rng(0)
    changed = [bool((change_objects(labelled, rng).image != labelled.image).any()) for _ in range(500)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.06)


def test_operations_of_probability_zero_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    labelled = scene((35, 40, 65, 80), (1, 1, 9, 9))
    result = change_objects(labelled, np.random.default_rng(0))
    assert_array_equal(result.image, labelled.image)
    assert_array_equal(result.boxes, labelled.boxes)


@given(SEEDS)
@settings(max_examples=40)
def test_boxes_stay_in_the_canvas_and_the_source_as_it_was(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 50, (6, 2))
    rows = np.concatenate([low, low + rng.uniform(3, 14, (6, 2))], axis=1).astype(np.float32)
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    before = image.copy()
    result = change_objects(LabelledImage(image, rows, np.arange(6)), np.random.default_rng(seed))
    assert_array_equal(image, before)
    assert result.boxes.shape == (len(result.labels), 4)
    assert (result.boxes >= 0).all() and (result.boxes <= 64).all()


def test_an_image_without_objects_is_left_alone() -> None:
    labelled = scene()
    assert_array_equal(change_objects(labelled, np.random.default_rng(0)).image, labelled.image)
