from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.evaluate.average_precision import all_point_ap, coco_ap, eleven_point_ap

RANKED = st.lists(st.booleans(), max_size=30)


def interpolated(hits: list[bool], objects: int, recall: float) -> float:
    """The highest precision at that recall or a higher one, from the definition."""
    precisions = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits)) if sum(hits[: n + 1]) / objects >= recall]
    return max(precisions, default=0.0)


@settings(max_examples=40)
@given(RANKED, st.integers(0, 5))
def test_ap_at_fixed_recalls_is_the_mean_of_the_interpolated_precision(hits: list[bool], missed: int) -> None:
    objects = max(sum(hits) + missed, 1)
    found = np.array(hits, dtype=bool)
    eleven = [interpolated(hits, objects, step / 10) for step in range(11)]
    assert eleven_point_ap(found, objects) == pytest.approx(sum(eleven) / 11)
    hundred_and_one = [interpolated(hits, objects, recall) for recall in np.linspace(0, 1, 101)]
    assert coco_ap(found, objects) == pytest.approx(sum(hundred_and_one) / 101)


@settings(max_examples=40)
@given(RANKED, st.integers(0, 5))
def test_ap_by_all_points_is_the_area_under_the_interpolated_precision(hits: list[bool], missed: int) -> None:
    objects = max(sum(hits) + missed, 1)
    steps = [interpolated(hits, objects, found / objects) / objects for found in range(1, objects + 1)]
    assert all_point_ap(np.array(hits, dtype=bool), objects) == pytest.approx(sum(steps))


def test_half_of_the_objects_found_without_a_mistake() -> None:
    hits = np.array([True])
    assert eleven_point_ap(hits, 2) == pytest.approx(6 / 11)
    assert all_point_ap(hits, 2) == pytest.approx(0.5)
    assert coco_ap(hits, 2) == pytest.approx(51 / 101)


@pytest.mark.parametrize("ap", [eleven_point_ap, all_point_ap, coco_ap])
def test_without_objects_ap_is_not_a_number_and_without_detections_zero(ap: object) -> None:
    assert callable(ap)
    assert math.isnan(ap(np.array([False]), 0))
    assert ap(np.zeros(0, dtype=bool), 3) == 0
