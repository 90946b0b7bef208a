from __future__ import annotations

import math

import pytest
import torch
from assigner_scenes import assert_same, assign, one_object, plain_iou, random_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.losses.assigners.centre_sampling import centre_sampling

RANGES = {8: (0, 64), 16: (64, 128), 32: (128, math.inf)}


def plain_centre_sampling(
    class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_labels: Tensor
) -> dict[int, tuple[int, float]]:
    """Point to object and IoU of its prediction, with loops in double precision, for strides 8, 16 and 32."""
    found = {}
    for point, (x, y) in enumerate(points.double().tolist()):
        stride = strides[point].item()
        claims = []
        for index, gt in enumerate(gt_boxes.double().tolist()):
            sides = (x - gt[0], y - gt[1], gt[2] - x, gt[3] - y)
            off_centre = max(abs(x - (gt[0] + gt[2]) / 2), abs(y - (gt[1] + gt[3]) / 2))
            lower, upper = RANGES[int(stride)]
            if min(sides) > 0 and off_centre < 1.5 * stride and lower <= max(sides) <= upper:
                claims.append(((gt[2] - gt[0]) * (gt[3] - gt[1]), index))
        if claims:
            index = min(claims)[1]
            found[point] = (index, plain_iou(boxes[point].double().tolist(), gt_boxes[index].double().tolist()))
    return found


@given(st.integers(0, 10_000), st.sampled_from([32, 64, 256]), st.integers(1, 6))
@settings(max_examples=25)
def test_is_what_loops_over_the_definition_give(seed: int, size: int, objects: int) -> None:
    scene = random_scene(seed, size, objects=objects)
    assert_same(assign(centre_sampling, scene), plain_centre_sampling(**scene))


@pytest.mark.parametrize(
    ("half", "stride", "coordinates"),
    [(2.0, 8, {60.0}), (40.0, 8, {52.0, 60.0, 68.0}), (80.0, 16, {40.0, 56.0, 72.0}), (500.0, 16, {40.0, 56.0, 72.0})],
    ids=["one point inside", "small", "large", "beyond every range"],
)
def test_an_object_learns_around_its_centre_on_the_level_of_its_size(
    half: float, stride: int, coordinates: set[float]
) -> None:
    scene = one_object((60 - half, 60 - half, 60 + half, 60 + half), 128, (8, 16))
    found = assign(centre_sampling, scene).points
    assert set(scene["strides"][found].tolist()) == {stride}
    assert {tuple(point) for point in scene["points"][found].tolist()} == {
        (x, y) for x in coordinates for y in coordinates
    }


def test_an_object_at_the_end_of_two_ranges_learns_on_both_levels() -> None:
    scene = one_object((-4.0, -4.0, 124.0, 124.0), 128, (8, 16))
    found = assign(centre_sampling, scene).points
    assert scene["points"][found][scene["strides"][found] == 8].tolist() == [[60, 60]]
    assert (scene["strides"][found] == 16).sum() == 9


def test_a_level_begins_where_the_finer_one_ends() -> None:
    scene = one_object((-8.0, -8.0, 120.0, 120.0), 128, (8, 16))
    found = assign(centre_sampling, scene).points
    assert scene["strides"][found].tolist() == [16.0] * 9
    assert [56.0, 56.0] in scene["points"][found].tolist(), "64 pixels from every side"


def test_levels_that_leave_out_a_stride_leave_no_size_out() -> None:
    scene = one_object((-30.0, -30.0, 150.0, 150.0), 128, (8, 32))
    assert scene["strides"][assign(centre_sampling, scene).points].tolist() == [32.0] * 9


def test_a_point_of_two_objects_learns_the_smaller() -> None:
    scene = one_object((28.0, 28.0, 92.0, 92.0), 128, (8,))
    scene["gt_boxes"] = torch.tensor([[28.0, 28.0, 92.0, 92.0], [50.0, 50.0, 70.0, 70.0], [24.0, 24.0, 96.0, 96.0]])
    scene["gt_labels"] = torch.tensor([0, 0, 0])
    found = assign(centre_sampling, scene)
    assert len(found.points) == 9
    assert found.objects.tolist() == [1] * 9
