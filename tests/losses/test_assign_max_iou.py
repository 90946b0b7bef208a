from __future__ import annotations

import pytest
import torch
from assigner_scenes import assert_same, max_iou_of_image, plain_iou
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.errors import EdgedetError
from edgedet.losses.assigners.max_iou import max_iou
from edgedet.losses.targets import Targets, joined


def random_boxes(seed: int, count: int, size: float = 64.0) -> Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)) * size
    return torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)


def plain_max_iou(
    anchors: Tensor, gt_boxes: Tensor, positive: float, negative: float
) -> tuple[dict[int, tuple[int, float]], list[bool]]:
    """Anchor to object and IoU, and which anchors are ignored, with loops in double precision."""
    overlaps = [[plain_iou(anchor, gt) for gt in gt_boxes.double().tolist()] for anchor in anchors.double().tolist()]
    found, ignored = {}, []
    for index, row in enumerate(overlaps):
        best_of = [gt for gt in range(len(row)) if row[gt] == max(other[gt] for other in overlaps) > 0]
        choices = best_of or (range(len(row)) if max(row) >= positive else [])
        if choices:
            chosen = max(choices, key=lambda gt: row[gt])
            found[index] = (chosen, row[chosen])
        ignored.append(not choices and max(row) >= negative)
    return found, ignored


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 6), st.sampled_from([(0.5, 0.4), (0.3, 0.3)]))
@settings(max_examples=30)
def test_is_what_loops_over_the_definition_give(
    seed: int, count: int, objects: int, thresholds: tuple[float, float]
) -> None:
    positive, negative = thresholds
    anchors, gt_boxes = random_boxes(seed, count), random_boxes(seed + 1, objects)
    found = max_iou_of_image(anchors, gt_boxes, positive=positive, negative=negative)
    expected, ignored = plain_max_iou(anchors, gt_boxes, positive, negative)
    assert_same(found, expected, dict.fromkeys(expected, 1.0))
    assert found.ignored.tolist() == [ignored]


def test_anchors_computed_by_hand() -> None:
    """IoU 1, .5, .45 and .3 with the first object; the last anchor's .111 is the second object's best."""
    anchors = torch.tensor(
        [
            [0.0, 0.0, 10.0, 10.0],
            [0.0, 0.0, 10.0, 5.0],
            [0.0, 0.0, 10.0, 4.5],
            [0.0, 0.0, 10.0, 3.0],
            [100.0, 100.0, 130.0, 130.0],
        ]
    )
    found = max_iou_of_image(anchors, torch.tensor([[0.0, 0.0, 10.0, 10.0], [100.0, 100.0, 110.0, 110.0]]))
    assert found.points.tolist() == [0, 1, 4]
    assert found.objects.tolist() == [0, 0, 1]
    assert found.ious.tolist() == pytest.approx([1, 0.5, 1 / 9])
    assert found.weights.tolist() == [1, 1, 1]
    assert found.ignored[0].tolist() == [False, False, True, False, False]


def test_an_overlap_of_the_negative_threshold_is_ignored() -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 5.0, 5.0]])
    found = max_iou_of_image(anchors, anchors[:1], negative=0.25)
    assert found.points.tolist() == [0]
    assert found.ignored[0].tolist() == [False, True]


def test_an_objects_best_anchor_learns_it_though_it_overlaps_another_more() -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0]])
    gt_boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 2.0]])
    found = max_iou_of_image(anchors, gt_boxes)
    assert found.objects.tolist() == [0, 1]
    assert found.ious.tolist() == pytest.approx([1, 0.25])


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_the_order_of_objects_does_not_matter(seed: int) -> None:
    anchors, gt_boxes = random_boxes(seed, 40), random_boxes(seed + 1, 5)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    straight, mixed = max_iou_of_image(anchors, gt_boxes), max_iou_of_image(anchors, gt_boxes[order])
    assert torch.equal(mixed.points, straight.points)
    assert torch.equal(order[mixed.objects], straight.objects)
    assert torch.equal(mixed.ignored, straight.ignored)


@pytest.mark.parametrize(
    "boxes",
    [[], [[5.0, 5.0, 5.0, 5.0]], [[0.0, 20.0, 64.0, 20.0]], [[40.0, 40.0, 20.0, 20.0]], [[100.0, 100.0, 120.0, 120.0]]],
    ids=["none", "point", "line", "inverted", "outside"],
)
def test_objects_that_no_anchor_overlaps_leave_all_anchors_background(boxes: list[list[float]]) -> None:
    found = max_iou_of_image(random_boxes(0, 20), torch.tensor(boxes).reshape(-1, 4))
    assert found.points.shape == found.objects.shape == found.ious.shape == found.weights.shape == (0,)
    assert found.points.dtype == found.objects.dtype == torch.long
    assert found.ignored[0].tolist() == [False] * 20


def test_identical_objects_share_no_anchor() -> None:
    anchors, box = random_boxes(1, 30), torch.tensor([[10.0, 10.0, 50.0, 50.0]])
    assert torch.equal(max_iou_of_image(anchors, box.repeat(2, 1)).points, max_iou_of_image(anchors, box).points)


def test_half_precision_is_computed_in_single() -> None:
    anchors, gt_boxes = (random_boxes(seed, 30, 1000.0).half() for seed in (0, 1))
    found, expected = max_iou_of_image(anchors, gt_boxes), max_iou_of_image(anchors.float(), gt_boxes.float())
    assert torch.equal(found.points, expected.points)
    assert torch.equal(found.ious, expected.ious)


@pytest.mark.parametrize(("positive", "negative"), [(0.4, 0.5), (1.1, 0.5), (0.5, 0.0), (float("nan"), 0.4)])
def test_thresholds_out_of_order_are_refused(positive: float, negative: float) -> None:
    with pytest.raises(EdgedetError, match="thresholds"):
        max_iou_of_image(random_boxes(0, 3), random_boxes(1, 2), positive=positive, negative=negative)


@given(st.integers(0, 10_000), st.lists(st.integers(0, 5), min_size=1, max_size=4))
@settings(max_examples=20)
def test_an_image_is_assigned_alike_alone_and_in_a_batch(seed: int, counts: list[int]) -> None:
    anchors = random_boxes(seed, 40)
    boxes = [random_boxes(seed + 1 + image, count) for image, count in enumerate(counts)]
    targets = [Targets(one, torch.zeros(len(one), dtype=torch.long)) for one in boxes]
    found = max_iou(anchors, joined(targets), len(counts))
    before = 0
    for image, one in enumerate(boxes):
        alone, here = max_iou_of_image(anchors, one), found.images == image
        assert torch.equal(found.points[here], alone.points)
        assert torch.equal(found.objects[here] - before, alone.objects)
        assert torch.equal(found.ious[here], alone.ious)
        assert torch.equal(found.ignored[image], alone.ignored[0])
        before += len(one)
