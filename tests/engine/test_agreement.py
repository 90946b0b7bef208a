"""When two sets of detections count as the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.engine.agreement import _compare_detections
from edgedet.errors import CheckFailedError
from edgedet.graph.verify import Images
from edgedet.runtime.results import Detections
from edgedet.spec import Preprocess, Spec

SPEC = Spec(model="m", class_names=("a", "b"), strides=(8,), preprocess=Preprocess(height=64, width=64))
IMAGES = Images("pictures", (np.zeros((64, 64, 3), np.uint8),))
SURE = 0.9


class Finds:
    """A detector that finds the same in every image."""

    spec = SPEC

    def __init__(self, *found: tuple[Sequence[float], float, int]) -> None:
        boxes, scores, classes = zip(*found, strict=True) if found else ((), (), ())
        self._found = Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(scores, np.float32),
            np.array(classes, np.int64),
            SPEC.class_names,
        )

    def detect(self, images: Sequence[Any]) -> list[Detections]:
        return [self._found] * len(images)


LEFT, RIGHT = (0, 0, 20, 20), (40, 40, 60, 60)


def compared(reference: Finds, engine: Finds) -> Any:
    return _compare_detections(reference, engine, IMAGES, where=Path("m.engine"))  # type: ignore[arg-type]


def test_rounding_moves_boxes_a_little() -> None:
    result = compared(Finds((LEFT, SURE, 0), (RIGHT, SURE, 1)), Finds(((1, 0, 21, 20), SURE, 0), (RIGHT, 0.6, 1)))
    assert (result.shared, result.sure) == (1.0, 2)


@pytest.mark.parametrize(
    "found",
    [
        [(LEFT, SURE, 0)],
        [(LEFT, SURE, 0), (RIGHT, SURE, 0)],
        [(LEFT, SURE, 0), ((50, 50, 70, 70), SURE, 1)],
        [(LEFT, SURE, 0), (RIGHT, SURE, 1), ((0, 40, 20, 60), SURE, 0)],
        [],
    ],
    ids=["one is missing", "another class", "another place", "one too many", "nothing"],
)
def test_other_detections_are_refused(found: list[tuple[Sequence[float], float, int]]) -> None:
    with pytest.raises(CheckFailedError, match="sure detections"):
        compared(Finds((LEFT, SURE, 0), (RIGHT, SURE, 1)), Finds(*found))


def test_what_is_near_the_threshold_may_be_found_or_not() -> None:
    near = SPEC.postprocess.score_threshold + 0.01
    assert compared(Finds((LEFT, SURE, 0), (RIGHT, near, 1)), Finds((LEFT, SURE, 0))).shared == 1.0
    assert compared(Finds((LEFT, SURE, 0)), Finds((LEFT, SURE, 0), (RIGHT, near, 1))).shared == 1.0


def test_nothing_sure_on_either_side_is_said() -> None:
    result = compared(Finds(), Finds())
    assert (result.shared, result.sure) == (1.0, 0)
