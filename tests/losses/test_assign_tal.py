from __future__ import annotations

import math

import pytest
import torch
from assigner_scenes import assert_same, assign, one_object, plain_iou, random_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.losses.assigners.tal import task_aligned

STRIDES = (8, 16, 32)


def plain_task_aligned(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_labels: Tensor
) -> tuple[dict[int, tuple[int, float]], dict[int, float]]:
    """Point to object and IoU, and point to target, with loops in double precision."""
    wanted: dict[int, list[tuple[float, int, float]]] = {}
    for index, (gt, label) in enumerate(zip(gt_boxes.double().tolist(), gt_labels.tolist(), strict=True)):
        candidates = []
        for point, (x, y) in enumerate(points.double().tolist()):
            overlap = plain_iou(boxes[point].double().tolist(), gt)
            if gt[0] < x < gt[2] and gt[1] < y < gt[3] and overlap > 0:
                score = 1 / (1 + math.exp(-class_logits[point, label].item()))
                candidates.append((score * overlap**6, point, overlap))
        for metric, point, overlap in sorted(candidates, reverse=True)[:13]:
            wanted.setdefault(point, []).append((overlap, index, metric))
    kept = {point: max(claims) for point, claims in wanted.items()}
    weights = {}
    for point, (_, index, metric) in kept.items():
        mine = [claim for claim in kept.values() if claim[1] == index]
        weights[point] = metric / max(claim[2] for claim in mine) * max(claim[0] for claim in mine)
    return {point: (index, overlap) for point, (overlap, index, _) in kept.items()}, weights


@given(st.integers(0, 10_000), st.sampled_from([16, 32, 64]), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=25)
def test_is_what_loops_over_the_definition_give(seed: int, size: int, objects: int, classes: int) -> None:
    scene = random_scene(seed, size, classes, objects)
    assert_same(assign(task_aligned, scene), *plain_task_aligned(**scene))


def test_the_metric_is_the_score_times_the_overlap_to_the_power_of_six() -> None:
    """Beside a point of metric 1 and IoU 1, the target of one of score .6 and IoU .8 is its metric."""
    scene = one_object((0.0, 0.0, 16.0, 16.0), 16, (8,))
    scene["boxes"] = torch.tensor([[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 16.0, 12.8]]).repeat(2, 1)
    scene["class_logits"] = torch.tensor([30.0, math.log(0.6 / 0.4)]).repeat(2)[:, None]
    found = assign(task_aligned, scene)
    assert found.ious.tolist() == pytest.approx([1, 0.8, 1, 0.8])
    assert found.weights.tolist() == pytest.approx([1, 0.157286, 1, 0.157286], abs=1e-6)


def test_the_best_point_of_an_object_has_its_highest_overlap_for_a_target() -> None:
    scene = random_scene(4, objects=3)
    found = assign(task_aligned, scene)
    assert len(found.objects.unique()) == 3
    for index in range(3):
        mine = found.objects == index
        assert found.weights[mine].max().item() == pytest.approx(found.ious[mine].max().item())


def test_an_object_takes_13_points_and_fewer_where_it_has_fewer() -> None:
    large, small = (one_object(box, 64, STRIDES) for box in ((0.0, 0.0, 64.0, 64.0), (16.0, 16.0, 32.0, 32.0)))
    assert len(assign(task_aligned, large).points) == 13
    assert len(assign(task_aligned, small).points) == 4 + 1


def test_overlaps_whose_sixth_power_float32_cannot_hold_are_ranked_all_the_same() -> None:
    scene = one_object((0.0, 0.0, 64.0, 64.0), 64, STRIDES)
    points = scene["points"]
    sides = 0.001 + 0.0001 * torch.arange(len(points))[:, None]
    scene["boxes"] = torch.cat([points - sides / 2, points + sides / 2], dim=1)
    found = assign(task_aligned, scene)
    assert found.points.tolist() == list(range(len(points) - 13, len(points)))
    assert found.weights[-1] == found.ious[-1] > 0
    assert (found.weights.diff() > 0).all()


def test_points_whose_boxes_do_not_meet_the_object_are_not_taken() -> None:
    scene = one_object((8.0, 8.0, 56.0, 56.0), 64, STRIDES)
    scene["boxes"] = scene["boxes"] + 100
    assert len(assign(task_aligned, scene).points) == 0
    scene["boxes"][20] -= 100
    assert assign(task_aligned, scene).points.tolist() == [20]


def test_a_point_of_two_objects_learns_the_one_it_overlaps_most_whatever_the_scores() -> None:
    scene = one_object((0.0, 0.0, 64.0, 64.0), 64, (32,))
    scene["gt_boxes"] = torch.tensor([[0.0, 0.0, 64.0, 64.0], [0.0, 0.0, 64.0, 60.0]])
    scene["gt_labels"] = torch.tensor([0, 1])
    scene["class_logits"] = torch.tensor([[-5.0, 5.0]]).repeat(len(scene["points"]), 1)
    assert assign(task_aligned, scene).objects.tolist() == [0, 0, 0, 0]
