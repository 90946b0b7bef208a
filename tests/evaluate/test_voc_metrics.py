from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from handmade_datasets import write_voc
from hypothesis import given, settings
from scored_images import Scene, found, iou, ranked, sample, scenes

from edgedet.data.find import read_dataset
from edgedet.evaluate.voc import voc_metrics

BOX, OTHER = [0, 0, 10, 10], [50, 50, 70, 70]


def slow_ap(scene: Scene, label: int) -> tuple[float, float]:
    """AP of one class by 11 and by all points: the development kit's rules as plain loops."""
    samples, detections = scene
    objects = [
        {"image": image, "box": box, "difficult": ignored, "taken": False}
        for image, one in enumerate(samples)
        for box, of, ignored in zip(one.boxes.tolist(), one.labels, one.ignore, strict=True)
        if of == label
    ]
    to_find = sum(not one["difficult"] for one in objects)
    if not to_find:
        return math.nan, math.nan
    points, right, wrong = [], 0, 0
    for _, image, box, of in ranked(detections):
        if of != label:
            continue
        best, overlap = None, 0.0
        for one in objects:
            if one["image"] == image and iou(box, one["box"]) > overlap:
                best, overlap = one, iou(box, one["box"])
        if best is not None and overlap >= 0.5:
            if best["difficult"]:
                continue
            right, wrong = (right, wrong + 1) if best["taken"] else (right + 1, wrong)
            best["taken"] = True
        else:
            wrong += 1
        points.append((right / to_find, right / (right + wrong)))
    eleven = [max([p for r, p in points if r >= step / 10], default=0.0) for step in range(11)]
    area, last = 0.0, 0.0
    for recall in sorted({r for r, _ in points}):
        area += (recall - last) * max(p for r, p in points if r >= recall)
        last = recall
    return sum(eleven) / 11, area


@settings(max_examples=60)
@given(scenes())
def test_ap_is_that_of_the_rules_followed_step_by_step(scene: Scene) -> None:
    metrics = voc_metrics(*scene, ["cell", "platelet"])
    for label, one in enumerate(metrics.classes):
        assert (one.ap_11_point, one.ap_all_point) == pytest.approx(slow_ap(scene, label), nan_ok=True)


@settings(max_examples=20)
@given(scenes())
def test_the_order_of_images_does_not_matter(scene: Scene) -> None:
    samples, detections = scene
    backwards = voc_metrics(samples[::-1], detections[::-1], ["cell", "platelet"])
    assert backwards.to_dict() == voc_metrics(samples, detections, ["cell", "platelet"]).to_dict()


def test_precision_one_up_to_half_of_the_recall() -> None:
    metrics = voc_metrics([sample([BOX, OTHER], [0, 0])], [found([BOX], [0.9], [0])], ["cell"])
    assert metrics.map_11_point == pytest.approx(6 / 11)
    assert metrics.map_all_point == pytest.approx(0.5)


def test_perfect_detections_score_one_and_classes_without_objects_are_left_out_of_the_mean() -> None:
    metrics = voc_metrics([sample([BOX, OTHER], [0, 0])], [found([BOX, OTHER], [0.9, 0.8], [0, 0])], ["cell", "none"])
    assert metrics.map_11_point == metrics.map_all_point == 1
    assert json.loads(json.dumps(metrics.to_dict(), allow_nan=False))["classes"] == [
        {"name": "cell", "objects": 2, "ap_11_point": 1.0, "ap_all_point": 1.0},
        {"name": "none", "objects": 0, "ap_11_point": None, "ap_all_point": None},
    ]


def test_the_second_detection_of_an_object_is_wrong() -> None:
    twice = found([BOX, BOX, OTHER], [0.9, 0.8, 0.7], [0, 0, 0])
    metrics = voc_metrics([sample([BOX, OTHER], [0, 0])], [twice], ["cell"])
    assert metrics.map_all_point == pytest.approx((1 + 2 / 3) / 2)


def test_a_detection_is_held_against_the_object_that_it_overlaps_most_though_another_is_free() -> None:
    """COCO would let the second detection take the second object, which it overlaps with IoU .67."""
    objects, guesses = [[0, 0, 10, 10], [0, 0, 10, 6]], [[0, 0, 10, 10], [0, 0, 10, 9]]
    metrics = voc_metrics([sample(objects, [0, 0])], [found(guesses, [0.9, 0.8], [0, 0])], ["cell"])
    assert metrics.map_all_point == pytest.approx(0.5)


def test_an_iou_of_exactly_the_threshold_is_enough() -> None:
    assert voc_metrics([sample([BOX], [0])], [found([[0, 0, 10, 5]], [0.9], [0])], ["cell"]).map_all_point == 1


def test_difficult_objects_of_a_voc_dataset_are_neither_counted_nor_punished(tmp_path: Path) -> None:
    data = read_dataset(write_voc(tmp_path, {"val": {"a": [("cell", 1, 1, 11, 11), ("cell", 31, 31, 51, 51, 1)]}}))
    on_both = found([[30, 30, 50, 50], [0, 0, 10, 10]], [0.9, 0.8], [0, 0])
    metrics = voc_metrics(data.splits["val"], [on_both], data.class_names)
    assert metrics.classes[0].objects == 1
    assert metrics.map_all_point == 1


def test_a_box_that_is_not_finite_is_no_object() -> None:
    samples = [sample([BOX, [0, 0, math.inf, 10]], [0, 0])]
    assert voc_metrics(samples, [found([BOX], [0.9], [0])], ["cell"]).map_all_point == 1


def test_without_images_nothing_is_measured() -> None:
    assert math.isnan(voc_metrics([], [], ["cell"]).map_all_point)


def test_detections_for_another_number_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        voc_metrics([sample()], [found(), found()], ["cell"])


def test_equal_scores_are_ranked_by_the_ids_of_their_images() -> None:
    samples = [sample([BOX], [0], 7), sample([], [], 3)]
    metrics = voc_metrics(samples, [found([BOX], [0.5], [0]), found([BOX], [0.5], [0])], ["cell"])
    assert metrics.map_all_point == pytest.approx(0.5)
    assert np.isclose(metrics.classes[0].ap_11_point, 0.5)
