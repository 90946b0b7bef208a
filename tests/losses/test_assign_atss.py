from __future__ import annotations

import math
import statistics

import pytest
import torch
from assigner_scenes import assert_same, assign, one_object, plain_iou, random_scene
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.losses.assigners.atss import atss


def plain_atss(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_labels: Tensor
) -> dict[int, tuple[int, float]]:
    """Point to object and IoU of its prediction, with loops in double precision."""
    wanted: dict[int, list[tuple[float, int]]] = {}
    levels = strides.tolist()
    for index, gt in enumerate(gt_boxes.double().tolist()):
        overlaps = {}
        for level in set(levels):
            nearest = sorted(
                (math.hypot(x - (gt[0] + gt[2]) / 2, y - (gt[1] + gt[3]) / 2), point, x, y)
                for point, (x, y) in enumerate(points.double().tolist())
                if levels[point] == level
            )
            for _, point, x, y in nearest[:9]:
                overlaps[point] = plain_iou([x - 4 * level, y - 4 * level, x + 4 * level, y + 4 * level], gt)
        threshold = statistics.mean(overlaps.values()) + statistics.stdev(overlaps.values())
        for point, overlap in overlaps.items():
            x, y = points[point].tolist()
            if overlap >= threshold and gt[0] < x < gt[2] and gt[1] < y < gt[3]:
                wanted.setdefault(point, []).append((overlap, index))
    return {
        point: (max(claims)[1], plain_iou(boxes[point].double().tolist(), gt_boxes[max(claims)[1]].double().tolist()))
        for point, claims in wanted.items()
    }


@given(st.integers(0, 10_000), st.sampled_from([16, 32, 64, 128]), st.integers(1, 6))
@example(seed=29, size=64, objects=3)
@example(seed=23, size=128, objects=4)
@settings(max_examples=25)
def test_is_what_loops_over_the_algorithm_give(seed: int, size: int, objects: int) -> None:
    """In the examples that are written down, the standard deviation of a population chooses other points."""
    scene = random_scene(seed, size, objects=objects)
    assert_same(assign(atss, scene), plain_atss(**scene))


def test_an_object_of_an_anchors_size_on_a_point() -> None:
    """IoUs of the 9 nearest anchors: 1, four times 7/9 and four times .6203; mean .7325, deviation .1276."""
    scene = one_object((28.0, 28.0, 92.0, 92.0), 128, (8,))
    assert scene["points"][assign(atss, scene).points].tolist() == [[60, 60]]


def test_an_object_learns_on_the_level_of_its_size() -> None:
    for box, stride in (((28.0, 28.0, 92.0, 92.0), 8), ((64.0, 64.0, 192.0, 192.0), 16)):
        scene = one_object(box, 256, (8, 16, 32))
        assert set(scene["strides"][assign(atss, scene).points].tolist()) == {stride}


@pytest.mark.parametrize("half", [210.2, 213.6, 1000.0])
def test_where_all_anchors_overlap_an_object_equally_all_candidates_are_positive(half: float) -> None:
    """The float32 mean of the first two's equal IoUs is larger than these."""
    scene = one_object((60 - half, 60 - half, 60 + half, 60 + half), 128, (8,))
    assert len(assign(atss, scene).points) == 9


def test_a_single_point_is_positive_for_the_object_around_it() -> None:
    scene = one_object((0.0, 0.0, 8.0, 8.0), 8, (8,))
    assert assign(atss, scene).points.tolist() == [0]


@given(st.integers(0, 10_000))
@settings(max_examples=15)
def test_predictions_decide_the_overlaps_alone(seed: int) -> None:
    scene, other = random_scene(seed), random_scene(seed + 1)
    found = assign(atss, scene)
    changed = assign(atss, {**scene, "class_logits": other["class_logits"], "boxes": other["boxes"]})
    assert torch.equal(found.points, changed.points)
    assert torch.equal(found.objects, changed.objects)
    assert len(found.points) == 0 or not torch.equal(found.ious, changed.ious)
