from __future__ import annotations

import math

import pytest
import torch
from assigner_scenes import assign_image
from torch import Tensor

from edgedet.losses.assigners.centre_sampling import centre_sampling
from edgedet.losses.fcos import centreness_of, fcos_loss
from edgedet.losses.targets import Targets
from edgedet.models.heads.geometry import anchor_points

CLASSES = 2
POINTS, STRIDES = anchor_points(64, 64, (8, 16, 32, 64))
OBJECTS = Targets(
    torch.tensor([[5.0, 5.0, 40.0, 50.0], [30.0, 20.0, 60.0, 60.0]]), torch.tensor([0, 1]), torch.tensor([1.0, 0.5])
)
NOTHING = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize(
    ("sides", "expected"), [((0.8, 0.6, 0.2, 0.4), 0.408248), ((0.6, 0.5, 0.4, 0.6), 0.745356), ((3, 2, 3, 2), 1.0)]
)
def test_centreness_by_hand(sides: tuple[float, float, float, float], expected: float) -> None:
    left, top, right, bottom = sides
    point = torch.tensor([[10.0, 20.0]])
    box = torch.tensor([[10 - left, 20 - top, 10 + right, 20 + bottom]])
    assert centreness_of(point, box).item() == pytest.approx(expected, abs=1e-5)


def raw_of(batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, len(POINTS), CLASSES + 5, generator=generator, dtype=torch.float64)


def plain_loss(raw: Tensor, targets: list[Targets]) -> dict[str, float]:
    """The loss point by point, from the paper's formulas; only the assignment is the library's."""
    focal = boxes = centres = positives = total_centreness = 0.0
    for image, target in enumerate(targets):
        owner: dict[int, int] = {}
        if len(target.boxes):
            zeros = torch.zeros(len(POINTS), 4)
            found = assign_image(centre_sampling, zeros[:, :CLASSES], zeros, POINTS, STRIDES, target)
            owner = dict(zip(found.points.tolist(), found.objects.tolist(), strict=True))
        for point in range(len(POINTS)):
            row = raw[image, point].tolist()
            share = float(target.shares[owner[point]]) if point in owner else 1.0
            for label in range(CLASSES):
                p = 1 / (1 + math.exp(-row[label]))
                is_object = point in owner and int(target.labels[owner[point]]) == label
                focal -= share * (0.25 * (1 - p) ** 2 * math.log(p) if is_object else 0.75 * p**2 * math.log(1 - p))
            if point not in owner:
                continue
            x, y = POINTS[point].tolist()
            box = target.boxes[owner[point]].tolist()
            left, top, right, bottom = x - box[0], y - box[1], box[2] - x, box[3] - y
            centreness = math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom))
            stride = float(STRIDES[point])
            found_sides = [math.exp(value) * stride for value in row[CLASSES + 1 :]]
            overlap = plain_giou(
                (x - found_sides[0], y - found_sides[1], x + found_sides[2], y + found_sides[3]), tuple(box)
            )
            boxes += share * centreness * (1 - overlap)
            q = 1 / (1 + math.exp(-row[CLASSES]))
            centres -= share * (centreness * math.log(q) + (1 - centreness) * math.log(1 - q))
            positives += share
            total_centreness += share * centreness
    return {"classification": focal / positives, "box": boxes / total_centreness, "centreness": centres / positives}


def plain_giou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union - (hull - union) / hull


def test_values_are_those_of_the_formulas() -> None:
    raw, targets = raw_of(2), [OBJECTS, NOTHING]
    parts = {key: part.item() for key, part in fcos_loss(raw, POINTS, STRIDES, targets, CLASSES).items()}
    assert parts == pytest.approx(plain_loss(raw, targets), rel=1e-5)  # type: ignore[arg-type]


def test_gradients_are_those_of_finite_differences() -> None:
    raw = raw_of(1).requires_grad_()

    def loss(raw: Tensor) -> Tensor:
        return torch.stack(list(fcos_loss(raw, POINTS, STRIDES, [OBJECTS], CLASSES).values()))

    assert torch.autograd.gradcheck(loss, (raw,), fast_mode=True)
