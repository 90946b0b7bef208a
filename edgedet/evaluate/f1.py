"""F1 against the score threshold: where to set the threshold of a detector in use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.evaluate.coco import finite
from edgedet.evaluate.matching import Matches

THRESHOLDS = np.arange(101) / 100


@dataclass(frozen=True)
class BestF1:
    """The score threshold with the highest F1 (the lowest of them), and precision, recall and F1 above it.

    Attributes:
        name: the class, or `all`.
        threshold: a detection counts where its score is above it; nan without objects, as all numbers then.
        precision, recall, f1: fractions. Of `all`, each is the mean over the classes that have objects.
    """

    name: str
    threshold: float
    precision: float
    recall: float
    f1: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it (nan becomes None)."""
        return {key: value if isinstance(value, str) else finite(value) for key, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class F1Curves:
    """Precision, recall and F1 of each class above each of the thresholds 0, .01, ... 1.

    Attributes:
        class_names: the data's classes, in label order.
        precision: `[C, 101]` float64; 0 where nothing is detected, nan without objects.
        recall: `[C, 101]` float64; nan without objects.
    """

    class_names: tuple[str, ...]
    precision: NDArray[np.float64] = field(repr=False)
    recall: NDArray[np.float64] = field(repr=False)

    @property
    def f1(self) -> NDArray[np.float64]:
        """`[C, 101]` the harmonic mean of precision and recall; 0 where both are 0, nan without objects."""
        both = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, both, out=both.copy(), where=both != 0)

    @property
    def measured(self) -> NDArray[np.bool_]:
        """`[C]` which classes have objects."""
        return np.asarray(~np.isnan(self.recall[:, 0]))

    @property
    def overall(self) -> BestF1:
        """The threshold that is best for all classes together: that of the highest mean F1."""
        return self._best("all", np.flatnonzero(self.measured).tolist())

    @property
    def classes(self) -> tuple[BestF1, ...]:
        """The best threshold of each class alone."""
        measured = self.measured
        return tuple(self._best(name, [row] if measured[row] else []) for row, name in enumerate(self.class_names))

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it: the best thresholds, and the curves of the classes that have objects."""
        classes = [
            {**one.to_dict(), "curve": self._curve(row) if self.measured[row] else None}
            for row, one in enumerate(self.classes)
        ]
        return {"all": self.overall.to_dict(), "classes": classes, "thresholds": THRESHOLDS.tolist()}

    def _curve(self, row: int) -> dict[str, list[float]]:
        return {"precision": self.precision[row].tolist(), "recall": self.recall[row].tolist()}

    def _best(self, name: str, rows: list[int]) -> BestF1:
        if not rows:
            return BestF1(name, math.nan, math.nan, math.nan, math.nan)
        f1, precision, recall = (curves[rows].mean(axis=0) for curves in (self.f1, self.precision, self.recall))
        best = int(np.argmax(f1))
        return BestF1(name, float(THRESHOLDS[best]), float(precision[best]), float(recall[best]), float(f1[best]))


def f1_curves(matches: Matches, class_names: Sequence[str]) -> F1Curves:
    """The curves of matched detections.

    Greedy matching goes by falling score, so what a threshold leaves out changes no match above it.
    """
    shape = len(class_names), len(THRESHOLDS)
    precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    objects = np.bincount(matches.object_label, minlength=len(class_names))
    for label in np.flatnonzero(objects):
        mine = matches.label == label
        scores, hits = matches.score[mine], np.append(0, np.cumsum(matches.hit[mine]))
        above = np.searchsorted(-scores, -THRESHOLDS)
        precision[label] = hits[above] / np.maximum(above, 1)
        recall[label] = hits[above] / objects[label]
    return F1Curves(tuple(class_names), precision, recall)
