"""Scenes for assigners, and what their plain counterparts in the tests share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edgedet.losses.assigners import AnchorAssignment, Assignment, PointAssigner, max_iou
from edgedet.losses.targets import Targets, joined


def grid(size: int, strides: tuple[int, ...] = (8, 16, 32)) -> tuple[Tensor, Tensor]:
    """Cell centres and strides, written down anew."""
    points = [
        ((column + 0.5) * stride, (row + 0.5) * stride)
        for stride in strides
        for row in range(size // stride)
        for column in range(size // stride)
    ]
    return torch.tensor(points), torch.tensor([float(s) for s in strides for _ in range((size // s) ** 2)])


def random_scene(seed: int, size: int = 64, classes: int = 3, objects: int = 4) -> dict[str, Tensor]:
    """One image: what is predicted, where, and its objects."""
    generator = torch.Generator().manual_seed(seed)
    points, strides = grid(size)
    corners = torch.rand(objects, 2, 2, generator=generator) * size
    distances = torch.rand(len(points), 4, generator=generator) * 4 * strides[:, None]
    return {
        "class_logits": torch.randn(len(points), classes, generator=generator) * 2 - 1,
        "boxes": torch.cat([points - distances[:, :2], points + distances[:, 2:]], dim=1),
        "points": points,
        "strides": strides,
        "gt_boxes": torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1),
        "gt_labels": torch.randint(classes, (objects,), generator=generator),
    }


def one_object(box: tuple[float, ...], size: int, strides: tuple[int, ...]) -> dict[str, Tensor]:
    """A scene of one class whose every point predicts the object."""
    points, point_strides = grid(size, strides)
    return {
        "class_logits": torch.zeros(len(points), 1),
        "boxes": torch.tensor(box).repeat(len(points), 1),
        "points": points,
        "strides": point_strides,
        "gt_boxes": torch.tensor([box]),
        "gt_labels": torch.tensor([0]),
    }


def assign(assigner: PointAssigner, scene: dict[str, Tensor]) -> Assignment:
    """Of a batch that has the scene alone."""
    class_logits, boxes, points, strides, gt_boxes, gt_labels = scene.values()
    return assign_image(assigner, class_logits, boxes, points, strides, Targets(gt_boxes, gt_labels))


def assign_image(
    assigner: PointAssigner, class_logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, target: Targets
) -> Assignment:
    """Of a batch of one image, whose outputs are `[N, C]` and `[N, 4]`."""
    return assigner(class_logits[None], boxes[None], points, strides, joined([target]))


def max_iou_of_image(anchors: Tensor, gt_boxes: Tensor, **thresholds: float) -> AnchorAssignment:
    """Of a batch of one image."""
    labels = torch.zeros(len(gt_boxes), dtype=torch.long)
    return max_iou(anchors, joined([Targets(gt_boxes, labels)]), 1, **thresholds)


def plain_iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared + 1e-7)


def assert_same(
    found: Assignment, expected: dict[int, tuple[int, float]], weights: dict[int, float] | None = None
) -> None:
    """Is it the object and the IoU of every positive point; without `weights` the IoUs are those too."""
    points = sorted(expected)
    assert found.points.tolist() == points
    assert found.objects.tolist() == [expected[point][0] for point in points]
    assert found.ious.tolist() == pytest.approx([expected[point][1] for point in points], abs=1e-5)
    weights = weights or {point: expected[point][1] for point in points}
    assert found.weights.tolist() == pytest.approx([weights[point] for point in points], abs=1e-5)
