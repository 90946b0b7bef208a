from __future__ import annotations

import math

import pytest
import torch
from assigner_scenes import assert_same, assign, one_object, plain_iou, random_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.losses.assigners.simota import simota

TOP_K = 10
STRIDES = (8, 16, 32)


def plain_cost(logits: list[float], label: int, overlap: float) -> float:
    cost = -3 * math.log(overlap + 1e-8)
    for index, x in enumerate(logits):
        root = math.sqrt(1 / (1 + math.exp(-x)))
        cost -= math.log(root if index == label else 1 - root)
    return cost


def plain_simota(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_labels: Tensor
) -> dict[int, tuple[int, float]]:
    """Point to object and IoU, with loops in double precision."""
    wanted: dict[int, list[tuple[float, int, float]]] = {}
    for index, (gt, label) in enumerate(zip(gt_boxes.double().tolist(), gt_labels.tolist(), strict=True)):
        candidates = []
        for point, (x, y) in enumerate(points.double().tolist()):
            reach = 1.5 * strides[point].item()
            if abs(x - (gt[0] + gt[2]) / 2) < reach and abs(y - (gt[1] + gt[3]) / 2) < reach:
                overlap = plain_iou(boxes[point].double().tolist(), gt)
                candidates.append((plain_cost(class_logits[point].double().tolist(), label, overlap), point, overlap))
        overlaps = sorted((overlap for _, _, overlap in candidates), reverse=True)
        k = max(int(sum(overlaps[:TOP_K])), 1)
        for cost, point, overlap in sorted(candidates)[:k]:
            wanted.setdefault(point, []).append((cost, index, overlap))
    return {point: min(claims)[1:] for point, claims in wanted.items()}


@given(st.integers(0, 10_000), st.sampled_from([16, 32, 64]), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=25)
def test_is_what_loops_over_the_definition_give(seed: int, size: int, objects: int, classes: int) -> None:
    scene = random_scene(seed, size, classes, objects)
    # Half of the predictions are good ones, or every object would take a single point.
    good = torch.arange(len(scene["points"])) % 2 == 0
    scene["boxes"][good] = scene["gt_boxes"][torch.arange(int(good.sum())) % objects] + scene["boxes"][good] / 50
    assert_same(assign(simota, scene), plain_simota(**scene))


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=15)
def test_among_equal_overlaps_the_scores_decide(seed: int, classes: int) -> None:
    scene = one_object((0.0, 0.0, 64.0, 64.0), 64, STRIDES)
    scene["boxes"] = scene["boxes"] * torch.tensor([1, 1, 1, 0.45])
    generator = torch.Generator().manual_seed(seed)
    scene["class_logits"] = torch.randn(len(scene["points"]), classes, generator=generator) * 2
    found = assign(simota, scene)
    assert len(found.points) == 4
    assert_same(found, plain_simota(**scene))


@pytest.mark.parametrize(("overlap", "expected"), [(0.999, 9), (0.55, 5), (0.21, 2), (0.15, 1), (0.01, 1), (0.0, 1)])
def test_an_object_takes_the_truncated_sum_of_its_10_highest_overlaps_at_least_1(overlap: float, expected: int) -> None:
    scene = one_object((0.0, 0.0, 64.0, 64.0), 64, STRIDES)
    scene["boxes"] = scene["boxes"] * torch.tensor([1, 1, 1, overlap])
    assert len(assign(simota, scene).points) == expected


def test_candidates_are_those_in_the_square_of_1_and_a_half_strides_around_the_centre() -> None:
    # Across, points 8 pixels away are within 12, those 16 away are not; the same down.
    scene = one_object((28.0, 28.0, 92.0, 92.0), 128, (8,))
    found = scene["points"][assign(simota, scene).points]
    assert {tuple(point) for point in found.tolist()} == {(x, y) for x in (52, 60, 68) for y in (52, 60, 68)}


def test_an_object_between_the_points_learns_from_those_beside_it() -> None:
    scene = one_object((13.0, 13.0, 15.0, 15.0), 64, STRIDES)
    found = assign(simota, scene)
    assert len(found.points) > 1
    assert ((scene["points"][found.points] - 14).abs().amax(dim=1) > 1).all()


def test_an_object_that_lacks_candidates_takes_none_of_another_object() -> None:
    """Whatever is predicted: the second object has one candidate, and ten good predictions elsewhere."""
    scene = one_object((28.0, 28.0, 92.0, 92.0), 128, (8,))
    scene["gt_boxes"] = torch.tensor([[28.0, 28.0, 92.0, 92.0], [-64.0, -64.0, 64.0, 64.0]])
    scene["gt_labels"] = torch.tensor([0, 0])
    scene["boxes"] = scene["gt_boxes"][1].repeat(len(scene["points"]), 1)
    found = assign(simota, scene)
    assert scene["points"][found.points[found.objects == 1]].tolist() == [[4, 4]]


@pytest.mark.parametrize("logit", [-80.0, 40.0, 80.0])
def test_scores_that_round_to_0_or_1_leave_costs_finite(logit: float) -> None:
    scene = one_object((28.0, 28.0, 92.0, 92.0), 128, (8,))
    scene["class_logits"] = torch.full((len(scene["points"]), 3), logit)
    assert len(assign(simota, scene).points) == 9
