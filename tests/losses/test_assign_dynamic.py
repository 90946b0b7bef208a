from __future__ import annotations

import math

import pytest
import torch
from assigner_scenes import assert_same, assign, grid, one_object, plain_iou, random_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.losses.assigners.dynamic import dynamic_soft_labels

TOP_K = 13


def plain_cost(logits: list[float], label: int, overlap: float, distance_in_strides: float) -> float:
    """The cost as the assigner's docstring states it."""
    cost = -3 * math.log(overlap + 1e-7) + 10 ** (distance_in_strides - 3)
    for index, x in enumerate(logits):
        target = overlap if index == label else 0.0
        score = 1 / (1 + math.exp(-x))
        cost += -(target * math.log(score) + (1 - target) * math.log(1 - score)) * (target - score) ** 2
    return cost


def plain_assign(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_labels: Tensor
) -> dict[int, tuple[int, float]]:
    """Point to object and IoU, with loops in double precision."""
    wanted: dict[int, list[tuple[float, int, float]]] = {}
    for index, (gt, label) in enumerate(zip(gt_boxes.double().tolist(), gt_labels.tolist(), strict=True)):
        candidates = []
        for point, (x, y) in enumerate(points.double().tolist()):
            if not (gt[0] < x < gt[2] and gt[1] < y < gt[3]):
                continue
            overlap = plain_iou(boxes[point].double().tolist(), gt)
            distance = math.hypot(x - (gt[0] + gt[2]) / 2, y - (gt[1] + gt[3]) / 2) / strides[point].item()
            cost = plain_cost(class_logits[point].double().tolist(), label, overlap, distance)
            candidates.append((cost, point, overlap))
        overlaps = sorted((overlap for _, _, overlap in candidates), reverse=True)
        k = max(int(sum(overlaps[:TOP_K])), 1)
        for cost, point, overlap in sorted(candidates)[:k]:
            wanted.setdefault(point, []).append((cost, index, overlap))
    return {point: min(claims)[1:] for point, claims in wanted.items()}


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=25)
def test_is_what_loops_over_the_definition_give(seed: int, objects: int, classes: int) -> None:
    scene = random_scene(seed, objects=objects, classes=classes)
    assert_same(assign(dynamic_soft_labels, scene), plain_assign(**scene))


@pytest.mark.parametrize("seed", range(3))
def test_objects_of_several_hundred_pixels(seed: int) -> None:
    """Here a fine cell is so many strides from the centre that its cost overflows float32."""
    scene = random_scene(seed, size=512, objects=2)
    scene["gt_boxes"] = torch.tensor([[-300.0, -300.0, 811.0, 800.0], [10.0, 20.0, 500.0, 490.0]])
    scene["boxes"] = scene["gt_boxes"][seed % 2] + torch.randn(len(scene["points"]), 4) * 5
    assert_same(assign(dynamic_soft_labels, scene), plain_assign(**scene))


def test_identical_boxes_of_two_classes_are_told_apart_by_the_scores() -> None:
    scene = random_scene(1, objects=2)
    scene["gt_boxes"] = torch.tensor([[8.0, 8.0, 56.0, 56.0]]).repeat(2, 1)
    scene["gt_labels"] = torch.tensor([0, 1])
    assert_same(assign(dynamic_soft_labels, scene), plain_assign(**scene))


class TestHowMany:
    def scene(self, overlap_share: float) -> dict[str, Tensor]:
        """One object over a 64 pixel square, 84 candidates, each of whose predictions overlaps it by this share."""
        scene = one_object((0.0, 0.0, 64.0, 64.0), 64, (8, 16, 32))
        scene["boxes"] = scene["boxes"] * torch.tensor([1, 1, 1, overlap_share])
        return scene

    @pytest.mark.parametrize(("overlap", "expected"), [(0.999, 12), (0.5, 6), (0.2, 2), (0.1, 1), (0.01, 1), (0.0, 1)])
    def test_is_the_truncated_sum_of_the_13_highest_overlaps_at_least_1(self, overlap: float, expected: int) -> None:
        assert len(assign(dynamic_soft_labels, self.scene(overlap)).points) == expected

    def test_fewer_candidates_than_that_are_all_taken(self) -> None:
        scene = one_object((16.0, 16.0, 32.0, 32.0), 64, (8, 16, 32))
        within = ((scene["points"] > 16) & (scene["points"] < 32)).all(dim=1)
        assert torch.equal(assign(dynamic_soft_labels, scene).points, within.nonzero().squeeze(1))

    def test_the_nearest_to_the_centre_are_taken_where_all_else_is_equal(self) -> None:
        scene = self.scene(0.5)
        distance = (scene["points"] - 32).norm(dim=1) / scene["strides"]
        assert set(assign(dynamic_soft_labels, scene).points.tolist()) <= set(distance.argsort()[:12].tolist())


def test_predictions_without_area_still_teach_the_object() -> None:
    points, _ = grid(64)
    scene = {**one_object((8.0, 8.0, 56.0, 56.0), 64, (8, 16, 32)), "boxes": points.repeat(1, 2)}
    found = assign(dynamic_soft_labels, scene)
    assert len(found.points) == 1
    assert found.ious.tolist() == [0]
