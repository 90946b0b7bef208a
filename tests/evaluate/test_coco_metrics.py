from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_images import found, sample

from edgedet.evaluate.coco import coco_metrics
from edgedet.evaluate.predictions import Predictions
from edgedet.evaluate.run import evaluate_results

NAMES = ("cell", "platelet")
REFERENCE = {
    "map": 0.504581,
    "map50": 0.696973,
    "map75": 0.572982,
    "map_small": 0.585626,
    "map_medium": 0.519400,
    "map_large": 0.501398,
    "ar1": 0.386813,
    "ar10": 0.593680,
    "ar100": 0.595353,
    "ar_small": 0.639811,
    "ar_medium": 0.566421,
    "ar_large": 0.564291,
}
"""What the COCO tools give for their own example."""


def test_the_reference_results_of_the_coco_tools(oracles: Path) -> None:
    folder = oracles / "coco100"
    results = folder / "instances_val2014_fakebbox100_results.json"
    metrics = evaluate_results(results, folder / "instances_val2014_100.json").metrics
    assert {name: getattr(metrics, name) for name in REFERENCE} == pytest.approx(REFERENCE, abs=1e-4)


def test_perfect_detections_score_one() -> None:
    boxes, labels = [[0, 0, 10, 10], [50, 50, 100, 100], [0, 0, 200, 200]], [0, 1, 0]
    metrics = coco_metrics([sample(boxes, labels)], [found(boxes, [0.9, 0.8, 0.7], labels)], NAMES)
    assert metrics.map == metrics.map_small == metrics.map_medium == metrics.map_large == pytest.approx(1)
    assert metrics.ar100 == pytest.approx(1)
    assert [one.objects for one in metrics.classes] == [2, 1]
    assert metrics.precision50.min() == pytest.approx(1)


def test_a_hand_computed_curve() -> None:
    """Two objects; ranked hit, miss, hit: precision 1 up to recall .5, then 2/3. 51 and 50 of 101 recalls."""
    samples = [sample([[0, 0, 100, 100], [200, 200, 300, 300]], [0, 0])]
    hits = found([[0, 0, 100, 100], [400, 0, 500, 100], [200, 200, 300, 300]], [0.9, 0.8, 0.7], [0, 0, 0])
    metrics = coco_metrics(samples, [hits], ["cell"])
    assert metrics.map50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    np.testing.assert_allclose(metrics.precision50[0], [1] * 51 + [2 / 3] * 50)
    assert metrics.ar1 == pytest.approx(0.5)


def test_a_detection_on_a_crowd_is_neither_right_nor_wrong() -> None:
    boxes = [[0, 0, 100, 100], [200, 200, 300, 300]]
    samples = [sample(boxes, [0, 0], ignore=[False, True])]
    on_crowd = found([[0, 0, 100, 100], [200, 200, 300, 300], [210, 210, 290, 290]], [0.5, 0.9, 0.8], [0, 0, 0])
    metrics = coco_metrics(samples, [on_crowd], ["cell"])
    assert metrics.map == pytest.approx(1)
    assert metrics.classes[0].objects == 1


def test_detections_on_an_image_without_objects_are_wrong() -> None:
    box = [[0, 0, 100, 100]]
    samples = [sample(box, [0], 0), sample([], [], 1)]
    clean = coco_metrics(samples, [found(box, [0.5], [0]), found()], ["cell"])
    noisy = coco_metrics(samples, [found(box, [0.5], [0]), found(box, [0.9], [0])], ["cell"])
    assert clean.map == pytest.approx(1)
    assert noisy.map == pytest.approx(0.5)


def test_a_stated_area_decides_the_size() -> None:
    box = [[0, 0, 100, 100]]
    thin = replace(sample(box, [0]), areas=np.array([500], dtype=np.float32))
    metrics = coco_metrics([thin], [found(box, [0.5], [0])], ["cell"])
    assert metrics.map_small == pytest.approx(1)
    assert math.isnan(metrics.map_large)


def test_no_detection_at_all_scores_zero() -> None:
    metrics = coco_metrics([sample([[0, 0, 50, 50]], [0])], [found()], NAMES)
    assert metrics.map == metrics.ar100 == 0
    assert math.isnan(metrics.classes[1].ap)
    assert metrics.to_dict()["classes"][1] == {"name": "platelet", "objects": 0, "ap": None, "ap50": None}


@pytest.mark.parametrize("detections", [found(), found([[0, 0, 5, 5]], [0.5], [0])])
def test_no_object_at_all_is_not_a_number(detections: Predictions) -> None:
    metrics = coco_metrics([sample()], [detections], NAMES)
    assert math.isnan(metrics.map)
    assert np.isnan(metrics.precision50).all()
    assert json.loads(json.dumps(metrics.to_dict(), allow_nan=False))["map"] is None


def test_no_image_at_all() -> None:
    assert math.isnan(coco_metrics([], [], NAMES).map)


def test_a_box_that_is_not_finite_is_no_object() -> None:
    boxes = [[0, 0, 50, 50], [0, 0, math.nan, 50], [0, 0, math.inf, 50]]
    metrics = coco_metrics([sample(boxes, [0, 0, 0])], [found(boxes[:1], [0.5], [0])], ["cell"])
    assert metrics.map == pytest.approx(1)
    assert metrics.classes[0].objects == 1


def test_detections_for_another_number_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match="2 images"):
        coco_metrics([sample()], [found(), found()], NAMES)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    coco_metrics([sample([[0, 0, 50, 50]], [0])], [found([[0, 0, 50, 50]], [0.5], [0])], NAMES)
    assert capfd.readouterr() == ("", "")


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_every_number_is_a_fraction_and_image_order_does_not_matter(data: st.DataObject) -> None:
    corner = st.integers(0, 150)
    side = st.integers(1, 150)
    box = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
    labelled = st.lists(st.tuples(box, st.integers(0, 1)), max_size=4)
    images = data.draw(st.lists(st.tuples(labelled, labelled), min_size=1, max_size=3))
    samples = [sample([b for b, _ in truth], [c for _, c in truth], i) for i, (truth, _) in enumerate(images)]
    count = sum(len(guesses) for _, guesses in images)
    scores = iter(data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count)))
    detections = [
        found([b for b, _ in guesses], [next(scores) for _ in guesses], [c for _, c in guesses])
        for _, guesses in images
    ]
    metrics = coco_metrics(samples, detections, NAMES).to_dict()
    assert all(metrics[name] is None or 0 <= metrics[name] <= 1 for name in REFERENCE)
    assert metrics == coco_metrics(samples[::-1], detections[::-1], NAMES).to_dict()
