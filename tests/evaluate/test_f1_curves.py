from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from scored_images import Scene, found, sample, scenes

from edgedet.evaluate.f1 import THRESHOLDS, f1_curves
from edgedet.evaluate.matching import match
from edgedet.evaluate.predictions import Predictions

NAMES = ("cell", "platelet")
BOX, OTHER, NOWHERE = [0, 0, 10, 10], [50, 50, 70, 70], [200, 200, 220, 220]


def above(detections: list[Predictions], threshold: float) -> list[Predictions]:
    return [
        found(one.xyxy[one.score > threshold], one.score[one.score > threshold], one.class_id[one.score > threshold])
        for one in detections
    ]


@settings(max_examples=20)
@given(scenes())
def test_a_point_of_the_curve_is_what_the_detections_above_it_give(scene: Scene) -> None:
    samples, detections = scene
    curves = f1_curves(match(samples, detections, 0.5), NAMES)
    for place in range(0, len(THRESHOLDS), 9):
        matches = match(samples, above(detections, THRESHOLDS[place]), 0.5)
        for label in range(len(NAMES)):
            right = int(matches.hit[matches.label == label].sum())
            detected, objects = int((matches.label == label).sum()), int((matches.object_label == label).sum())
            if objects:
                assert curves.f1[label, place] == pytest.approx(2 * right / (detected + objects))
                assert curves.recall[label, place] == pytest.approx(right / objects)
            else:
                assert math.isnan(curves.f1[label, place])


def test_the_best_threshold_leaves_the_mistakes_below_it() -> None:
    guesses = found([BOX, OTHER, NOWHERE], [0.9, 0.6, 0.405], [0, 0, 0])
    best = f1_curves(match([sample([BOX, OTHER], [0, 0])], [guesses], 0.5), ["cell"]).classes[0]
    assert (best.threshold, best.precision, best.recall, best.f1) == (pytest.approx(0.41), 1, 1, 1)


def test_classes_without_objects_have_no_threshold_and_no_part_in_the_mean() -> None:
    curves = f1_curves(match([sample([BOX], [0])], [found([BOX, BOX], [0.9, 0.8], [0, 1])], 0.5), NAMES)
    assert curves.overall.f1 == 1
    result = json.loads(json.dumps(curves.to_dict(), allow_nan=False))
    assert result["classes"][1] == dict.fromkeys(("threshold", "precision", "recall", "f1", "curve")) | {
        "name": "platelet"
    }
    assert len(result["classes"][0]["curve"]["recall"]) == len(result["thresholds"]) == 101


def test_without_objects_nothing_is_measured() -> None:
    assert math.isnan(f1_curves(match([], [], 0.5), NAMES).overall.threshold)


def test_a_score_at_the_threshold_does_not_count() -> None:
    curves = f1_curves(match([sample([BOX], [0])], [found([BOX], [0.5], [0])], 0.5), ["cell"])
    np.testing.assert_array_equal(curves.f1[0], THRESHOLDS < 0.5)
