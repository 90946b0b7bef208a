"""COCO's detection metrics, computed by faster-coco-eval (protocol: cocodataset.org/#detection-eval)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from edgedet.boxes import areas, xywh_from_xyxy
from edgedet.data.sample import Sample

IOU_50, IOU_75 = 0, 5
"""Positions of IoU .50 and .75 in COCO's thresholds .50, .55, ... .95."""

ALL, SMALL, MEDIUM, LARGE = range(4)
"""Positions in COCO's area ranges: all, below 32^2, from 32^2 to 96^2, above 96^2 square pixels."""

DETECTIONS_1, DETECTIONS_10, DETECTIONS_100 = range(3)
"""Positions in COCO's limits of detections counted for each image and class."""

RECALL_POINTS = 101


class ScoredBoxes(Protocol):
    """The detections on one image, as evaluation reads them (`edgedet.runtime.results.Detections` is one).

    `xyxy` `[n, 4]` float in source pixels, `score` `[n]` float, `class_id` `[n]` int.
    """

    @property
    def xyxy(self) -> NDArray[np.floating]: ...

    @property
    def score(self) -> NDArray[np.floating]: ...

    @property
    def class_id(self) -> NDArray[np.integer]: ...


@dataclass(frozen=True)
class ClassMetrics:
    """One class: objects counted, AP at IoU .50:.95 and at .50 (fractions; nan without objects)."""

    name: str
    objects: int
    ap: float
    ap50: float


@dataclass(frozen=True)
class Metrics:
    """COCO's twelve numbers, as fractions; nan where there is no object to measure them on.

    Attributes:
        map: AP averaged over classes and IoU .50:.95.
        map50: AP averaged over classes at IoU .50 (`map75`: at .75).
        map_small: `map` on objects below 32^2 square pixels (`map_medium` to 96^2, `map_large` above).
        ar1: recall averaged over classes and IoU .50:.95 with 1 detection for each image and class (`ar10`, `ar100`).
        ar_small: `ar100` on small objects (`ar_medium`, `ar_large`).
        classes: each class, in label order.
        precision50: `[C, 101]` float64 precision at IoU .50 for the recalls 0, .01, ... 1; nan without objects.
    """

    map: float
    map50: float
    map75: float
    map_small: float
    map_medium: float
    map_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    classes: tuple[ClassMetrics, ...]
    precision50: NDArray[np.float64] = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON can hold them (nan becomes None), without the curves."""
        names = [name for name in self.__dataclass_fields__ if name not in ("classes", "precision50")]
        classes = [
            {"name": one.name, "objects": one.objects, "ap": finite(one.ap), "ap50": finite(one.ap50)}
            for one in self.classes
        ]
        return {**{name: finite(getattr(self, name)) for name in names}, "classes": classes}


def coco_metrics(samples: Sequence[Sample], detections: Sequence[ScoredBoxes], class_names: Sequence[str]) -> Metrics:
    """COCO's metrics of `detections[i]`, found on the image of `samples[i]`.

    Objects to ignore are COCO's crowds: a detection on one is neither right nor wrong. Objects count as small,
    medium or large by their stated area where there is one, else by their box. At most 100 detections for each
    image and class are counted. A labelled box with a coordinate that is not finite is no object; one without
    area is an object that nothing can match, as for the COCO tools.

    Raises:
        ValueError: not one entry of `detections` for each sample.
    """
    if len(samples) != len(detections):
        raise ValueError(f"{len(detections)} images with detections for {len(samples)} samples")
    precision, recall = _precision_and_recall(samples, detections, len(class_names))
    objects = np.zeros(len(class_names), dtype=np.int64)
    for sample in samples:
        np.add.at(objects, sample.labels[_is_object(sample) & ~sample.ignore], 1)
    best = precision[..., DETECTIONS_100]
    classes = tuple(
        ClassMetrics(name, int(objects[index]), _mean(best[:, :, index, ALL]), _mean(best[IOU_50, :, index, ALL]))
        for index, name in enumerate(class_names)
    )
    curves = best[IOU_50, :, :, ALL].T
    return Metrics(
        map=_mean(best[..., ALL]),
        map50=_mean(best[IOU_50, ..., ALL]),
        map75=_mean(best[IOU_75, ..., ALL]),
        map_small=_mean(best[..., SMALL]),
        map_medium=_mean(best[..., MEDIUM]),
        map_large=_mean(best[..., LARGE]),
        ar1=_mean(recall[:, :, ALL, DETECTIONS_1]),
        ar10=_mean(recall[:, :, ALL, DETECTIONS_10]),
        ar100=_mean(recall[:, :, ALL, DETECTIONS_100]),
        ar_small=_mean(recall[:, :, SMALL, DETECTIONS_100]),
        ar_medium=_mean(recall[:, :, MEDIUM, DETECTIONS_100]),
        ar_large=_mean(recall[:, :, LARGE, DETECTIONS_100]),
        classes=classes,
        precision50=np.where(curves < 0, np.nan, curves),
    )


def finite(value: float) -> float | None:
    """The number as JSON can hold it: None for nan."""
    return None if math.isnan(value) else value


def _precision_and_recall(
    samples: Sequence[Sample], detections: Sequence[ScoredBoxes], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The library's precision `[T, R, C, A, M]` and recall `[T, C, A, M]`; -1 where there is no object."""
    # The library walks images in the order of their ids; equal scores on two images are ranked by that order.
    order = sorted(range(len(samples)), key=lambda index: samples[index].image_id)
    frame: dict[str, Any] = {
        "images": [{"id": position} for position in range(1, len(order) + 1)],
        "categories": [{"id": label, "name": str(label)} for label in range(num_classes)],
    }
    truth = [note for position, index in enumerate(order, 1) for note in _objects(samples[index], position)]
    found = [note for position, index in enumerate(order, 1) for note in _found(detections[index], position)]
    evaluation = COCOeval_faster(
        COCO({**frame, "annotations": _numbered(truth)}, print_function=_silent),
        COCO({**frame, "annotations": _numbered(found)}, print_function=_silent),
        iouType="bbox",
        print_function=_silent,
    )
    evaluation.evaluate()
    evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])


def _is_object(sample: Sample) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(sample.boxes).all(axis=1))


def _objects(sample: Sample, image: int) -> list[dict[str, Any]]:
    object_areas = areas(sample.boxes) if sample.areas is None else sample.areas
    boxes_xywh = xywh_from_xyxy(sample.boxes.astype(np.float64)).tolist()
    return [
        {
            "image_id": image,
            "category_id": int(sample.labels[index]),
            "bbox": boxes_xywh[index],
            "area": float(object_areas[index]),
            "iscrowd": int(sample.ignore[index]),
        }
        for index in np.flatnonzero(_is_object(sample))
    ]


def _found(detections: ScoredBoxes, image: int) -> list[dict[str, Any]]:
    boxes = np.asarray(detections.xyxy, dtype=np.float64).reshape(-1, 4)
    rows = zip(
        xywh_from_xyxy(boxes).tolist(),
        areas(boxes).tolist(),
        detections.score.tolist(),
        detections.class_id.tolist(),
        strict=True,
    )
    return [
        {"image_id": image, "category_id": label, "bbox": box, "area": area, "score": score, "iscrowd": 0}
        for box, area, score, label in rows
    ]


def _numbered(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ids from 1: the library takes the id 0 for "not matched"."""
    return [{**annotation, "id": number} for number, annotation in enumerate(annotations, 1)]


def _mean(values: NDArray[np.float64]) -> float:
    """The mean of the values that were measured (the library marks the others -1)."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else math.nan


def _silent(*_: object) -> None:
    """The library reports its progress through a print function."""
