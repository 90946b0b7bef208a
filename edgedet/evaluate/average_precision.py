"""Average precision (AP) of a ranked list, by the three interpolations in use.

All of them read the same list: whether each detection of a class, best score first, found an object. After n
detections of which t found one, precision is t / n and recall is t / objects. The precision interpolated at a recall is
the highest one at that recall or a higher one (Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge",
IJCV 2010).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

COCO_RECALLS = np.linspace(0, 1, 101)
VOC_2007_RECALLS = np.arange(11) / 10


def coco_ap(hits: NDArray[np.bool_], objects: int) -> float:
    """COCO's AP: the mean of the interpolated precision at the recalls 0, .01, ... 1.

    Args:
        hits: `[n]` bool, whether each detection found an object, best score first.
        objects: how many there are to be found.

    Returns:
        A fraction; nan without objects.
    """
    return _mean_precision(hits, objects, COCO_RECALLS)


def eleven_point_ap(hits: NDArray[np.bool_], objects: int) -> float:
    """VOC 2007's AP: as `coco_ap`, at the recalls 0, .1, ... 1."""
    return _mean_precision(hits, objects, VOC_2007_RECALLS)


def all_point_ap(hits: NDArray[np.bool_], objects: int) -> float:
    """AP of VOC 2010 and later: the area under the interpolated precision. Arguments and nan as of `coco_ap`.

    Recall grows by 1 / objects at each hit and nowhere else, so the area is the mean over objects of the interpolated
    precision at the hit that found them, 0 for those that none found.
    """
    return float(_interpolated(hits)[hits].sum() / objects) if objects else math.nan


def _mean_precision(hits: NDArray[np.bool_], objects: int, recalls: NDArray[np.float64]) -> float:
    """The mean interpolated precision at the given recalls; 0 at one that is not reached."""
    if not objects:
        return math.nan
    reached = np.searchsorted(np.cumsum(hits) / objects, recalls)
    return float(np.append(_interpolated(hits), 0.0)[reached].mean())


def _interpolated(hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`[n]` the highest precision from each place of the list on."""
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return np.asarray(np.maximum.accumulate(precision[::-1])[::-1])
