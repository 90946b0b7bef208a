"""Which class is taken for which: objects and detections paired by place alone, then counted by their two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import pairwise_iou
from edgedet.data.sample import Sample
from edgedet.evaluate.coco import ScoredBoxes
from edgedet.evaluate.matching import ignored_boxes, is_object, pairwise_coverage

SCORE_THRESHOLD = 0.25
IOU_THRESHOLD = 0.5
BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """How often each class was detected where each class is labelled.

    Attributes:
        class_names: the data's classes, in label order.
        counts: `[C + 1, C + 1]` int64: row, the class that was detected; column, the class that is labelled. The last
            row, background, holds the objects that nothing was found on; the last column the detections of nothing.
        score_threshold: only detections with a score above it are counted.
        iou_threshold: the least IoU of a detection and the object it is paired with.
    """

    class_names: tuple[str, ...]
    counts: NDArray[np.int64] = field(repr=False)
    score_threshold: float
    iou_threshold: float

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rows, and of the columns."""
        return (*self.class_names, BACKGROUND)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it: `counts[detected][labelled]`, named by `names`."""
        return {
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
            "names": list(self.names),
            "counts": self.counts.tolist(),
        }


def confusion_matrix(
    samples: Sequence[Sample],
    detections: Sequence[ScoredBoxes],
    class_names: Sequence[str],
    *,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
) -> ConfusionMatrix:
    """Counts `detections[i]`, found on the image of `samples[i]`, by detected and labelled class.

    In each image the pair of object and detection with the highest IoU is taken, whatever their classes; then the next
    of those that are left, down to `iou_threshold`. Equal overlaps are taken by falling score. A detection that is
    left over and lies on an ignored object, with at least the share `iou_threshold` of its own area, is not counted. A
    labelled box with a coordinate that is not finite is no object.

    Args:
        samples: the labelled images.
        detections: what was found on each of them; class ids in the order of the data's classes.
        class_names: the data's classes, in label order.
        score_threshold: detections with a score above it are counted: a threshold meant for use, where AP takes all.
        iou_threshold: above 0, at most 1.

    Raises:
        ValueError: not one entry of `detections` for each sample.
    """
    background = len(class_names)
    counts = np.zeros((background + 1, background + 1), dtype=np.int64)
    for sample, found in zip(samples, detections, strict=True):
        used = np.flatnonzero(np.asarray(found.score) > score_threshold)
        used = used[np.argsort(-np.asarray(found.score)[used], kind="stable")]
        boxes = np.asarray(found.xyxy, dtype=np.float64).reshape(-1, 4)[used]
        detected = np.asarray(found.class_id, dtype=np.int64)[used]
        objects = is_object(sample)
        labelled = sample.labels[objects]
        pairs = _pairs(pairwise_iou(boxes, sample.boxes[objects].astype(np.float64)), iou_threshold)
        on_ignored = (pairwise_coverage(boxes, ignored_boxes(sample)[0]) >= iou_threshold).any(axis=1)
        extra = np.setdiff1d(np.flatnonzero(~on_ignored), pairs[:, 0])
        missed = np.setdiff1d(np.arange(len(labelled)), pairs[:, 1])
        np.add.at(counts, (detected[pairs[:, 0]], labelled[pairs[:, 1]]), 1)
        counts[:, background] += np.bincount(detected[extra], minlength=background + 1)
        counts[background] += np.bincount(labelled[missed], minlength=background + 1)
    return ConfusionMatrix(tuple(class_names), counts, score_threshold, iou_threshold)


def _pairs(overlaps: NDArray[np.floating], threshold: float) -> NDArray[np.int64]:
    """`[P, 2]` row and column of the pairs, the largest overlap first, each row and each column at most once."""
    rows, columns = np.nonzero(overlaps >= threshold)
    free_rows, free_columns = (np.ones(length, dtype=np.bool_) for length in overlaps.shape)
    pairs = []
    for place in np.argsort(-overlaps[rows, columns], kind="stable"):
        row, column = rows[place], columns[place]
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            pairs.append((row, column))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
