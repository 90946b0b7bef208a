from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from scored_images import Scene, area, found, sample, scenes, shared_area

from edgedet.evaluate.average_precision import coco_ap
from edgedet.evaluate.coco import coco_metrics
from edgedet.evaluate.matching import match, pairwise_coverage

NAMES = ("cell", "platelet")


@settings(max_examples=60)
@given(scenes())
def test_ap_of_the_matches_is_what_the_coco_tools_compute(scene: Scene) -> None:
    matches = match(*scene, 0.5)
    objects = np.bincount(matches.object_label, minlength=len(NAMES))
    for label, one in enumerate(coco_metrics(*scene, NAMES).classes):
        ap = coco_ap(matches.hit[matches.label == label], objects[label])
        assert ap == pytest.approx(one.ap50, nan_ok=True)


@settings(max_examples=30)
@given(scenes())
def test_detections_come_best_first_and_each_finds_an_object_of_its_image_and_class_alone(scene: Scene) -> None:
    matches = match(*scene, 0.5)
    assert (np.diff(matches.score) <= 0).all()
    hit = matches.found[matches.hit]
    assert len(set(hit.tolist())) == len(hit)
    np.testing.assert_array_equal(matches.image[matches.hit], matches.object_image[hit])
    np.testing.assert_array_equal(matches.label[matches.hit], matches.object_label[hit])


def test_beyond_the_best_hundred_of_an_image_and_class_no_detection_counts() -> None:
    boxes, scores = [[0, 0, 5, 5]] * 103, np.linspace(1, 0, 103)
    matches = match([sample([[0, 0, 5, 5]], [0])], [found(boxes, scores, [0] * 101 + [1] * 2)], 0.5)
    assert np.bincount(matches.label).tolist() == [100, 2]
    assert matches.score.min() == 0


def test_of_objects_that_a_detection_overlaps_alike_it_takes_the_last_as_the_coco_tools_do() -> None:
    samples = [sample([[0, 0, 10, 8], [0, 2, 10, 10]], [0, 0])]
    detections = [found([[0, 0, 10, 10], [0, 0, 10, 6]], [0.9, 0.8], [0, 0])]
    assert match(samples, detections, 0.5).found.tolist() == [1, 0]
    assert coco_metrics(samples, detections, ["cell"]).map50 == pytest.approx(1)


def test_equal_scores_are_ranked_by_the_ids_of_their_images() -> None:
    box = [[0, 0, 10, 10]]
    matches = match([sample(box, [0], 7), sample([], [], 3)], [found(box, [0.5], [0]), found(box, [0.5], [0])], 0.5)
    assert matches.image.tolist() == [1, 0]


def test_detections_of_nothing_on_nothing() -> None:
    for matches in (match([], [], 0.5), match([sample()], [found()], 0.5)):
        assert matches.box.shape == matches.object_box.shape == (0, 4)
        assert len(matches.found) == len(matches.object_label) == 0


def test_a_box_that_is_not_finite_is_no_object() -> None:
    matches = match([sample([[0, 0, math.nan, 5], [0, 0, 5, 5]], [0, 0])], [found([[0, 0, 5, 5]], [0.5], [0])], 0.5)
    assert matches.found.tolist() == [0]
    assert matches.object_box.tolist() == [[0, 0, 5, 5]]


def test_detections_for_another_number_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        match([sample()], [found(), found()], 0.5)


@settings(max_examples=30)
@given(scenes())
def test_coverage_is_the_shared_part_of_the_first_box(scene: Scene) -> None:
    boxes, regions = scene[1][0].xyxy.astype(float), scene[0][0].boxes.astype(float)
    slow = [[shared_area(box, region) / area(box) for region in regions.tolist()] for box in boxes.tolist()]
    np.testing.assert_allclose(pairwise_coverage(boxes, regions), np.reshape(slow, (len(boxes), len(regions))))
