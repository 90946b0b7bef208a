"""Which detection found which object: COCO's matching at one IoU, on which F1 curves and error analysis stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import FloatArray, areas, pairwise_iou
from edgedet.data.sample import Sample
from edgedet.evaluate.coco import ScoredBoxes

DETECTIONS_LIMIT = 100
"""Detections that count for each image and class, as for COCO."""


@dataclass(frozen=True, eq=False)
class Matches:
    """The D detections on all images, best score first, and the G objects that are to be found.

    Attributes:
        image: `[D]` int64, position of the detection's sample.
        box: `[D, 4]` float64, xyxy in source pixels.
        score: `[D]` float64, falling. Equal scores are ranked by the ids of their images, then as they were given.
        label: `[D]` int64, the class that was detected.
        found: `[D]` int64, the object that the detection found (a row of the arrays below), or -1.
        object_image: `[G]` int64, position of the object's sample.
        object_box: `[G, 4]` float64, xyxy in source pixels.
        object_label: `[G]` int64, the object's class.
    """

    image: NDArray[np.int64]
    box: NDArray[np.float64]
    score: NDArray[np.float64]
    label: NDArray[np.int64]
    found: NDArray[np.int64]
    object_image: NDArray[np.int64]
    object_box: NDArray[np.float64]
    object_label: NDArray[np.int64]

    @property
    def hit(self) -> NDArray[np.bool_]:
        """`[D]` whether the detection found an object."""
        return np.asarray(self.found >= 0)


def match(samples: Sequence[Sample], detections: Sequence[ScoredBoxes], iou: float) -> Matches:
    """Matches detections with objects as COCO does, at one threshold.

    In each image and class the detections, best score first, each take the object that they overlap most of those that
    are left, where their IoU is at least `iou`. A detection that takes none and lies on an ignored object of its class,
    with at least the share `iou` of its own area, is neither right nor wrong and is left out. So are detections beyond
    the best 100 of an image and class. A labelled box with a coordinate that is not finite is no object.

    Args:
        samples: the labelled images.
        detections: what was found on each of them; class ids in the order of the data's classes.
        iou: above 0, below 1.

    Raises:
        ValueError: not one entry of `detections` for each sample.
    """
    pairs = list(zip(samples, detections, strict=True))
    order = sorted(range(len(pairs)), key=lambda index: samples[index].image_id)
    images = [_match_image(*pairs[index], iou) for index in order]
    first_object = np.cumsum([0, *(len(one.object_label) for one in images)])
    found = [np.where(one.found >= 0, one.found + first_object[place], -1) for place, one in enumerate(images)]
    score = _joined((one.score for one in images), np.zeros(0))
    ranks = np.argsort(-score, kind="stable")
    return Matches(
        image=np.repeat(np.array(order, dtype=np.int64), [len(one.score) for one in images])[ranks],
        box=_joined((one.box for one in images), np.zeros((0, 4)))[ranks],
        score=score[ranks],
        label=_joined((one.label for one in images), np.zeros(0, dtype=np.int64))[ranks],
        found=_joined(found, np.zeros(0, dtype=np.int64))[ranks],
        object_image=np.repeat(np.array(order, dtype=np.int64), [len(one.object_label) for one in images]),
        object_box=_joined((one.object_box for one in images), np.zeros((0, 4))),
        object_label=_joined((one.object_label for one in images), np.zeros(0, dtype=np.int64)),
    )


def is_object(sample: Sample) -> NDArray[np.bool_]:
    """`[n]` which of the labelled boxes are to be found: those with finite coordinates that are not ignored."""
    return np.asarray(np.isfinite(sample.boxes).all(axis=1) & ~sample.ignore)


def ignored_boxes(sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The boxes `[n, 4]` and classes `[n]` of the ignored objects with finite coordinates."""
    ignored = np.isfinite(sample.boxes).all(axis=1) & sample.ignore
    return sample.boxes[ignored].astype(np.float64), sample.labels[ignored]


def pairwise_coverage(boxes: FloatArray, regions: FloatArray) -> FloatArray:
    """The share of each of `boxes [N, 4]` that lies in each of `regions [M, 4]`, xyxy: `[N, M]`, 0 to 1.

    COCO's overlap with crowds; 0 for a box without area.
    """
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    own = areas(boxes)[:, None]
    return np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)


@dataclass(frozen=True, eq=False)
class _ImageMatches:
    """`Matches` of one image; `found` counts the image's own objects."""

    box: NDArray[np.float64]
    score: NDArray[np.float64]
    label: NDArray[np.int64]
    found: NDArray[np.int64]
    object_box: NDArray[np.float64]
    object_label: NDArray[np.int64]


def _match_image(sample: Sample, detections: ScoredBoxes, iou: float) -> _ImageMatches:
    counted = _counted(detections)
    box = np.asarray(detections.xyxy, dtype=np.float64).reshape(-1, 4)[counted]
    label = np.asarray(detections.class_id, dtype=np.int64)[counted]
    score = np.asarray(detections.score, dtype=np.float64)[counted]
    objects = is_object(sample)
    object_box, object_label = sample.boxes[objects].astype(np.float64), sample.labels[objects]
    found = _found(pairwise_iou(box, object_box) * (label[:, None] == object_label), iou)
    region, region_label = ignored_boxes(sample)
    on_ignored = pairwise_coverage(box, region) * (label[:, None] == region_label) >= iou
    kept = (found >= 0) | ~on_ignored.any(axis=1)
    return _ImageMatches(box[kept], score[kept], label[kept], found[kept], object_box, object_label)


def _counted(detections: ScoredBoxes) -> NDArray[np.int64]:
    """The places of the detections that count, best score first."""
    order = np.argsort(-np.asarray(detections.score), kind="stable")
    label = np.asarray(detections.class_id)[order]
    counts = np.zeros(len(order), dtype=np.bool_)
    for one in np.unique(label):
        counts[np.flatnonzero(label == one)[:DETECTIONS_LIMIT]] = True
    return np.asarray(order[counts])


def _found(overlaps: FloatArray, iou: float) -> NDArray[np.int64]:
    """`[D]` the object that each detection takes, or -1, of the overlaps `[D, G]` of detections, best score first."""
    found = np.full(len(overlaps), -1, dtype=np.int64)
    left = overlaps.copy()
    for row in np.flatnonzero((overlaps >= iou).any(axis=1)):
        # The COCO tools take the last of objects that a detection overlaps alike.
        best = left.shape[1] - 1 - int(np.argmax(left[row, ::-1]))
        if left[row, best] >= iou:
            found[row] = best
            left[:, best] = 0
    return found


def _joined(arrays: Iterable[NDArray], nothing: NDArray) -> NDArray:
    """The arrays one after the other; `nothing` where there are none, which gives the shape and type."""
    return np.concatenate([nothing, *arrays])
