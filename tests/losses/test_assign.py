"""What all assigners of points have in common."""

from __future__ import annotations

import pytest
import torch
from assigner_scenes import assign, one_object, random_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.losses.assigners import ASSIGNERS, Assignment
from edgedet.losses.assigners.pairs import lowest_of_each, ranks
from edgedet.losses.targets import Targets, joined

EVERY = pytest.mark.parametrize("name", ASSIGNERS)
# SimOTA's candidates are all around the centre, also where the object is smaller.
INSIDE = pytest.mark.parametrize("name", [name for name in ASSIGNERS if name != "simota"])
NO_OBJECTS = {
    "none": [],
    "point": [[10.0, 10.0, 10.0, 10.0]],
    "point on a cell's centre": [[12.0, 12.0, 12.0, 12.0]],
    "lines": [[0.0, 20.0, 64.0, 20.0], [5.0, 0.0, 5.0, 64.0]],
    "inverted": [[40.0, 40.0, 20.0, 20.0]],
    "outside": [[-190.0, -190.0, -110.0, -110.0], [170.0, 0.0, 190.0, 64.0]],
}


def run(name: str, scene: dict[str, Tensor]) -> Assignment:
    return assign(ASSIGNERS[name], scene)


def with_objects(scene: dict[str, Tensor], boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
    return {**scene, "gt_boxes": boxes, "gt_labels": labels}


@EVERY
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_the_order_of_objects_and_of_points_does_not_matter(name: str, seed: int) -> None:
    scene = random_scene(seed)
    generator = torch.Generator().manual_seed(seed)
    objects, points = (torch.randperm(len(scene[key]), generator=generator) for key in ("gt_boxes", "points"))
    shuffled = {key: value[objects] if key.startswith("gt") else value[points] for key, value in scene.items()}
    straight, mixed = run(name, scene), run(name, shuffled)
    back = points[mixed.points].argsort()
    assert torch.equal(points[mixed.points][back], straight.points)
    assert torch.equal(objects[mixed.objects][back], straight.objects)
    torch.testing.assert_close(mixed.weights[back], straight.weights)


@EVERY
@given(seed=st.integers(0, 10_000), spread=st.floats(0, 3), objects=st.sampled_from([1, 4, 150]))
@settings(max_examples=20)
def test_each_point_once_in_ascending_order_with_numbers_in_range(
    name: str, seed: int, spread: float, objects: int
) -> None:
    scene = random_scene(seed, objects=objects)
    scene["class_logits"] *= spread
    found = run(name, scene)
    assert found.points.tolist() == sorted(set(found.points.tolist()))
    assert found.points.shape == found.objects.shape == found.ious.shape == found.weights.shape
    assert ((found.objects >= 0) & (found.objects < objects)).all()
    for share in (found.ious, found.weights):
        assert ((share >= 0) & (share <= 1)).all()


@EVERY
def test_a_crowd_has_positive_points_of_many_objects(name: str) -> None:
    found = run(name, random_scene(0, objects=150))
    assert len(found.objects.unique()) > 10


@INSIDE
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_every_point_is_inside_its_object(name: str, seed: int) -> None:
    scene = random_scene(seed)
    found = run(name, scene)
    x, y = scene["points"][found.points].T
    x1, y1, x2, y2 = scene["gt_boxes"][found.objects].T
    assert ((x > x1) & (x < x2) & (y > y1) & (y < y2)).all()


@INSIDE
def test_points_on_an_objects_edges_are_outside(name: str) -> None:
    scene = one_object((12.0, 12.0, 28.0, 28.0), 64, (8,))
    assert scene["points"][run(name, scene).points].tolist() == [[20, 20]]


class TestDegenerate:
    @EVERY
    @pytest.mark.parametrize("boxes", NO_OBJECTS.values(), ids=NO_OBJECTS)
    def test_objects_without_a_candidate_get_nothing(self, name: str, boxes: list[list[float]]) -> None:
        labels = torch.zeros(len(boxes), dtype=torch.long)
        found = run(name, with_objects(random_scene(0), torch.tensor(boxes).reshape(-1, 4), labels))
        assert found.points.shape == found.objects.shape == found.ious.shape == found.weights.shape == (0,)
        assert found.points.dtype == found.objects.dtype == torch.long

    @INSIDE
    def test_an_object_between_the_cells_gets_nothing(self, name: str) -> None:
        scene = with_objects(random_scene(0), torch.tensor([[13.0, 13.0, 15.0, 15.0]]), torch.tensor([0]))
        assert len(run(name, scene).points) == 0

    @EVERY
    def test_a_degenerate_object_takes_nothing_from_the_others(self, name: str) -> None:
        scene = random_scene(3)
        more = torch.cat([scene["gt_boxes"], torch.tensor([[20.0, 20.0, 20.0, 44.0]])])
        expected = run(name, scene)
        found = run(name, with_objects(scene, more, torch.cat([scene["gt_labels"], torch.tensor([0])])))
        assert len(found.points) > 0
        assert torch.equal(found.points, expected.points)
        assert torch.equal(found.objects, expected.objects)

    @EVERY
    def test_an_object_twice_is_as_good_as_once(self, name: str) -> None:
        box, label = torch.tensor([[8.0, 8.0, 56.0, 56.0]]), torch.tensor([1])
        once = run(name, with_objects(random_scene(2), box, label))
        twice = run(name, with_objects(random_scene(2), box.repeat(2, 1), label.repeat(2)))
        assert len(once.points) > 0
        assert torch.equal(once.points, twice.points)
        assert torch.equal(once.weights, twice.weights)

    @EVERY
    def test_identical_boxes_of_two_classes_share_no_point(self, name: str) -> None:
        boxes = torch.tensor([[8.0, 8.0, 56.0, 56.0]]).repeat(2, 1)
        found = run(name, with_objects(random_scene(1), boxes, torch.tensor([0, 1])))
        assert len(set(found.points.tolist())) == len(found.points) > 0

    @EVERY
    def test_a_single_point(self, name: str) -> None:
        scene = with_objects(random_scene(1, size=8), torch.tensor([[0.0, 0.0, 8.0, 8.0]]), torch.tensor([0]))
        assert run(name, scene).points.tolist() == [0]

    @EVERY
    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_predictions_that_are_no_numbers_do_not_crash(self, name: str, bad: float) -> None:
        """The loss reports them, with the images' names."""
        scene = random_scene(5)
        for key in ("class_logits", "boxes"):
            assert run(name, {**scene, key: torch.full_like(scene[key], bad)}).points.dtype == torch.long


@EVERY
def test_needs_no_gradient(name: str) -> None:
    scene = random_scene(6)
    for key in ("class_logits", "boxes"):
        scene[key].requires_grad_()
    found = run(name, scene)
    assert not found.ious.requires_grad
    assert not found.weights.requires_grad


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(name: str, dtype: torch.dtype) -> None:
    """The objects' areas are beyond float16's range."""
    scene = random_scene(7, size=512, objects=2)
    scene["gt_boxes"] = torch.tensor([[16.0, 24.0, 500.0, 480.0], [200.0, 100.0, 300.0, 180.0]])
    scene["boxes"] = scene["gt_boxes"].repeat(len(scene["points"]), 1)[: len(scene["points"])]
    half = {key: value if key == "gt_labels" else value.to(dtype) for key, value in scene.items()}
    single = {key: value if key == "gt_labels" else value.float() for key, value in half.items()}
    found, expected = run(name, half), run(name, single)
    assert len(found.points) > 0
    for got, wanted in zip(vars(found).values(), vars(expected).values(), strict=True):
        assert torch.equal(got, wanted)
        assert got.dtype == wanted.dtype


@EVERY
def test_double_precision_stays_double(name: str) -> None:
    scene = {key: value if key == "gt_labels" else value.double() for key, value in random_scene(8).items()}
    found = run(name, scene)
    assert found.ious.dtype == found.weights.dtype == torch.float64
    assert len(found.points) > 0


@EVERY
@given(seed=st.integers(0, 10_000), counts=st.lists(st.integers(0, 6), min_size=1, max_size=4))
@settings(max_examples=20)
def test_an_image_is_assigned_alike_alone_and_in_a_batch(name: str, seed: int, counts: list[int]) -> None:
    scenes = [random_scene(seed + image, objects=count) for image, count in enumerate(counts)]
    outputs = [torch.stack([scene[key] for scene in scenes]) for key in ("class_logits", "boxes")]
    places = scenes[0]["points"], scenes[0]["strides"]
    targets = [Targets(scene["gt_boxes"], scene["gt_labels"]) for scene in scenes]
    found = ASSIGNERS[name](*outputs, *places, joined(targets))
    assert found.images.tolist() == sorted(found.images.tolist())
    before = 0
    for image, scene in enumerate(scenes):
        alone, here = run(name, scene), found.images == image
        assert torch.equal(found.points[here], alone.points)
        assert torch.equal(found.objects[here] - before, alone.objects)
        torch.testing.assert_close(found.ious[here], alone.ious)
        torch.testing.assert_close(found.weights[here], alone.weights)
        before += counts[image]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4))))
def test_ranks_and_lowest_values_of_groups_are_those_of_loops(pairs: list[tuple[int, int]]) -> None:
    pairs = sorted(pairs, key=lambda pair: pair[0])
    values = torch.tensor([float(value) for _, value in pairs])
    groups = torch.tensor([group for group, _ in pairs], dtype=torch.long)
    mates = [[other for other in range(len(pairs)) if pairs[other][0] == group] for group, _ in pairs]
    before = [[m for m in mates[k] if (pairs[m][1], m) < (pairs[k][1], k)] for k in range(len(pairs))]
    assert ranks(values, groups).tolist() == [len(lower) for lower in before]
    assert lowest_of_each(values, groups).tolist() == [k for k in range(len(pairs)) if not before[k]]
