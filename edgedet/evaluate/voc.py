"""Pascal VOC's detection metric: AP of each class at IoU .5, by both interpolations.

The rules are those of the VOC development kits (`VOCevaldet.m`): all detections of a class on all images are ranked by
score, and each is held against the object of that class that it overlaps most, taken or not. With at least IoU .5 it is

* neither right nor wrong where that object is marked difficult (`Sample.ignore`),
* right where no detection of a higher score was at that object before,
* wrong, a duplicate, otherwise.

A detection that overlaps no object so much is wrong. Difficult objects are not counted as objects to be found.

Two things differ from the kit. Sides are `xmax - xmin`, as everywhere in this package, where the kit counts whole
pixels and adds 1: an IoU close to .5 may fall on the other side. And COCO's crowds are difficult objects here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import pairwise_iou
from edgedet.data.sample import Sample
from edgedet.evaluate.average_precision import all_point_ap, eleven_point_ap
from edgedet.evaluate.coco import ScoredBoxes, finite

IOU = 0.5


@dataclass(frozen=True)
class VocClass:
    """One class: objects to be found, AP by VOC 2007's 11 points and by all points (fractions; nan without objects)."""

    name: str
    objects: int
    ap_11_point: float
    ap_all_point: float


@dataclass(frozen=True)
class VocMetrics:
    """VOC's AP of each class, in label order."""

    classes: tuple[VocClass, ...]

    @property
    def map_11_point(self) -> float:
        """The mean over the classes that have objects, by VOC 2007's interpolation at 11 recalls; nan without any."""
        return _mean([one.ap_11_point for one in self.classes])

    @property
    def map_all_point(self) -> float:
        """The mean over the classes that have objects, by all points, as VOC 2010 and later; nan without any."""
        return _mean([one.ap_all_point for one in self.classes])

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it (nan becomes None)."""
        return {
            "iou": IOU,
            "map_11_point": finite(self.map_11_point),
            "map_all_point": finite(self.map_all_point),
            "classes": [
                {
                    "name": one.name,
                    "objects": one.objects,
                    "ap_11_point": finite(one.ap_11_point),
                    "ap_all_point": finite(one.ap_all_point),
                }
                for one in self.classes
            ],
        }


def voc_metrics(samples: Sequence[Sample], detections: Sequence[ScoredBoxes], class_names: Sequence[str]) -> VocMetrics:
    """VOC's metric of `detections[i]`, found on the image of `samples[i]`.

    A labelled box with a coordinate that is not finite is no object. Equal scores are ranked by the ids of their
    images, then as they were given.

    Raises:
        ValueError: not one entry of `detections` for each sample.
    """
    images = sorted(zip(samples, detections, strict=True), key=lambda image: image[0].image_id)
    at, difficult = _overlapped(images)
    score = np.concatenate([[], *(found.score for _, found in images)])
    label = np.concatenate([[], *(found.class_id for _, found in images)])
    object_label = np.concatenate([[], *(sample.labels[_is_labelled(sample)] for sample, _ in images)])
    ranks = np.argsort(-score, kind="stable")
    classes = []
    for index, name in enumerate(class_names):
        hits = _hits(at[ranks][label[ranks] == index], difficult)
        objects = int((~difficult[object_label == index]).sum())
        classes.append(VocClass(name, objects, eleven_point_ap(hits, objects), all_point_ap(hits, objects)))
    return VocMetrics(tuple(classes))


def _overlapped(images: Sequence[tuple[Sample, ScoredBoxes]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The object `[D]` of its class that each detection overlaps most, -1 below the threshold; `[G]` the difficult."""
    at, difficult, first_object = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.bool_)], 0
    for sample, found in images:
        labelled = _is_labelled(sample)
        boxes = np.asarray(found.xyxy, dtype=np.float64).reshape(-1, 4)
        same_class = np.asarray(found.class_id)[:, None] == sample.labels[labelled]
        overlaps = pairwise_iou(boxes, sample.boxes[labelled].astype(np.float64)) * same_class
        # The largest of a row must exist where there is no object.
        overlaps = np.hstack([overlaps, np.zeros((len(boxes), 1))])
        at.append(np.where(overlaps.max(axis=1) >= IOU, overlaps.argmax(axis=1) + first_object, -1))
        difficult.append(sample.ignore[labelled])
        first_object += int(labelled.sum())
    return np.concatenate(at), np.concatenate(difficult)


def _hits(at: NDArray[np.int64], difficult: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each detection of one class found its object, best score first; those on difficult objects left out."""
    on_difficult = np.isin(at, np.flatnonzero(difficult))
    counted = at[~on_difficult]
    is_first = np.zeros(len(counted), dtype=np.bool_)
    is_first[np.unique(counted, return_index=True)[1]] = True
    return np.asarray(is_first & (counted >= 0))


def _is_labelled(sample: Sample) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(sample.boxes).all(axis=1))


def _mean(values: Sequence[float]) -> float:
    measured = [value for value in values if not math.isnan(value)]
    return sum(measured) / len(measured) if measured else math.nan
