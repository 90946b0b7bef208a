"""Errors by cause, and the AP that repairing each cause alone would gain.

The method is TIDE: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020.

A false positive is a detection that found no object at IoU `FOREGROUND` (t_f = .5). Its cause is the first that holds:

* localisation: it overlaps an object of its class with at least IoU `BACKGROUND` (t_b = .1), and none with t_f;
* classification: it overlaps an object of another class with at least t_f;
* duplicate: it overlaps an object of its class with at least t_f, which a detection of a higher score has found;
* background: it overlaps no object with more than t_b;
* both: what is left: it overlaps an object of another class with more than t_b, and less than t_f.

An object is missed where no detection found it and no localisation or classification error is at it, which is the
object, of those that the cause speaks of, that the detection overlaps most.

To repair a cause is

* of localisation: to move the box onto its object, which makes the detection right;
* of classification: to give it the class of its object, which makes it right among the detections of that class;
* of duplicate, background and both: to remove the detection;
* of missed: to count the missed objects no longer, as if they were found as precisely as the others are.

An object is found once: a localisation or classification error at an object that is found already is removed, and so
are all at one object but that of the highest score. The paper suppresses the lower of two scores in these cases; this
is what its authors' tool does (github.com/dbolya/tide 1.0.1), which compares errors of the two causes with each other
even where one of them alone is repaired.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import pairwise_iou
from edgedet.evaluate.average_precision import coco_ap
from edgedet.evaluate.coco import finite
from edgedet.evaluate.matching import Matches

FOREGROUND = 0.5
BACKGROUND = 0.1

CAUSES = ("classification", "localisation", "both", "duplicate", "background", "missed")
CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND_CAUSE, MISSED = range(6)
"""Positions in `CAUSES`."""


@dataclass(frozen=True)
class ErrorAnalysis:
    """The errors on a set of images.

    Attributes:
        ap50: AP at IoU .5 averaged over classes, as COCO's (a fraction; nan without objects).
        counts: `[6]` the errors of each of `CAUSES`.
        gains: `[6]` by how much `ap50` grows where that cause alone is repaired (the paper's dAP, here as a fraction;
            nan without objects). A class of which all objects were missed leaves the mean with them, unless detections
            of it are left.
        cause: `[D]` int64 of each detection of `matches`: a position in `CAUSES`, or -1 where it found an object.
        missed: `[G]` bool of each object of `matches`.
        matches: what found what, at IoU .5.
    """

    ap50: float
    counts: tuple[int, ...]
    gains: tuple[float, ...]
    cause: NDArray[np.int64] = field(repr=False, compare=False)
    missed: NDArray[np.bool_] = field(repr=False, compare=False)
    matches: Matches = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON can hold them (nan becomes None)."""
        return {
            "iou_foreground": FOREGROUND,
            "iou_background": BACKGROUND,
            "ap50": finite(self.ap50),
            "causes": [
                {"name": name, "count": count, "ap50_gain": finite(gain)}
                for name, count, gain in zip(CAUSES, self.counts, self.gains, strict=True)
            ],
        }


def error_analysis(matches: Matches, classes: int) -> ErrorAnalysis:
    """Names the cause of every error (the module's docstring defines them) and weighs the causes.

    Args:
        matches: of detections with objects, at IoU `FOREGROUND`.
        classes: how many the data has.
    """
    cause, target = _causes(matches)
    rows = np.arange(len(matches.object_label))
    missed = ~np.isin(rows, matches.found) & ~np.isin(rows, target)
    counts = (*(int((cause == one).sum()) for one in range(MISSED)), int(missed.sum()))
    if not len(rows):
        return ErrorAnalysis(math.nan, counts, (math.nan,) * len(CAUSES), cause, missed, matches)
    objects = np.bincount(matches.object_label, minlength=classes)
    ap50 = _mean_ap(matches.hit, matches.label, objects, objects > 0)
    repaired = [_ap_without(one, matches, cause, target, objects) for one in range(MISSED)]
    repaired.append(_ap_without_missed(matches, missed, objects))
    gains = tuple(ap - ap50 for ap in repaired)
    return ErrorAnalysis(ap50, counts, gains, cause, missed, matches)


def _causes(matches: Matches) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`[D]` the cause of each detection, -1 where it is right; `[D]` the object that it is at, -1 where none counts.

    Only a localisation or classification error is at an object.
    """
    cause, target = np.full((2, len(matches.score)), -1, dtype=np.int64)
    for rows, objects in _rows_by_image(matches):
        wrong = rows[~matches.hit[rows]]
        # A column of zeros for images without objects: the largest overlap is then 0.
        overlaps = np.zeros((len(wrong), len(objects) + 1))
        overlaps[:, :-1] = pairwise_iou(matches.box[wrong], matches.object_box[objects])
        same_class = matches.label[wrong][:, None] == np.append(matches.object_label[objects], -1)
        own, other = overlaps * same_class, overlaps * ~same_class
        conditions = {
            LOCALISATION: (own.max(axis=1) >= BACKGROUND) & (own.max(axis=1) < FOREGROUND),
            CLASSIFICATION: other.max(axis=1) >= FOREGROUND,
            DUPLICATE: own.max(axis=1) >= FOREGROUND,
            BACKGROUND_CAUSE: overlaps.max(axis=1) <= BACKGROUND,
        }
        cause[wrong] = np.select(list(conditions.values()), list(conditions), BOTH)
        for one, candidates in ((LOCALISATION, own), (CLASSIFICATION, other)):
            mine = cause[wrong] == one
            target[wrong[mine]] = objects[candidates[mine].argmax(axis=1)]
    return cause, target


def _rows_by_image(matches: Matches) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The rows of the detections, best first, and those of the objects, of each image that has detections."""
    images = np.unique(matches.image)
    return zip(_split(matches.image, images), _split(matches.object_image, images), strict=True)


def _split(image: NDArray[np.int64], images: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each of the images, in order."""
    rows = np.argsort(image, kind="stable")
    first, end = (np.searchsorted(image, images, side, sorter=rows) for side in ("left", "right"))
    return [rows[start:stop] for start, stop in zip(first, end, strict=True)]


def _ap_without(
    one: int,
    matches: Matches,
    cause: NDArray[np.int64],
    target: NDArray[np.int64],
    objects: NDArray[np.int64],
) -> float:
    """AP with the detections of one cause repaired, which are put right or removed."""
    candidates = np.flatnonzero((target >= 0) & ~np.isin(target, matches.found))
    # Rows are ranked, so the first at each object is that of the highest score.
    best = candidates[np.unique(target[candidates], return_index=True)[1]]
    right = best[cause[best] == one]
    hit, label, kept = matches.hit, matches.label.copy(), cause != one
    hit[right] = kept[right] = True
    label[right] = matches.object_label[target[right]]
    return _mean_ap(hit[kept], label[kept], objects, objects > 0)


def _ap_without_missed(matches: Matches, missed: NDArray[np.bool_], objects: NDArray[np.int64]) -> float:
    """AP of what is left to be found where the missed objects are not counted."""
    left = objects - np.bincount(matches.object_label[missed], minlength=len(objects))
    detected = np.bincount(matches.label, minlength=len(objects)) > 0
    return _mean_ap(matches.hit, matches.label, left, (left > 0) | ((objects > 0) & detected))


def _mean_ap(
    hit: NDArray[np.bool_], label: NDArray[np.int64], objects: NDArray[np.int64], counted: NDArray[np.bool_]
) -> float:
    """COCO's AP of ranked detections averaged over the counted classes; 1 without any, for then nothing is wrong.

    Of a counted class without objects it is 0: all its detections are wrong.
    """
    aps = [coco_ap(hit[label == one], objects[one]) if objects[one] else 0.0 for one in np.flatnonzero(counted)]
    return sum(aps) / len(aps) if aps else 1.0
