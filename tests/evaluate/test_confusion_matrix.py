from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from scored_images import Scene, area, found, iou, sample, scenes, shared_area

from edgedet.evaluate.confusion import confusion_matrix

NAMES = ("cell", "platelet")
BOX, OTHER, NOWHERE = [0, 0, 10, 10], [50, 50, 70, 70], [200, 200, 220, 220]


def slow_counts(scene: Scene, score: float, threshold: float) -> np.ndarray:
    """In each image the pair of the highest IoU is taken until none is left."""
    counts = np.zeros((3, 3), dtype=int)
    for one, guessed in zip(*scene, strict=True):
        rows = zip(guessed.xyxy.tolist(), guessed.score, guessed.class_id.tolist(), strict=True)
        guesses = sorted((row for row in rows if row[1] > score), key=lambda row: -row[1])
        labelled = list(zip(one.boxes.tolist(), one.labels.tolist(), one.ignore, strict=True))
        objects = [(box, label) for box, label, ignored in labelled if not ignored]
        while True:
            pairs = [
                (iou(guess[0], box), g, o) for g, guess in enumerate(guesses) for o, (box, _) in enumerate(objects)
            ]
            if not pairs or max(pairs, key=lambda pair: pair[0])[0] < threshold:
                break
            _, guess, labelled_one = max(pairs, key=lambda pair: pair[0])
            counts[guesses.pop(guess)[2], objects.pop(labelled_one)[1]] += 1
        for box, _, label in guesses:
            if not any(ignored and shared_area(box, of) / area(box) >= threshold for of, _, ignored in labelled):
                counts[label, 2] += 1
        for _, label in objects:
            counts[2, label] += 1
    return counts


@settings(max_examples=60)
@given(scenes())
def test_counts_are_those_of_the_pairs_taken_one_by_one(scene: Scene) -> None:
    matrix = confusion_matrix(*scene, NAMES, score_threshold=0.3, iou_threshold=0.4)
    np.testing.assert_array_equal(matrix.counts, slow_counts(scene, 0.3, 0.4))


@settings(max_examples=30)
@given(scenes())
def test_each_column_holds_the_objects_of_its_class(scene: Scene) -> None:
    counts = confusion_matrix(*scene, NAMES).counts
    labels = np.concatenate([one.labels[~one.ignore] for one in scene[0]])
    assert counts[:, :2].sum(axis=0).tolist() == np.bincount(labels, minlength=2).tolist()


def test_rows_are_detected_and_columns_are_labelled() -> None:
    guesses = found([BOX, NOWHERE], [0.9, 0.8], [1, 0])
    matrix = confusion_matrix([sample([BOX, OTHER], [0, 1])], [guesses], NAMES)
    assert matrix.names == ("cell", "platelet", "background")
    assert matrix.counts.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert json.loads(json.dumps(matrix.to_dict()))["counts"] == matrix.counts.tolist()


def test_of_two_detections_of_an_object_the_one_that_overlaps_it_more_is_paired_with_it() -> None:
    guesses = found([[0, 0, 10, 6], BOX], [0.9, 0.8], [0, 1])
    counts = confusion_matrix([sample([BOX], [1])], [guesses], NAMES).counts
    assert counts.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_perfect_detections_lie_on_the_diagonal() -> None:
    guesses = found([BOX, OTHER], [0.9, 0.8], [0, 1])
    counts = confusion_matrix([sample([BOX, OTHER], [0, 1])], [guesses], NAMES).counts
    assert counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_faint_detections_and_those_on_ignored_objects_do_not_count() -> None:
    samples = [sample([BOX, OTHER], [0, 0], ignore=[False, True])]
    guesses = found([BOX, OTHER, NOWHERE], [0.9, 0.8, 0.25], [0, 1, 0])
    assert confusion_matrix(samples, [guesses], NAMES).counts.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_box_that_is_not_finite_is_no_object() -> None:
    samples = [sample([[0, 0, math.nan, 5]], [0])]
    assert confusion_matrix(samples, [found()], NAMES).counts.sum() == 0


def test_detections_for_another_number_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        confusion_matrix([sample()], [found(), found()], NAMES)
