from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.losses.assign import Assignment, assign

TOP_K = 13


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


def plain_iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared + 1e-7)


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


def assert_same(found: Assignment, expected: dict[int, tuple[int, float]]) -> None:
    assert found.points.tolist() == sorted(expected)
    assert found.objects.tolist() == [expected[point][0] for point in sorted(expected)]
    assert found.ious.tolist() == pytest.approx([expected[point][1] for point in sorted(expected)], abs=1e-5)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=25)
def test_is_what_loops_over_the_definition_give(seed: int, objects: int, classes: int) -> None:
    scene = random_scene(seed, objects=objects, classes=classes)
    assert_same(assign(**scene), plain_assign(**scene))


@pytest.mark.parametrize("seed", range(3))
def test_objects_of_several_hundred_pixels(seed: int) -> None:
    """Here a fine cell is so many strides from the centre that its cost overflows float32."""
    scene = random_scene(seed, size=512, objects=2)
    scene["gt_boxes"] = torch.tensor([[-300.0, -300.0, 811.0, 800.0], [10.0, 20.0, 500.0, 490.0]])
    scene["boxes"] = scene["gt_boxes"][seed % 2] + torch.randn(len(scene["points"]), 4) * 5
    assert_same(assign(**scene), plain_assign(**scene))


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_the_order_of_objects_and_of_points_does_not_matter(seed: int) -> None:
    scene = random_scene(seed)
    generator = torch.Generator().manual_seed(seed)
    objects, points = (torch.randperm(len(scene[key]), generator=generator) for key in ("gt_boxes", "points"))
    shuffled = {key: value[objects] if key.startswith("gt") else value[points] for key, value in scene.items()}
    straight, mixed = assign(**scene), assign(**shuffled)
    pairs = zip(points[mixed.points].tolist(), objects[mixed.objects].tolist(), strict=True)
    assert sorted(pairs) == list(zip(straight.points.tolist(), straight.objects.tolist(), strict=True))


@given(st.integers(0, 10_000), st.floats(0, 3))
@settings(max_examples=30)
def test_each_point_once_and_inside_its_object(seed: int, spread: float) -> None:
    scene = random_scene(seed)
    scene["class_logits"] *= spread
    found = assign(**scene)
    assert found.points.tolist() == sorted(set(found.points.tolist()))
    x, y = scene["points"][found.points].T
    x1, y1, x2, y2 = scene["gt_boxes"][found.objects].T
    assert ((x > x1) & (x < x2) & (y > y1) & (y < y2)).all()
    assert ((found.ious >= 0) & (found.ious <= 1)).all()


class TestHowMany:
    def scene(self, overlap_share: float) -> dict[str, Tensor]:
        """One object over a 64 pixel square, 84 candidates, each of whose predictions overlaps it by this share."""
        points, strides = grid(64)
        box = torch.tensor([0.0, 0.0, 64.0, 64.0])
        return {
            "class_logits": torch.zeros(len(points), 1),
            "boxes": (box * torch.tensor([1, 1, 1, overlap_share])).repeat(len(points), 1),
            "points": points,
            "strides": strides,
            "gt_boxes": box[None],
            "gt_labels": torch.tensor([0]),
        }

    @pytest.mark.parametrize(("overlap", "expected"), [(0.999, 12), (0.5, 6), (0.2, 2), (0.1, 1), (0.01, 1), (0.0, 1)])
    def test_is_the_truncated_sum_of_the_13_highest_overlaps_at_least_1(self, overlap: float, expected: int) -> None:
        assert len(assign(**self.scene(overlap)).points) == expected

    def test_fewer_candidates_than_that_are_all_taken(self) -> None:
        scene = self.scene(0.999)
        scene["gt_boxes"] = torch.tensor([[16.0, 16.0, 32.0, 32.0]])
        scene["boxes"] = scene["gt_boxes"].repeat(len(scene["points"]), 1)
        inside = ((scene["points"] > 16) & (scene["points"] < 32)).all(dim=1)
        assert torch.equal(assign(**scene).points, inside.nonzero().squeeze(1))

    def test_the_nearest_to_the_centre_are_taken_where_all_else_is_equal(self) -> None:
        scene = self.scene(0.5)
        distance = (scene["points"] - 32).norm(dim=1) / scene["strides"]
        assert set(assign(**scene).points.tolist()) <= set(distance.argsort()[:12].tolist())


class TestDegenerate:
    @pytest.mark.parametrize(
        "boxes",
        [
            [],
            [[10.0, 10.0, 10.0, 10.0]],
            [[12.0, 12.0, 12.0, 12.0]],
            [[0.0, 20.0, 64.0, 20.0], [5.0, 0.0, 5.0, 64.0]],
            [[40.0, 40.0, 20.0, 20.0]],
            [[-90.0, -90.0, -10.0, -10.0], [70.0, 0.0, 90.0, 64.0]],
            [[13.0, 13.0, 15.0, 15.0]],
        ],
        ids=["none", "point", "point on a cell's centre", "lines", "inverted", "outside", "between the cells"],
    )
    def test_objects_without_a_candidate_get_nothing(self, boxes: list[list[float]]) -> None:
        scene = random_scene(0)
        scene["gt_boxes"] = torch.tensor(boxes).reshape(-1, 4)
        scene["gt_labels"] = torch.zeros(len(boxes), dtype=torch.long)
        found = assign(**scene)
        assert found.points.shape == found.objects.shape == found.ious.shape == (0,)
        assert found.points.dtype == found.objects.dtype == torch.long

    def test_a_degenerate_object_takes_nothing_from_the_others(self) -> None:
        scene = random_scene(3)
        expected = assign(**scene)
        scene["gt_boxes"] = torch.cat([scene["gt_boxes"], torch.tensor([[20.0, 20.0, 20.0, 44.0]])])
        scene["gt_labels"] = torch.cat([scene["gt_labels"], torch.tensor([0])])
        found = assign(**scene)
        assert torch.equal(found.points, expected.points)
        assert torch.equal(found.objects, expected.objects)

    def test_identical_boxes_of_two_classes_share_no_point(self) -> None:
        scene = random_scene(1, objects=2)
        scene["gt_boxes"] = torch.tensor([[8.0, 8.0, 56.0, 56.0]]).repeat(2, 1)
        scene["gt_labels"] = torch.tensor([0, 1])
        found = assign(**scene)
        assert len(set(found.points.tolist())) == len(found.points) > 0
        assert_same(found, plain_assign(**scene))

    def test_an_object_twice_is_as_good_as_once(self) -> None:
        scene = random_scene(2, objects=1)
        scene["gt_boxes"] = torch.tensor([[8.0, 8.0, 56.0, 56.0]])
        once = assign(**scene)
        twice = assign(
            **{**scene, "gt_boxes": scene["gt_boxes"].repeat(2, 1), "gt_labels": scene["gt_labels"].repeat(2)}
        )
        assert torch.equal(once.points, twice.points)

    def test_predictions_without_area_still_teach_the_object(self) -> None:
        scene = random_scene(4, objects=1)
        scene["gt_boxes"] = torch.tensor([[8.0, 8.0, 56.0, 56.0]])
        scene["boxes"] = scene["points"].repeat(1, 2)
        found = assign(**scene)
        assert len(found.points) == 1
        assert found.ious.tolist() == [0]

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_predictions_that_are_no_numbers_do_not_crash(self, bad: float) -> None:
        """The loss reports them, with the images' names."""
        scene = random_scene(5)
        for key in ("class_logits", "boxes"):
            assert assign(**{**scene, key: torch.full_like(scene[key], bad)}).points.dtype == torch.long

    def test_needs_no_gradient(self) -> None:
        scene = random_scene(6)
        scene["class_logits"].requires_grad_()
        assert not assign(**scene).ious.requires_grad
