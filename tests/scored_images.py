"""Labelled images and detections on them, by hand and drawn at random, and the plainest ways to compare their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from edgedet.data.sample import Sample
from edgedet.evaluate.predictions import Predictions

Scene = tuple[list[Sample], list[Predictions]]

BOXES = [
    (x, y, x + width, y + height)
    for x, y, width, height in product(range(0, 8, 2), range(0, 8, 2), range(2, 9), range(2, 9))
]
"""Boxes that overlap often."""


def sample(boxes: ArrayLike = (), labels: ArrayLike = (), image_id: int = 0, ignore: ArrayLike | None = None) -> Sample:
    count = len(np.atleast_1d(labels))
    return Sample(
        image=Path(f"{image_id}.jpg"),
        image_id=image_id,
        boxes=np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.asarray(labels, dtype=np.int64),
        ignore=np.zeros(count, dtype=bool) if ignore is None else np.asarray(ignore, dtype=bool),
    )


def found(boxes: ArrayLike = (), scores: ArrayLike = (), labels: ArrayLike = ()) -> Predictions:
    return Predictions(
        xyxy=np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        score=np.asarray(scores, dtype=np.float64),
        class_id=np.asarray(labels, dtype=np.int64),
    )


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Up to three images with objects of two classes, some ignored, and detections; no two scores are equal."""
    box, label = st.sampled_from(BOXES), st.integers(0, 1)
    objects = st.lists(st.tuples(box, label, st.booleans()), max_size=4)
    guesses = st.lists(st.tuples(box, label), max_size=6)
    images = draw(st.lists(st.tuples(objects, guesses), min_size=1, max_size=3))
    count = sum(len(guessed) for _, guessed in images)
    ranks = np.random.default_rng(draw(st.integers(0, 1000))).permutation(count)
    scores = iter((ranks + 1) / (count + 1))
    samples, detections = [], []
    for image_id, (labelled, guessed) in enumerate(images):
        boxes, labels, ignore = zip(*labelled, strict=True) if labelled else ((), (), ())
        samples.append(sample(boxes, labels, image_id, ignore))
        detections.append(
            found([box for box, _ in guessed], [next(scores) for _ in guessed], [label for _, label in guessed])
        )
    return samples, detections


def shared_area(first: Sequence[float], second: Sequence[float]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


def area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(first: Sequence[float], second: Sequence[float]) -> float:
    shared = shared_area(first, second)
    return shared / (area(first) + area(second) - shared)


def ranked(detections: Sequence[Predictions]) -> list[tuple[float, int, list[float], int]]:
    """Score, image, box and class of all detections, best score first."""
    rows = [
        (float(score), image, box.tolist(), int(label))
        for image, one in enumerate(detections)
        for box, score, label in zip(one.xyxy, one.score, one.class_id, strict=True)
    ]
    return sorted(rows, key=lambda row: -row[0])
